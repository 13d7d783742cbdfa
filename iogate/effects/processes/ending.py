"""Conversion of the exit of a process to the output that `return` asks for, or to an error.

Used by `scripts` and `containers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from iogate.effects.processes import process
from iogate.errors import WorkflowError
from iogate.security.redaction import Redactor

Returns = Literal["stdout", "stderr", "code", "all", "none"]

SHOWN: Final = {"stderr": 1000, "stdout": 500}
"""Maximum number of characters of each stream in the error of a failed process."""

KEPT: Final[Mapping[str, frozenset[process.Stream]]] = {
    "stdout": frozenset({"stdout"}),
    "stderr": frozenset({"stderr"}),
    "all": frozenset({"stdout", "stderr"}),
    "code": frozenset(),
    "none": frozenset(),
}
"""Streams that are kept completely, by the value of `return`."""


def output(what: str, end: process.Exit, returns: Returns, redactor: Redactor) -> Any:
    """Return the output of a process.

    Raises WorkflowError for a code other than 0, unless `returns` includes the code.
    """
    if end.code != 0 and returns not in {"code", "all"}:
        raise failed(f"the {what} ended with code {end.code}", end, redactor)
    stdout, stderr = _text(end.stdout), _text(end.stderr)
    match returns:
        case "stdout":
            return stdout
        case "stderr":
            return stderr
        case "code":
            return end.code
        case "all":
            return {"code": end.code, "stdout": stdout, "stderr": stderr}
        case "none":
            return None


def failed(what: str, end: process.Exit | None, redactor: Redactor) -> WorkflowError:
    """Return the error of a failed process: its exit code and the redacted end of both streams in `process`.

    Callers of the API read `detail`, so it contains no output.
    """
    about: dict[str, Any] | None = None
    if end is not None:
        about = {"code": end.code}
        for name, data in (("stderr", end.stderr), ("stdout", end.stdout)):
            shown = redactor.tail(_text(data).strip(), SHOWN[name], partial=name in end.partial)
            if shown:
                about[name] = shown
    return WorkflowError("runtime", title="Process failed", detail=what, process=about)


def _text(data: bytes) -> str:
    return data.decode("utf-8", errors="replace")


def configuration(detail: str) -> WorkflowError:
    """Return the error of a process that cannot be started."""
    return WorkflowError("configuration", title="Process cannot be run", detail=detail)


def not_allowed(kind: str) -> WorkflowError:
    """Return the error of a kind of process that `allow_run` does not list."""
    return configuration(f'this worker runs no {kind}; add "{kind}" to its setting "allow_run"')


def too_much(kind: str, fault: process.TooMuchOutput) -> WorkflowError:
    """Return the error of a process that exceeded the size of its output."""
    return WorkflowError("runtime", title="Process wrote too much", detail=f"the {kind} {fault}")
