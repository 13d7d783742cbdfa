"""Due times: adds an evaluated duration to a time, for `wait`, timeouts and the delays of retries."""

from __future__ import annotations

from typing import Any

from iogate.compiler.tasks import Timeout
from iogate.engine.expression_scope import Scope
from iogate.errors import WorkflowError
from iogate.timing import durations


def add_duration(duration: Any, now_ms: int, what: str) -> int:
    """Return the due time `duration` (text or object) after now, in milliseconds since 1970.

    Raises WorkflowError `expression` for an invalid duration; `what` names it.
    """
    try:
        return durations.read_duration(duration).after_ms(now_ms)
    except durations.InvalidDuration as error:
        raise WorkflowError("expression", detail=f"{what}: {error}") from None


def deadline(timeout: Timeout | None, value: Any, scope: Scope, now_ms: int) -> int | None:
    """Return the due time of a timeout, in epoch milliseconds; None without a timeout.

    Raises WorkflowError for an undefined or invalid timeout.
    """
    if timeout is None:
        return None
    if timeout.after is None:
        raise WorkflowError(
            "configuration", detail=f'timeout "{timeout.missing}" is not defined in use.timeouts'
        )
    return add_duration(timeout.after.evaluate(value, scope), now_ms, "timeout")
