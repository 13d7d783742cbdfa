"""Performs calls of registered Python functions: coroutines on the loop, everything else in a thread.

Called by `perform`. Invariant: whatever a function does, its call ends in a JSON value or a WorkflowError;
only the log sees a traceback, since an exception's text may hold anything.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from iogate.effects import values
from iogate.errors import WorkflowError

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from iogate.engine.commands import CallFunction
    from iogate.functions import Context, Registry

log = logging.getLogger("iogate.effects")


async def call(call: CallFunction, context: Context, *, functions: Registry, threads: Executor) -> Any:
    """Call the function and give its result.

    A cancelled coroutine is cancelled; a thread cannot be, so its result is dropped when it comes.
    """
    function = functions.get(call.name, call.version)
    if function is None:
        raise WorkflowError(
            "configuration",
            title="Function not found",
            detail=f"this worker has no function {call.name}:{call.version}; "
            'list the module that registers it in the setting "functions"',
        )
    arguments = function.bind(call.arguments, context)
    try:
        if function.is_async:
            result = await function.callable(**arguments)
        else:
            loop = asyncio.get_running_loop()
            result = await loop.run_in_executor(threads, lambda: function.callable(**arguments))
    except WorkflowError:
        raise
    except Exception as fault:  # the author's code: anything may come out of it
        log.exception(
            "function %s failed",
            function.reference,
            extra={"action": "function.failed", "run": context.run_id},
        )
        raise WorkflowError(
            "runtime",
            title="Function failed",
            detail=f"{function.reference} raised {type(fault).__name__}; the worker's log has the traceback",
        ) from None
    result = function.result(result)
    try:
        values.check(result)
    except ValueError as fault:
        raise WorkflowError(
            "runtime",
            title="Function returned no JSON value",
            detail=f"{function.reference} returned what JSON cannot hold: {fault}",
        ) from None
    return result
