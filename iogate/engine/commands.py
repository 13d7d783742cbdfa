"""What passes between the engine and the worker: what has happened goes in, what must happen comes out.

All plain frozen dataclasses. Effects carry evaluated arguments, secrets included, and live in memory
only: a frame stores that an effect is under way, never its arguments, and `advance` evaluates them
again after a restart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from iogate.compiler.openapi import Operation
from iogate.errors import WorkflowError


@dataclass(frozen=True, slots=True, kw_only=True)
class Authentication:
    """A resolved policy: basic, bearer, digest, oauth2 or oidc; `parameters` are its members, evaluated."""

    scheme: str
    parameters: Mapping[str, Any]
    computed: bool = False
    """True where data chose the host of the authority that gives the tokens."""
    foreign: bool = False
    """True where a function that was fetched from another host names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallHttp:
    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None
    has_body: bool = False
    output: Literal["raw", "content", "response"] = "content"
    redirect: bool = False
    authentication: Authentication | None = None
    computed: bool = False
    """True where the host came out of an expression or a template: `allow_hosts` then applies."""
    foreign: bool = False
    """True where a document of another host names this one: where no redirect may lead, it may not either."""
    address: str = ""
    """The address as the author wrote it, for messages: what data put into it is not shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOpenApi:
    """A call of an operation; where it is not known yet, of the one called `name` in a document."""

    operation: Operation | None = None
    name: str = ""
    document: str = ""
    """URI of the stored document, or its address where only the run knows it."""
    presented: Authentication | None = None
    """To whoever gives the document."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    output: Literal["raw", "content", "response"] = "content"
    redirect: bool = False
    authentication: Authentication | None = None
    fetched: bool = False
    """True where only the run knows the address of the document: it is asked for when the call is made."""
    computed: bool = False
    """True where data chose the document's host: `allow_hosts` applies to it and to the call."""
    address: str = ""
    """The document's address as the author wrote it, for errors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProcess:
    """A shell command or a script, in a process of its own."""

    kind: Literal["shell", "script"]
    language: str = ""
    code: str = ""
    """The shell command, or the script's text."""
    source: str | None = None
    """Absolute URI of an external script, stored with the revision."""
    stdin: str | None = None
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    returns: Literal["stdout", "stderr", "code", "all", "none"] = "stdout"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContainer:
    image: str
    name: str
    key: str
    """Stands on the container, and tells it from another's of the same name."""
    command: str | None = None
    """For the container's shell; None: what the image says."""
    ports: Mapping[str, str] = field(default_factory=dict)
    """Of the worker's machine to those of the container."""
    volumes: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    stdin: str | None = None
    arguments: tuple[str, ...] = ()
    pull: Literal["ifNotPresent", "always", "never"] = "ifNotPresent"
    cleanup: Literal["always", "never", "eventually"] = "never"
    keep_s: float | None = None
    """How long an ended one is kept, where `cleanup` is eventually."""
    returns: Literal["stdout", "stderr", "code", "all", "none"] = "stdout"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFunction:
    """A registered Python function, `name:version@default`."""

    name: str
    version: str
    arguments: Mapping[str, Any]


Effect = CallHttp | CallOpenApi | RunProcess | RunContainer | CallFunction


@dataclass(frozen=True, slots=True, kw_only=True)
class Perform:
    """Do this outside and report `Performed` for the same frame."""

    frame: int
    reference: str
    """Pointer of the task with every loop index, as in the idempotency key."""
    effect: Effect
    idempotency_key: str
    """`{uid}{pointer with every loop index}/{try attempts, outermost first}/{n}`; n rises only after a
    definite answer."""
    deadline_ms: int | None = None
    """Epoch milliseconds after which the engine will have given up."""
    await_result: bool = True
    """False for `await: false`: start it, do not wait; the engine has gone on already."""
    at_most_once: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Emit:
    """An event to publish in the very step that commits the state: exactly once, whatever crashes."""

    reference: str
    event: Mapping[str, Any]
    """A whole CloudEvent 1.0 in its JSON form."""
    generated: bool = False
    """Its id follows from the idempotency key: no other event has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartChild:
    """A workflow to start in the very step that commits the state."""

    frame: int
    """The task that waits for its end; no frame of the state where it is not awaited."""
    reference: str
    namespace: str
    name: str
    version: str
    """A semantic version, or `latest`."""
    input: Any
    awaits: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """An event that a subscription may want; the engine decides, and takes note of `number` either way."""

    frame: int
    number: int
    """Of the message in the run's inbox; they rise."""
    event: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildEnded:
    """The child that a frame waits for has ended, or could not be started."""

    frame: int
    number: int
    """Of the message in the run's inbox; 0 where it did not come through one."""
    status: Literal["completed", "faulted", "cancelled"]
    output: Any = None
    error: Mapping[str, Any] | None = None
    started: bool = True
    """False where no workflow could be started: the error is of the task that asked for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Performed:
    """The outcome of an effect: `output`, or the error that it raises in the task."""

    frame: int
    output: Any = None
    error: WorkflowError | None = None
    definite: bool = True
    """False where the outside may not know of it (broken connection): the key's n stays."""
    authorization: Mapping[str, Any] | None = None
    """What `$authorization` says from now on: `scheme` and `parameter` as they were sent. Never stored: the
    task's output and exports are made in the very step that takes this in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """The state was loaded by another worker: ask again for every effect that is under way."""

    worker: str = ""
    """Name of the worker that had begun them and ended; empty where they have not begun."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """Someone asked for the run's end; nothing catches it."""

    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """The whole run's deadline passed: faults with the standard's timeout error; nothing catches it."""

    limit_s: float
    """Timeout of the API, in seconds."""


EngineEvent = Performed | Arrived | ChildEnded | Resumed | Cancelled | Expired


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A line for the journal and the task table; for people, never for recovery."""

    kind: Literal[
        "workflow.started",
        "workflow.completed",
        "workflow.faulted",
        "workflow.cancelled",
        "workflow.suspended",
        "workflow.resumed",
        "workflow.correlation-started",
        "workflow.correlation-completed",
        "task.started",
        "task.completed",
        "task.faulted",
        "task.skipped",
        "task.cancelled",
        "task.retried",
        "task.waiting",
        "task.suspended",
        "task.resumed",
        "task.restarted",
        "task.interrupted",
        "process.output",
    ]
    at_ms: int
    reference: str = ""
    """Static pointer of the task (`/do/2/charge`), without loop indexes: one row a task."""
    name: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)
    """Small facts: the error, the branch taken, the loop index, the due time. Never whole data."""
