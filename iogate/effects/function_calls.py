"""Performs calls of registered Python functions: coroutines on the loop, other functions in a thread.

Called by `dispatcher`. Invariant: each call ends in a JSON value or a WorkflowError; only the log has the
traceback, since an exception's text may contain secrets.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from iogate import json_values
from iogate.engine.errors import RaisedError
from iogate.errors import WorkflowError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Executor

    from iogate.engine.commands import CallFunction
    from iogate.functions import Context, Function, Registry

log = logging.getLogger("iogate.effects")


async def call_function(
    call: CallFunction, context: Context, *, functions: Registry, threads: Executor
) -> Any:
    """Call a registered Python function and return its result.

    Cancellation ends a coroutine; a thread continues and its result is dropped.
    Raises WorkflowError if the function is unknown, raises an exception, or returns no JSON value.
    """
    function = functions.get(call.name, call.version)
    if function is None:
        raise WorkflowError(
            "configuration",
            title="Function not found",
            detail=f"this worker has no function {call.name}:{call.version}; "
            'list the module that registers it in the setting "functions"',
        )
    try:
        arguments = function.bind(call.arguments, context)
        result = function.result(await _invoke(function, arguments, threads))
    except WorkflowError:
        raise
    except asyncio.CancelledError as fault:
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise
        # The function raised CancelledError itself: a failure, not a cancellation of the effect.
        raise _log_failure(function, context, fault) from None
    except BaseException as fault:  # noqa: BLE001 - the author's code may raise anything
        raise _log_failure(function, context, fault) from None
    try:
        json_values.check(result)
    except ValueError as fault:
        raise WorkflowError(
            "runtime",
            title="Function returned no JSON value",
            detail=f"{function.reference} returned a value that is not JSON: {fault}",
        ) from None
    return result


async def _invoke(function: Function, arguments: Mapping[str, Any], threads: Executor) -> Any:
    try:
        if function.is_async:
            return await function.callable(**arguments)
        loop = asyncio.get_running_loop()
        value, fault = await loop.run_in_executor(threads, _invoke_in_thread, function, arguments)
        if fault is not None:
            raise fault
    except WorkflowError as error:
        raise _raised(function, error) from None
    return value


def _raised(function: Function, error: WorkflowError) -> WorkflowError:
    """Return the error of a task for one that its Python function has raised; the author's text is kept.

    The author may give its members values of any type, and the state of a run holds JSON only.
    """
    status: Any = error.status
    if isinstance(status, bool) or not isinstance(status, int):
        return WorkflowError(
            "runtime",
            title="Function failed",
            detail=f"{function.reference} raised a WorkflowError whose status is a {type(status).__name__}; "
            "it must be a whole number",
        )
    return RaisedError(
        str(error.type), status=int(status), title=_text(error.title), detail=_text(error.detail)
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _invoke_in_thread(function: Function, arguments: Mapping[str, Any]) -> tuple[Any, BaseException | None]:
    """Call a Python function; return an exception as a value: a future cannot hold StopIteration."""
    try:
        return function.callable(**arguments), None
    except BaseException as fault:  # noqa: BLE001 - raised again by the caller
        return None, fault


def _log_failure(function: Function, context: Context, fault: BaseException) -> WorkflowError:
    log.error(
        "function %s failed",
        function.reference,
        exc_info=fault,
        extra={"action": "function.failed", "uid": context.run_id},
    )
    return WorkflowError(
        "runtime",
        title="Function failed",
        detail=f"{function.reference} raised {type(fault).__name__}; the worker's log has the traceback",
    )
