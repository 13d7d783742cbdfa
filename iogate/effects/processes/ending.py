"""What the end of a process means: the output that `return` asks for, or the error.

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
"""Characters of each stream that the error of a failed process quotes."""

KEPT: Final[Mapping[str, frozenset[process.Stream]]] = {
    "stdout": frozenset({"stdout"}),
    "stderr": frozenset({"stderr"}),
    "all": frozenset({"stdout", "stderr"}),
    "code": frozenset(),
    "none": frozenset(),
}
"""Which streams are kept whole, by what is asked for."""


def output(what: str, end: process.Exit, returns: Returns, redactor: Redactor) -> Any:
    """The output of a process that people call `what`.

    Raises WorkflowError where its code says that it failed, and the code was not asked for.
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

    Callers read `detail`, so no output stands there.
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
    return WorkflowError("configuration", title="Process cannot be run", detail=detail)


def not_allowed(kind: str) -> WorkflowError:
    return configuration(f'this worker runs no {kind}; add "{kind}" to its setting "allow_run"')


def too_much(kind: str, fault: process.TooMuchOutput) -> WorkflowError:
    return WorkflowError("runtime", title="Process wrote too much", detail=f"the {kind} {fault}")
