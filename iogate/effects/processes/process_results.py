"""Results of processes: converts an exit to the output that `return` asks for, or to an error.

Used by `scripts` and `containers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from iogate.effects.processes import process_run
from iogate.errors import WorkflowError
from iogate.security.redaction import Redactor

ReturnMode = Literal["stdout", "stderr", "code", "all", "none"]

MAX_SHOWN: Final = {"stderr": 1000, "stdout": 500}
"""Maximum number of characters of each stream in the error of a failed process."""

KEPT_STREAMS: Final[Mapping[str, frozenset[process_run.Stream]]] = {
    "stdout": frozenset({"stdout"}),
    "stderr": frozenset({"stderr"}),
    "all": frozenset({"stdout", "stderr"}),
    "code": frozenset(),
    "none": frozenset(),
}
"""Streams that are kept completely, by the value of `return`."""


def to_output(kind: str, end: process_run.Exit, returns: ReturnMode, redactor: Redactor) -> Any:
    """Return the result of an ended process as the output of its task, as `return` asks for it.

    Raises WorkflowError for a code other than 0, unless `returns` includes the code.
    """
    if end.code != 0 and returns not in {"code", "all"}:
        raise process_error(f"the {kind} ended with code {end.code}", end, redactor)
    stdout, stderr = _decode(end.stdout), _decode(end.stderr)
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


def process_error(detail: str, end: process_run.Exit | None, redactor: Redactor) -> WorkflowError:
    """Return the error of a failed process: its exit code and the redacted end of both streams in `process`.

    Callers of the API read `detail`, so it contains no output.
    """
    about: dict[str, Any] | None = None
    if end is not None:
        about = {"code": end.code}
        for name, data in (("stderr", end.stderr), ("stdout", end.stdout)):
            shown = redactor.tail(_decode(data).strip(), MAX_SHOWN[name], partial=name in end.partial)
            if shown:
                about[name] = shown
    return WorkflowError("runtime", title="Process failed", detail=detail, process=about)


def _decode(data: bytes) -> str:
    return data.decode("utf-8", errors="replace")


def configuration_error(detail: str) -> WorkflowError:
    """Return the error of a process that cannot be started, for its task."""
    return WorkflowError("configuration", title="Process cannot be run", detail=detail)


def too_much_output_error(kind: str, fault: process_run.TooMuchOutput) -> WorkflowError:
    """Return the error of a process that exceeded the size of its output."""
    return WorkflowError("runtime", title="Process wrote too much", detail=f"the {kind} {fault}")
