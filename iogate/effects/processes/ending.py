"""What the end of a process means: the output that `return` asks for, or the error.

Used by `scripts` and `containers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from iogate.effects.processes import process
from iogate.errors import WorkflowError

Returns = Literal["stdout", "stderr", "code", "all", "none"]

STDERR_SHOWN: Final = 1000
"""Characters of a failed process's standard error that its error quotes."""

KEPT: Final[Mapping[str, frozenset[process.Stream]]] = {
    "stdout": frozenset({"stdout"}),
    "stderr": frozenset({"stderr"}),
    "all": frozenset({"stdout", "stderr"}),
    "code": frozenset(),
    "none": frozenset(),
}
"""Which streams are kept whole, by what is asked for."""


def output(what: str, end: process.Exit, returns: Returns) -> Any:
    """The output of a process that people call `what`.

    Raises WorkflowError where its code says that it failed, and the code was not asked for.
    """
    stdout, stderr = (data.decode("utf-8", errors="replace") for data in (end.stdout, end.stderr))
    if end.code != 0 and returns not in {"code", "all"}:
        raise failed(f"the {what} ended with code {end.code}", stderr)
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


def failed(what: str, stderr: str) -> WorkflowError:
    """A process's failure, with the end of what it wrote about it."""
    tail = stderr.strip()
    if len(tail) > STDERR_SHOWN:
        tail = "…" + tail[-STDERR_SHOWN:]
    return WorkflowError(
        "runtime", title="Process failed", detail=what + (f"; its stderr ends: {tail}" if tail else "")
    )


def configuration(detail: str) -> WorkflowError:
    return WorkflowError("configuration", title="Process cannot be run", detail=detail)


def not_allowed(kind: str) -> WorkflowError:
    return configuration(f'this worker runs no {kind}; add "{kind}" to its setting "allow_run"')


def too_much(kind: str, fault: process.TooMuchOutput) -> WorkflowError:
    return WorkflowError("runtime", title="Process wrote too much", detail=f"the {kind} {fault}")
