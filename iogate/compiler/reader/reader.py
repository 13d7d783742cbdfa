"""Base of the reader: tasks read so far, references to `use`, timeouts, and texts with expressions.

What only a check would refuse (an unknown name) becomes a mark in the program, and what the standard knows in
two spellings becomes one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Final, cast

from iogate.compiler.expression_scope import INSIDE
from iogate.compiler.reader.index import Directive, Index, Listing, Located, Place, Reference, Section, Value
from iogate.compiler.resolved_references import References
from iogate.compiler.resources.document_addresses import hostname
from iogate.compiler.tasks import Extension, Retry, Schema, Target, Task, TaskList, Timeout
from iogate.expressions import Template, bare, compiles, loose, loose_pieces, pieces, template
from iogate.json_values import JsonObject

Positions = Mapping[str, int]
"""Names of a list's tasks, and their positions in it."""

EMPTY: Final[JsonObject] = {}


class Reader(ABC):
    """One pass over a definition; its attributes are the result."""

    def __init__(self, definition: JsonObject, resources: JsonObject, references: References) -> None:
        self.definition = definition
        self.resources = resources
        self.references = references
        self.loose = (definition.get("evaluate") or EMPTY).get("mode") == "loose"
        self.home = ""
        """Address of the function that is being read, if it was fetched."""
        self.use: JsonObject = definition.get("use") or EMPTY
        self.tasks: dict[str, Task] = {}
        self.lists: dict[str, TaskList] = {}
        self.extensions: dict[str, tuple[Extension, ...]] = {}
        """By the kind of tasks that they extend."""
        self.retries: dict[str, Retry] = {}
        """Policies of `use.retries`."""
        self.index = Index()
        self.schemas: dict[str, Schema] = {}
        """Schemas of other documents, by URI."""

    @abstractmethod
    def list(self, place: Place, pointer: str, entries: Sequence[JsonObject]) -> TaskList:
        """Read a list of tasks, which may name one another."""

    def optional_list(
        self, place: Place, pointer: str, entries: Sequence[JsonObject] | None
    ) -> TaskList | None:
        """Read a list of tasks that may be absent or empty; None for both."""
        if entries:
            return self.list(place, pointer, entries)
        if entries is not None:
            self.index.listings.append(Listing(pointer=place.pointer, tasks=()))
        return None

    @abstractmethod
    def branches(self, place: Place, pointer: str, entries: Sequence[JsonObject]) -> tuple[TaskList, ...]:
        """Read tasks that do not follow one another, each as a list of one."""

    def timeout(self, place: Place, source: JsonObject, arguments: frozenset[str]) -> Timeout | None:
        """Read the timeout of a task or of the workflow, inline or by name."""
        given, place = source.get("timeout"), place.at("timeout")
        if isinstance(given, str):
            named = self.named("timeouts", place, given)
            return Timeout(None, missing=given) if named is None else Timeout(self.value(named["after"]))
        return None if given is None else self.inline_timeout(place, given, arguments)

    def inline_timeout(self, place: Place, source: JsonObject, arguments: frozenset[str]) -> Timeout:
        self.note(place, source, arguments)
        return Timeout(self.duration(place.at("after"), source["after"]))

    def named(self, section: Section, place: Place, name: str) -> JsonObject | None:
        """Return the entry of `use` for a name that the reader meets; None if there is none."""
        self.index.references.append(Reference(section=section, pointer=place.pointer, name=name))
        found: JsonObject | None = (self.use.get(section) or EMPTY).get(name)
        return found

    def target(self, place: Place, then: str | None, positions: Positions) -> Target:
        """Read the target of a flow directive within its list of tasks; "continue" for an unknown one."""
        if then is None:
            return "continue"
        self.index.directives.append(
            Directive(pointer=place.pointer, target=then, reachable=tuple(positions))
        )
        if then in ("continue", "exit", "end"):  # also if a task has the name
            return cast("Target", then)
        return positions.get(then, "continue")

    # text that may be an expression

    def note(
        self, place: Place, source: object, arguments: frozenset[str] = INSIDE, *, expression: bool = False
    ) -> None:
        """Enter a value that the reader has met into the index, with the arguments of its expressions."""
        self.index.values.append(
            Value(
                pointer=place.pointer,
                source=source,
                expression=expression,
                variables=place.variables | arguments,
            )
        )

    def expression(self, place: Place, source: object, arguments: frozenset[str] = INSIDE) -> Template:
        """Read the expression of a field that the standard types as one, with or without `${}`."""
        self.note(place, source, arguments, expression=True)
        return template(source, loose) if self.loose else bare(source)

    def optional_expression(
        self, place: Place, source: object, arguments: frozenset[str] = INSIDE
    ) -> Template | None:
        return None if source is None else self.expression(place, source, arguments)

    def value(self, source: object) -> Template:
        """Read free data of a definition, in which only `${}` is evaluated; every string in mode `loose`."""
        return template(source, loose if self.loose else None)

    def optional(self, source: object) -> Template | None:
        return None if source is None else self.value(source)

    def duration(self, place: Place, source: object) -> Template:
        """Read a duration, or the expression of one; the caller of the reader notes it or its object."""
        self.index.durations.append(Located(place.pointer, source))
        return self.value(source)

    def optional_duration(self, place: Place, source: object) -> Template | None:
        return None if source is None else self.duration(place, source)

    def pattern(self, source: object) -> Template:
        """Read a value to compare an event's attribute with: an expression, or a literal to match."""
        if self.loose and isinstance(source, str) and "${" not in source and not compiles(source):
            return template(source)
        return self.value(source)

    def is_foreign(self, url: str) -> bool:
        """Tell whether the function that is read, a fetched one, names a host that is not its own."""
        return self.home != "" and hostname(self.home) != hostname(url)

    def address(self, text: str) -> tuple[str | Template, ...]:
        """Read, for any reader of tasks, a URI template, the parts of which may be expressions."""
        return loose_pieces(text) if self.loose else pieces(text)
