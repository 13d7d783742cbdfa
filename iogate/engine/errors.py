"""Errors of tasks: creation by `raise`, location, and conversion to the data that a run keeps.

Used by `execution_context`, `loop` and the kinds of tasks. Invariant: an error names the task that failed and
the reason, and shows no data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from iogate.compiler.tasks import Inline, Raise, Task
from iogate.engine.expression_scope import Scope
from iogate.engine.state.frame import Frame
from iogate.errors import WorkflowError
from iogate.json_values import to_json, to_text, type_name
from iogate.messages import shorten
from iogate.security import redaction_patterns

EXCERPT: Final = 1_000
"""Maximum number of characters of a response body that operators see."""
TEXT_BYTES: Final = 8 * 1024
"""Maximum size of the type, title and detail of an error in the state and the journal, each in UTF-8."""
_TEXTS: Final = ("type", "title", "detail")
_EXTENSIONS: Final = frozenset({"response", "responseExcerpt", "process", "sentTo"})


class RaisedError(WorkflowError):
    """An error that the author raises, by a `raise` task or in a Python function; its text is not changed."""


class UnknownOutcomeError(WorkflowError):
    """An effect that must happen at most once would be repeated, without a definite answer to it before."""

    def __init__(self) -> None:
        super().__init__("runtime", detail="its outcome is unknown, and it must happen at most once")


def build_raised(body: Raise, scope: Scope) -> WorkflowError:
    """Build the error that a `raise` task describes, or the error of an invalid description."""
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
    """Return the error of a task as data, with the name and iteration of the task before the engine's text.

    `instance` gives the place in a function, so the text names the caller. `calls` are the enclosing tasks
    that called functions, innermost first; of several, as in a recursion, the first and the last are named.
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
    iteration = f" (iteration {scope.turn})" if scope.turn is not None else ""
    return f'task "{task.name}"{iteration}'


def to_problem(error: WorkflowError, pointer: str, redact: Callable[[str], str]) -> dict[str, Any]:
    """Return the error as redacted data (RFC 7807), for `catch` and for the state.

    The runtime sets `instance`, also for an error that an author describes.
    """
    described = {**error.to_json(), "instance": pointer}
    for name in _TEXTS:
        if name in described:
            described[name] = redact(described[name])
    return described


def to_stored(error: Mapping[str, Any], redact: Callable[[str], str]) -> dict[str, Any]:
    """Return a task's error for the state: with short texts, and `responseExcerpt` in place of the response.

    The whole texts and the response are for `catch`.
    """
    kept = {name: value for name, value in shorten_texts(error).items() if name != "response"}
    if excerpt := _excerpt((error.get("response") or {}).get("body"), redact):
        kept["responseExcerpt"] = excerpt
    return kept


def shorten_texts(error: Mapping[str, Any]) -> dict[str, Any]:
    """Return a task's error with a type, title and detail of at most TEXT_BYTES, for the state and notes.

    The error is redacted before, so that no half secret remains.
    """
    return {name: _shorten(value) if name in _TEXTS else value for name, value in error.items()}


def _shorten(text: Any) -> Any:
    """Truncate a text of a task's error that is too long, with its size at the end."""
    if not isinstance(text, str) or len(text) * 4 <= TEXT_BYTES:
        return text
    data = text.encode(errors="surrogatepass")
    if len(data) <= TEXT_BYTES:
        return text
    mark = f"… [shortened from {len(data)} bytes]"
    return data[: TEXT_BYTES - len(mark.encode())].decode(errors="ignore") + mark


def _excerpt(body: Any, redact: Callable[[str], str]) -> str:
    """Return the beginning of the body in a task's error, redacted first, so that no half secret remains."""
    if body is None:
        return ""
    if isinstance(body, str):
        text = redaction_patterns.redact_text(redact(body))
    else:
        text = redact(to_json(redaction_patterns.redact(body)))
    return shorten(text, EXCERPT)


def strip_extensions(error: Mapping[str, Any]) -> dict[str, Any]:
    """Return the error of a task or run without its extensions, for callers, sinks and people."""
    return {name: value for name, value in error.items() if name not in _EXTENSIONS}


def to_caught(error: Mapping[str, Any]) -> dict[str, Any]:
    """Return a task's error as `catch` passes it to data: without the members for operators."""
    return {name: value for name, value in error.items() if name not in ("sentTo", "responseExcerpt")}


def _text(value: Any) -> str | None:
    return None if value is None else to_text(value)
