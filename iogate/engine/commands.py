"""Events that the worker passes to the engine, and commands that the engine returns.

All are immutable. Effects carry evaluated arguments, secrets included, and live in memory
only: a frame stores that an effect is under way, never its arguments, and `advance` evaluates them
again after a restart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from iogate.compiler.openapi import Operation
from iogate.errors import WorkflowError
from iogate.file_references import FileReference


@dataclass(frozen=True, slots=True, kw_only=True)
class Authentication:
    """Evaluated authentication policy: basic, bearer, digest, oauth2 or oidc, with its members."""

    scheme: str
    parameters: Mapping[str, Any]
    computed: bool = False
    """True if the host of the authority that issues the tokens came from data."""
    foreign: bool = False
    """True if a function that was fetched from another host names the authority."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallHttp:
    """An HTTP call."""

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
    """True if the host came from an expression or a template: `allow_hosts` then applies."""
    foreign: bool = False
    """True if a document of another host names this address: the rules for redirects then apply."""
    address: str = ""
    """The address as the author wrote it, for messages, without data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOpenApi:
    """A call of an OpenAPI operation: `operation`, or else the one called `name` in `document`."""

    operation: Operation | None = None
    name: str = ""
    document: str = ""
    """URI of the stored document, or its address if an expression gives it."""
    presented: Authentication | None = None
    """Authentication for fetching the document."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    output: Literal["raw", "content", "response"] = "content"
    redirect: bool = False
    authentication: Authentication | None = None
    fetched: bool = False
    """True if an expression gives the address of the document: it is fetched when the call is made."""
    computed: bool = False
    """True if the document's host came from data: `allow_hosts` applies to it and to the call."""
    foreign: bool = False
    """True if a document of another host names the document's host: the rules for redirects apply to both."""
    address: str = ""
    """The document's address as the author wrote it, for errors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProcess:
    """A shell command or a script, executed in its own process."""

    kind: Literal["shell", "script"]
    language: str = ""
    code: str = ""
    """The shell command, or the script's text."""
    source: str | None = None
    """Absolute URI of an external script, stored with the revision."""
    stdin: str | None = None
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, FileReference] = field(default_factory=dict)
    """Files of the run, by the argument, variable or standard input that stands for each."""
    returns: Literal["stdout", "stderr", "code", "all", "none"] = "stdout"
    definition: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)
    """Member `run` of the task as the document has it, for permissions by digest."""
    loose: bool = field(default=False, compare=False, repr=False)
    """The document has `evaluate.mode: loose`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContainer:
    """A container to run."""

    image: str
    name: str
    key: str
    """Label of the container; tells it from another one of the same name."""
    command: str | None = None
    """Command for the container's shell; None: the image's own command."""
    ports: Mapping[str, str] = field(default_factory=dict)
    """Ports of the worker's machine, to ports of the container."""
    volumes: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    stdin: str | None = None
    arguments: tuple[str, ...] = ()
    pull: Literal["ifNotPresent", "always", "never"] = "ifNotPresent"
    cleanup: Literal["always", "never", "eventually"] = "never"
    keep_s: float | None = None
    """Seconds that an ended container is kept if `cleanup` is eventually."""
    returns: Literal["stdout", "stderr", "code", "all", "none"] = "stdout"
    definition: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)
    """As of `RunProcess`."""
    loose: bool = field(default=False, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFunction:
    """A call of a registered Python function, `name:version@default`."""

    name: str
    version: str
    arguments: Mapping[str, Any]


Effect = CallHttp | CallOpenApi | RunProcess | RunContainer | CallFunction


@dataclass(frozen=True, slots=True, kw_only=True)
class Perform:
    """Command: perform the effect, and report `Performed` for the same frame."""

    frame: int
    reference: str
    """Pointer of the task with every loop index, as in the idempotency key."""
    effect: Effect
    idempotency_key: str
    """`{uid}{pointer with every loop index}/{try attempts, outermost first}/{n}`; n rises only after a
    definite answer, and after the start of an effect that is not awaited."""
    deadline_ms: int | None = None
    """Epoch milliseconds at which the engine stops waiting."""
    await_result: bool = True
    """False for `await: false`: the engine does not wait for the result."""
    at_most_once: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Emit:
    """Command: publish an event in the commit of the state, so exactly once."""

    reference: str
    event: Mapping[str, Any]
    """A complete CloudEvent 1.0 in its JSON form."""
    generated: bool = False
    """True if its id is derived from the idempotency key, and so unique."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartChild:
    """Command: start a workflow in the commit of the state."""

    frame: int
    """Frame of the task that waits for the child; no frame of the state if `awaits` is False."""
    reference: str
    namespace: str
    name: str
    version: str
    """A semantic version, or `latest`."""
    input: Any
    awaits: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """A CloudEvent that may match a subscription; the engine decides, and records `number` in any case."""

    frame: int
    number: int
    """Ascending number of the message in the run's inbox."""
    event: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildEnded:
    """End of the child that a frame waits for, or the failure to start it."""

    frame: int
    number: int
    """Number of the message in the run's inbox; 0 if it did not come through the inbox."""
    status: Literal["completed", "faulted", "cancelled"]
    output: Any = None
    error: Mapping[str, Any] | None = None
    started: bool = True
    """False if no workflow could be started: the error is the parent task's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Performed:
    """Result of an effect: `output`, or the error that it raises in the task."""

    frame: int
    output: Any = None
    error: WorkflowError | None = None
    definite: bool = True
    """False if the receiver may not have got the request (broken connection): n of the key stays."""
    authorization: Mapping[str, Any] | None = None
    """Value of `$authorization`: `scheme` and `parameter` as they were sent. Never stored: the step that
    processes this event evaluates the task's output and exports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """Event: the state was loaded by another worker; repeat the command of each effect under way."""

    worker: str = ""
    """Name of the ended worker that had begun the effects; empty if none had begun."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """Cancellation of the run; no task can catch it."""

    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """Timeout of the API exceeded: the run faults with the standard's timeout error; no task can catch it."""

    limit_s: float
    """Timeout of the API, in seconds."""


EngineEvent = Performed | Arrived | ChildEnded | Resumed | Cancelled | Expired


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFault:
    """Task that has failed, with the data that it got; for the record of the run, never for recovery."""

    reference: str
    """Pointer of the task with every loop index."""
    input: Any
    error: Mapping[str, Any]
    attempt: int = 1
    """Number of the attempt of the `try` around it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEnd:
    """Task that has completed, with its data; for the record of the run, never for recovery."""

    reference: str
    """Pointer of the task with every loop index."""
    input: Any
    output: Any
    attempt: int = 1
    """Number of the attempt of the `try` around it."""


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """A journal entry, also for the task table; read by people, never for recovery."""

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
        "task.recorded",
    ]
    at_ms: int
    reference: str = ""
    """Static pointer of the task (`/do/2/charge`), without loop indexes: one row per task."""
    name: str = ""
    detail: Mapping[str, Any] = msgspec.field(default_factory=dict)
    """Small facts: the error, the branch taken, the loop index, the due time. Never complete data."""
