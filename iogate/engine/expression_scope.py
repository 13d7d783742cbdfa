"""Variables that expressions can name at each stage of a task, looked up when an expression names them.

Used by `execution_context`, the kinds of tasks and `call`. Invariant: a stage sees exactly the variables of
the standard's table, and those of the loops and handlers around the task, but none from outside a function.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from iogate.compiler.program import Program
from iogate.compiler.tasks import FUNCTIONS, Link, Task
from iogate.engine.commands import Authentication
from iogate.errors import WorkflowError
from iogate.version import __version__

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class RunFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Constant facts of a run."""

    uid: str
    started_at_ms: int
    input: Any
    """Raw input."""
    attempt: int = 1
    links: Mapping[str, int] | None = None
    """Start of the lifetime of each renewed link, as in the state of the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Environment of a run at present; passed to each call, never stored."""

    secrets: Mapping[str, Any] = field(default_factory=dict)
    """Resolved secrets that the workflow declares; those that cannot be resolved are absent."""
    unset: Mapping[str, str] = field(default_factory=dict)
    """Reason, by name, why a secret that the settings define cannot be resolved."""
    once: frozenset[str] = frozenset()
    """Functions (`name:version`) that must not be called again if the outcome of a call is unknown."""
    error_types: str = "open-workflow"
    """The family of URIs that names the standard's errors."""
    redact: Callable[[str], str] = str
    """Removes secrets from the text of an error."""
    link: Callable[[str, str, int], str] | None = None
    """Makes the URL of a link from the uid of the run, the name of the link and its end in seconds; None if
    links have no URL, because `public_url` is not set."""
    runtime: Mapping[str, Any] = field(
        default_factory=lambda: {"name": "iogate", "version": __version__, "metadata": {}}
    )


