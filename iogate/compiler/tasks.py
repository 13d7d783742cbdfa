"""Tasks of a program, by kind, as the engine executes them: expressions found, names resolved.

Made by `reader`, read by the checks and the engine. All frozen; no pydantic, so that a worker loads a
stored definition at the cost of walking it once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from iogate.compiler.endpoints import Endpoint, Policy
from iogate.compiler.openapi import Operation
from iogate.expressions import Template
from iogate.json_values import JsonObject

Target = int | Literal["continue", "exit", "end"]
"""Where a flow directive leads: an index in the same list, or a directive."""

FUNCTIONS = "/use/functions/"
"""What pointers into functions begin with."""


@dataclass(frozen=True, eq=False, weakref_slot=True, slots=True)
class Schema:
    """A JSON Schema, inline or loaded with the revision; compared by identity, compiled once."""

    document: Any
    missing: str = ""
    """The URI of a document that should have come with the program, and did not."""


@dataclass(frozen=True, slots=True)
class Do:
    tasks: TaskList


@dataclass(frozen=True, slots=True)
class Set:
    value: Template


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    when: Template | None
    then: Target


@dataclass(frozen=True, slots=True)
class Switch:
    cases: tuple[Case, ...]
    """Those with a condition, as declared."""
    default: Case | None


@dataclass(frozen=True, slots=True)
class For:
    each: str
    at: str
    items: Template
    condition: Template | None
    """`while`."""
    tasks: TaskList
    parallel: int = 0
    """Iterations at once, at most; 0: one after the other, each with the output of the one before."""
    tolerant: bool = False  # `on_error: continue`: the error of an iteration becomes its output


@dataclass(frozen=True, slots=True)
class Raise:
    error: Template | None
    missing: str = ""
    """The name in `use.errors` that is not there."""


@dataclass(frozen=True, slots=True)
class Wait:
    duration: Template


@dataclass(frozen=True, slots=True)
class Http:
    method: Template
    endpoint: Endpoint
    headers: Template
    query: Template
    body: Template | None
    output: Literal["raw", "content", "response"]
    redirect: bool


@dataclass(frozen=True, slots=True)
class OpenApi:
    """A call of an operation that an OpenAPI document describes."""

    operation: Operation | None
    """Found when the workflow was compiled; None: it is looked for in the document when it is called."""
    name: Template
    """Its `operationId`."""
    document: Endpoint
    stored: str
    """URI of the document where the revision holds it."""
    parameters: Template
    policy: Policy | None
    output: Literal["raw", "content", "response"]
    redirect: bool
    foreign: bool = False  # only a fetched document names the host of its document


@dataclass(frozen=True, slots=True)
class Function:
    """A registered Python function, `name:version@default`."""

    name: str
    version: str
    arguments: Template

    @property
    def call(self) -> str:
        """The value of `call` of a program's task that calls a registered function."""
        return f"{self.name}:{self.version}@default"


@dataclass(frozen=True, slots=True)
class Inline:
    """A function of `use.functions`, of a catalog or at a URL: a task with an input of its own."""

    name: str
    arguments: Template
    foreign: bool = False
    """An external function, which sees only its arguments, and nothing else of its caller."""


@dataclass(frozen=True, slots=True)
class Process:
    kind: Literal["shell", "script"]
    language: str
    code: Template
    source: str | None
    stdin: Template | None
    arguments: Template
    environment: Template
    awaits: bool
    returns: Literal["stdout", "stderr", "code", "all", "none"]
    loose: bool = False
    """Its texts may be expressions: `evaluate.mode: loose`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    image: Template
    name: Template | None
    command: Template | None
    """A text for the container's shell."""
    ports: Template
    """Of this machine to those of the container."""
    volumes: Template
    """Folders and volumes of this machine to places in the container."""
    environment: Template
    stdin: Template | None
    arguments: Template
    pull: Literal["ifNotPresent", "always", "never"]
    cleanup: Literal["always", "never", "eventually"]
    after: Template | None
    """How long it is kept where it is removed eventually."""
    awaits: bool
    returns: Literal["stdout", "stderr", "code", "all", "none"]
    loose: bool = False


@dataclass(frozen=True, slots=True)
class Timeout:
    after: Template | None
    missing: str = ""
    """The name in `use.timeouts` that is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    when: Template | None = None
    except_when: Template | None = None
    delay: Template | None = None
    backoff: Literal["constant", "linear", "exponential"] = "constant"
    jitter_from: Template | None = None
    jitter_to: Template | None = None
    count: int | None = None
    """Retries after the first attempt; None: without end."""
    attempt_after: Template | None = None
    """Timeout of each attempt."""
    overall: Template | None = None
    """No retry begins later than this after the task's start."""
    missing: str = ""
    """The name in `use.retries` that is not there."""

    @property
    def ends(self) -> bool:
        """Whether the retry of a program's task has a limit or a condition, so that it may end."""
        limits = (self.when, self.except_when, self.count, self.attempt_after, self.overall)
        return any(limit is not None for limit in limits)


