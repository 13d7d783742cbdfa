"""Index of a definition: its elements by kind, each with its pointer in the file.

Filled by the reader on its one pass over a definition, read by the checks and by the collector of resources.
Workers drop it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Generic, Literal, TypeAlias, TypeVar

from iogate.compiler.endpoints import Policy
from iogate.compiler.tasks import Retry, Task
from iogate.json_pointer import Pointer
from iogate.json_values import JsonObject

Section: TypeAlias = Literal["authentications", "errors", "retries", "secrets", "timeouts"]
"""Of `use`, with entries that are referred to by name."""
ResourceKind: TypeAlias = Literal["script", "schema", "openapi", "catalog"]

T = TypeVar("T")

_NONE: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Place:
    """Location in a definition, with the variables that the loops and handlers around it declare."""

    pointer: Pointer
    variables: frozenset[str] = _NONE

    def at(self, *steps: str | int) -> Place:
        """Return the place below this one, for the index of the definition."""
        return Place((*self.pointer, *steps), self.variables)

    def declaring(self, *names: str) -> Place:
        """Return this place for the index of the definition, with more variables."""
        return Place(self.pointer, self.variables | {*names})


@dataclass(frozen=True, slots=True)
class Located(Generic[T]):
    """An element of a definition, and its pointer in the file."""

    pointer: Pointer
    element: T


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A value that is evaluated: its strings may be or contain expressions."""

    pointer: Pointer
    source: object
    expression: bool
    """True if a string is an expression also without `${ }`."""
    variables: frozenset[str]
    """Variables that its expressions may name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An expression without its `${ }`."""

    pointer: Pointer
    text: str
    variables: frozenset[str]
    inside: str = ""
    """The whole string where the expression is only a part of it."""


@dataclass(slots=True, kw_only=True)
class Strings:
    """Strings of the values of a definition, in their order."""

    expressions: list[Found] = field(default_factory=list)
    literals: list[tuple[Pointer, str, frozenset[str]]] = field(default_factory=list)
    """Strings without an expression, and the variables that one could name."""
    unclosed: list[tuple[Pointer, str]] = field(default_factory=list)
    """Strings that begin like an expression and do not end like one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The tasks of one list: the scope of their names and of `then`."""

    pointer: Pointer
    tasks: tuple[Task, ...]
    sequential: bool = True
    """False for the branches of a fork and for functions, which do not follow one another."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(task.name for task in self.tasks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Directive:
    """A flow directive: `then` of a task, of a case or of a handler."""

    pointer: Pointer
    target: str
    reachable: tuple[str, ...]
    """Names of the tasks of its list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A name of an entry of `use`."""

    section: Section
    pointer: Pointer
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaSource:
    """A schema as the author wrote it."""

    format: str
    inline: bool
    """False for a schema in a document of its own."""
    document: object

    @property
    def is_json(self) -> bool:
        """Whether the schema in the index is a JSON Schema: the format is `json` or `json:VERSION`."""
        return self.format.partition(":")[0] == "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A document that a definition names: script, schema, OpenAPI document or the root of a catalog."""

    kind: ResourceKind
    uri: str
    authentication: JsonObject | None


@dataclass(slots=True, kw_only=True)
class Index:
    """All elements of one definition that checks ask for."""

    tasks: list[Task] = field(default_factory=list)
    """Every task, those inside another one before it."""
    listings: list[Listing] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    directives: list[Directive] = field(default_factory=list)
    defaults: list[Located[str]] = field(default_factory=list)
    """Cases without a condition after the first of their switch, and the name of that first one."""
    references: list[Reference] = field(default_factory=list)
    policies: list[Located[Policy]] = field(default_factory=list)
    retries: list[Located[Retry]] = field(default_factory=list)
    durations: list[Located[object]] = field(default_factory=list)
    """All durations but those of schedules."""
    schemas: list[Located[SchemaSource]] = field(default_factory=list)
    resources: list[Located[Resource]] = field(default_factory=list)
    """Each at its `endpoint`'s parent."""
    events: list[Located[JsonObject]] = field(default_factory=list)
    """Attributes of events that are filtered or emitted."""

    strings: Strings | None = None
    """Strings of the values; None until a check asks for them."""

    def resources_of(self, *kinds: str) -> Iterator[Located[Resource]]:
        return (each for each in self.resources if each.element.kind in kinds)