@dataclass(slots=True, kw_only=True)
class Scope:
    """Variables of the expressions of one task; `stage` changes as the task proceeds."""

    program: Program
    facts: RunFacts
    environment: Environment
    now_ms: int
    stage: frozenset[str]
    context: Any
    locals: Callable[[], Mapping[str, Any]]
    """Variables of loops and handlers around the task."""
    task: Task | None = None
    started_ms: int = 0
    deadline_ms: int | None = None
    raw: Any = None
    input: Any = None
    raw_output: Any = None
    has_output: bool = False
    output: Any = None
    extended: Callable[[], Mapping[str, Any]] | None = None
    """In an extension: returns the descriptor of the extended task, which is `$task` there."""
    authenticate: Callable[[], Authentication | None] | None = None
    authorization: Mapping[str, Any] | None = None
    """Credentials that the call sent, once it was made."""
    idempotency_key: str | None = None
    _variables: Mapping[str, Any] | None = None

    def __contains__(self, name: object) -> bool:
        return name in self.stage or name in self._known()

    def __getitem__(self, name: str) -> Any:
        if name in self._known():
            return self._known()[name]
        match name:
            case "context":
                return self.context
            case "input":
                return self.input
            case "output":
                return self.output
            case "secrets":
                return self.secrets()
            case "workflow":
                return self._workflow()
            case "task":
                return self._task()
            case "runtime":
                return self._runtime()
            case "authorization":
                return self._authorization()
            case _:
                raise KeyError(name)

    def redact(self, text: str) -> str:
        """Return the text without the secrets of the run that the scope of its expressions knows."""
        return self.environment.redact(text)

    def _known(self) -> Mapping[str, Any]:
        if self._variables is None:
            self._variables = self.locals()
        return self._variables

    def secrets(self) -> Mapping[str, Any]:
        """Return the values of all declared secrets, for `$secrets` in the expressions of a run.

        Raises WorkflowError `authorization` if a declared secret is not available, and always in a function
        that was fetched from another host.
        """
        if self._function() is not None:
            raise WorkflowError("authorization", detail="an external function cannot read $secrets")
        held = self.environment.secrets
        for name in self.program.secrets:
            if name not in held:
                reason = self.environment.unset.get(
                    name,
                    "define it in the setting `secrets`, and set the variable or file that it names there",
                )
                raise WorkflowError(
                    "authorization", detail=f'secret "{name}" is not available to workers: {reason}'
                )
        return {name: held[name] for name in self.program.secrets}

    def _workflow(self) -> dict[str, Any]:
        function = self._function()
        return {
            "id": self.facts.uid,
            "definition": self.program.definition if function is None else function,
            "input": self.facts.input if function is None else None,
            "startedAt": describe_time(self.facts.started_at_ms),
        }

    def _function(self) -> Any:
        """Return the fetched function that the scope is in; expressions of one do not see the workflow."""
        if self.task is None or not self.task.pointer.startswith(FUNCTIONS):
            return None
        return self.program.foreign.get("/".join(self.task.pointer.split("/", 4)[:4]))

    def _task(self) -> Mapping[str, Any] | None:
        if self.extended is not None:
            return self.extended()
        if self.task is None:
            return None
        descriptor = self.describe(self.task)
        if self.has_output:
            descriptor["output"] = self.raw_output
        return descriptor

    def describe(self, task: Task, *, raw: Any = ..., started_ms: int | None = None) -> dict[str, Any]:
        """Return `$task` for expressions, the standard's descriptor; defaults are values of this scope."""
        return {
            "name": task.name,
            "reference": task.pointer,
            "definition": task.definition,
            "input": self.raw if raw is ... else raw,
            "startedAt": describe_time(self.started_ms if started_ms is None else started_ms),
        }

    def describe_with_definition(
        self, task: Task, *, raw: Any = ..., started_ms: int | None = None
    ) -> dict[str, Any]:
        """Return `$task` for expressions of extensions: the descriptor, with members of the definition.

        A call's endpoint is always an object here: `$task.with.endpoint.uri`.
        """
        members = {name: member for name, member in task.definition.items() if name != "output"}
        arguments = members.get("with")
        if isinstance(arguments, Mapping) and isinstance(arguments.get("endpoint"), str):
            members["with"] = {**arguments, "endpoint": {"uri": arguments["endpoint"]}}
        return {**members, **self.describe(task, raw=raw, started_ms=started_ms)}

    def _runtime(self) -> dict[str, Any]:
        runtime = dict(self.environment.runtime)
        if self.program.variables is not None and self._function() is None:
            runtime["vars"] = self.program.variables
        if self.program.links and self._function() is None:
            runtime["links"] = self._links()
        if self.idempotency_key is not None:
            runtime["metadata"] = {**(runtime.get("metadata") or {}), "idempotencyKey": self.idempotency_key}
        return runtime

    def _links(self) -> dict[str, str]:
        """Return `$runtime.links` for expressions: the URL of each link, the same until a retry renews it."""
        make = self.environment.link
        if make is None:
            raise WorkflowError(
                "configuration",
                title="Links have no URL",
                detail="$runtime.links needs the setting public_url, the URL at which people reach"
                " the gateway, and this worker has none",
            )
        uid = self.facts.uid
        return {
            name: make(uid, name, link_expiry_s(link, name, self.facts.started_at_ms, self.facts.links))
            for name, link in self.program.links.items()
        }

    def _authorization(self) -> Mapping[str, Any] | None:
        if self.authorization is not None:
            return self.authorization
        policy = self.authenticate() if self.authenticate is not None else None
        match policy:
            case Authentication(scheme="basic", parameters=members):
                pair = f"{members.get('username', '')}:{members.get('password', '')}"
                return {"scheme": "Basic", "parameter": base64.b64encode(pair.encode()).decode()}
            case Authentication(scheme="bearer", parameters=members):
                return {"scheme": "Bearer", "parameter": members.get("token")}
            case Authentication(scheme="digest"):
                return {"scheme": "Digest", "parameter": None}  # known after the challenge only
            case Authentication():
                return {"scheme": "Bearer", "parameter": None}  # known after the token request only
            case _:
                return None


def link_expiry_s(link: Link, name: str, started_at_ms: int, renewed: Mapping[str, int] | None) -> int:
    """Return the expiry of a link for expressions with `$runtime.links`, in seconds; part of its URL."""
    return ((renewed or {}).get(name, started_at_ms) + link.ttl_ms) // 1000


def describe_time(at_ms: int) -> dict[str, Any]:
    """Return the standard's descriptor of a point in time, for the expressions of a scope."""
    at = _EPOCH + timedelta(milliseconds=at_ms)
    text = at.strftime("%Y-%m-%dT%H:%M:%S") + f".{at_ms % 1000:03d}Z"
    return {"iso8601": text, "epoch": {"seconds": at_ms // 1000, "milliseconds": at_ms}}


def is_truthy(result: Any) -> bool:
    """Tell whether the result of a condition in a scope is true: as in jq, all but false and null."""
    return result is not None and result is not False