@dataclass(frozen=True, slots=True)
class Try:
    tasks: TaskList
    errors: JsonObject
    """Members that a caught error must have; empty: any error."""
    name: str
    """The variable that holds the error: `as`."""
    when: Template | None
    except_when: Template | None
    retry: Retry | None
    handler: TaskList | None
    then: Target | None
    """Where the caught error leads; None: where the task itself says."""


@dataclass(frozen=True, slots=True)
class Fork:
    branches: tuple[TaskList, ...]
    """Each of one task."""
    compete: bool


@dataclass(frozen=True, slots=True)
class Emit:
    attributes: Template
    """Of the event, as the author wrote them."""


@dataclass(frozen=True, slots=True)
class Child:
    """`run: workflow`."""

    namespace: str
    name: str
    version: str
    """A semantic version, or `latest`."""
    input: Template
    awaits: bool

    @property
    def reference(self) -> str:
        """The workflow that a program's task starts: `namespace/name[:version]`; the newest has none."""
        name = f"{self.namespace}/{self.name}"
        return name if self.version == "latest" else f"{name}:{self.version}"


@dataclass(frozen=True, slots=True)
class Correlation:
    """A value that the events of a listening have in common."""

    name: str
    source: Template
    """`from`: where an event's envelope has it."""
    text: str
    """The expression of `source`, without `${}`."""
    expect: Template | None
    """On the task's input; None: the first event's value counts."""


@dataclass(frozen=True, slots=True)
class Filter:
    attributes: Mapping[str, Template]
    """`with`; each has to be there and fit: literal, pattern of the whole text, or expression."""
    correlations: tuple[Correlation, ...]


@dataclass(frozen=True, slots=True)
class Strategy:
    """Which events are waited for."""

    mode: Literal["one", "any", "all"]
    filters: tuple[Filter, ...]
    """Of `any` possibly none: every event fits."""
    until: Template | None = None
    """The condition on what was consumed that ends the listening."""
    stop: Strategy | None = None
    """The events that end it."""


@dataclass(frozen=True, slots=True)
class Iterator:
    """`foreach`: tasks for each event, one event after the other."""

    item: str
    at: str
    tasks: TaskList | None
    flow: Flow
    """`output` and `export` of each item."""


@dataclass(frozen=True, slots=True)
class Listen:
    to: Strategy
    read: Literal["data", "envelope", "raw"]
    each: Iterator | None = None
    starts: Child | None = None
    """Of `schedule.on`: the workflow to start with what was consumed, before listening goes on."""


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A task that the compiler refuses; kept so that a program can be loaded and checked."""

    what: str
    """The protocol of a call; else the kind of the task."""


@dataclass(frozen=True, slots=True)
class Unresolved:
    """A call of a function that is unknown, or that is found only when documents are fetched."""

    call: str
    arguments: Template


Body = (
    Do
    | Set
    | Switch
    | For
    | Fork
    | Try
    | Raise
    | Wait
    | Emit
    | Listen
    | Http
    | OpenApi
    | Function
    | Inline
    | Process
    | Container
    | Child
    | Unresolved
    | Unsupported
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A link of the workflow, with which a person sends it an event."""

    ttl_ms: int
    """Lifetime, from the start of the run."""
    description: Template | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """How data passes through a task, or through the workflow."""

    input_schema: Schema | None = None
    input_from: Template | None = None
    output_as: Template | None = None
    output_schema: Schema | None = None
    export_as: Template | None = None
    export_schema: Schema | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Task:
    pointer: str
    """Static: `/do/2/charge`. The tasks of a loop are under `for/do`, in the file under `do`."""
    location: tuple[str | int, ...]
    """Pointer in the file."""
    name: str
    kind: str
    """The keyword that makes it: `set`, `call`, `run`."""
    definition: JsonObject
    condition: Template | None
    flow: Flow
    plain: bool
    """True where `flow` changes nothing: most tasks."""
    then: Target
    body: Body
    timeout: Timeout | None = None
    at_most_once: bool = False
    extensions: tuple[Extension, ...] = ()
    """Those of `use.extensions` that extend its kind, as declared; none of tasks of extensions."""


@dataclass(frozen=True, slots=True, eq=False)
class TaskList:
    """A scope: tasks one after the other, which may go to one another by name."""

    pointer: str
    tasks: tuple[Task, ...] = field(default=())


@dataclass(frozen=True, slots=True, eq=False)
class Extension:
    """Tasks that run before and after the tasks that an extension extends."""

    name: str
    when: Template | None
    before: TaskList | None
    after: TaskList | None
