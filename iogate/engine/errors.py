"""Errors on their way: made by `raise`, given a place, and turned into the data that a run keeps.

Used by `context`, `steps` and the kinds of tasks. A person who reads one learns which task failed and why,
and sees no data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from iogate.compiler.tasks import Inline, Raise, Task
from iogate.engine.scope import Scope
from iogate.engine.state.frame import Frame
from iogate.engine.tasks.uri_templates import to_json
from iogate.errors import WorkflowError
from iogate.expressions.paths import type_name
from iogate.security import secret_members

EXCERPT: Final = 1_000
"""Characters of the body of a response that operators see."""
_EXTENSIONS: Final = frozenset({"response", "responseExcerpt", "process", "sentTo"})


class RaisedError(WorkflowError):
    """What the author raises, by a `raise` task or in a Python function: its words stay as they are."""


class UnknownOutcomeError(WorkflowError):
    """An effect was under way when its worker died, and must happen at most once."""

    def __init__(self) -> None:
        super().__init__("runtime", detail="its outcome is unknown, and it must happen at most once")


def build_raised(body: Raise, scope: Scope) -> WorkflowError:
    """The error that a `raise` task describes, or the one of failing to do so."""
    if body.error is None:
        return WorkflowError("configuration", detail=f'error "{body.missing}" is not defined in use.errors')
    described = body.error.evaluate(scope.input, scope)
    if not isinstance(described, Mapping):
        return WorkflowError(
            "expression", detail=f"raise.error must give an object, not {type_name(described)}"
        )
    kind, status = described.get("type"), described.get("status")
    if not isinstance(kind, str):
        return WorkflowError(
            "expression", detail=f"the type of an error must be a URI, not {type_name(kind)}"
        )
    if isinstance(status, bool) or not isinstance(status, int):
        return WorkflowError(
            "expression", detail=f"the status of an error must be a whole number, not {type_name(status)}"
        )
    title, detail = described.get("title"), described.get("detail")
    return RaisedError(kind, status=status, title=_text(title), detail=_text(detail))


def locate(
    error: WorkflowError,
    task: Task,
    scope: Frame,
    calls: Sequence[tuple[Task, Frame]] = (),
    *,
    redact: Callable[[str], str],
) -> dict[str, Any]:
    """The error of a task as data; what the engine says gets the task's name and turn in front.

    The instance tells the place in a function, so the words tell who called it. `calls` are the tasks around
    that called functions, the inner first; of many, as in a circle, the first and the last are named.
    """
    described = to_problem(error, task.pointer, redact)
    if not isinstance(error, RaisedError):
        where = [] if task.pointer == scope.pointer else [_named(task, scope)]
        called = [caller.body.name for caller, _ in calls if isinstance(caller.body, Inline)]
        where += [f'function "{name}"' for name in dict.fromkeys((*called[:1], *called[-1:]))]
        where += [_named(*call) for call in calls[-1:]]
        described["detail"] = ": ".join(
            [*reversed(where), described.get("detail") or described.get("title") or "failed"]
        )
    return described


def _named(task: Task, scope: Frame) -> str:
    turn = f" (turn {scope.turn})" if scope.turn is not None else ""
    return f'task "{task.name}"{turn}'


def to_problem(error: WorkflowError, pointer: str, redact: Callable[[str], str]) -> dict[str, Any]:
    """Return the error as data (RFC 7807), redacted: `catch` hands it to data, and the state keeps it.

    The runtime sets the instance, also of an error that an author describes.
    """
    described = {**error.to_json(), "instance": pointer}
    for name in ("type", "title", "detail"):
        if name in described:
            described[name] = redact(described[name])
    return described


def to_stored(error: Mapping[str, Any], redact: Callable[[str], str]) -> dict[str, Any]:
    """Return the error as the run keeps it: the response, which is for `catch`, becomes `responseExcerpt`."""
    kept = {name: value for name, value in error.items() if name != "response"}
    if excerpt := _excerpt((error.get("response") or {}).get("body"), redact):
        kept["responseExcerpt"] = excerpt
    return kept


def _excerpt(body: Any, redact: Callable[[str], str]) -> str:
    """Return the beginning of a body, redacted before it is cut: else half a secret could remain."""
    if body is None:
        return ""
    if isinstance(body, str):
        text = secret_members.redact_text(redact(body))
    else:
        text = redact(to_json(secret_members.redact(body)))
    return text if len(text) <= EXCERPT else text[: EXCERPT - 1] + "…"


def strip_extensions(error: Mapping[str, Any]) -> dict[str, Any]:
    """Return the error without its extensions: what callers and sinks see of it."""
    return {name: value for name, value in error.items() if name not in _EXTENSIONS}


def to_caught(error: Mapping[str, Any]) -> dict[str, Any]:
    """Return the error as `catch` hands it to data: without the members that are for operators alone."""
    return {name: value for name, value in error.items() if name not in ("sentTo", "responseExcerpt")}


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else to_json(value)
