"""Python functions: their context, and one value or error for each call."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import pytest

import iogate.functions
from iogate.effects import Effects
from iogate.engine.commands import CallFunction
from iogate.errors import WorkflowError
from iogate.functions import Context, Registry
from iogate.settings import Settings
from tests.effects.conftest import KEY, do, failure


def registered(function: Callable[..., Any]) -> Effects:
    described = iogate.functions.describe(function, "f", "1.0.0")
    return Effects(settings=Settings(), functions=Registry({("f", "1.0.0"): described}))


def call(**arguments: Any) -> CallFunction:
    return CallFunction(name="f", version="1.0.0", arguments=arguments)


async def test_a_plain_function_runs_in_a_thread_with_its_context() -> None:
    seen: list[Context] = []

    def add(a: int, b: int = 1, *, ctx: Context) -> dict[str, int]:
        assert threading.current_thread() is not threading.main_thread()
        seen.append(ctx)
        return {"sum": a + b}

    async with registered(add) as effects:
        assert (await do(effects, call(a=2), deadline_ms=5_000)).output == {"sum": 3}
    assert seen == [Context(idempotency_key=KEY, attempt=2, run_id="213996969363910656", deadline=5.0)]


async def test_a_coroutine_runs_on_the_loop_and_is_cancelled_with_its_task() -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with registered(wait) as effects:
        task = asyncio.create_task(do(effects, call()))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert ended.is_set()


async def test_a_workflow_error_is_kept() -> None:
    def refuse() -> None:
        raise WorkflowError("authorization", title="No", detail="not today")

    async with registered(refuse) as effects:
        performed = await do(effects, call())
    assert failure(performed) == ("authorization", 403, "not today")


async def test_any_other_exception_shows_only_its_type(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def leak() -> None:
        raise ValueError("swordfish")

    async with registered(leak) as effects:
        performed = await do(effects, call())
    expected = "f:1.0.0@default raised ValueError; the worker's log has the traceback"
    assert failure(performed) == ("runtime", 500, expected)
    assert caplog.records[0].exc_info is not None


class Unusual(BaseException):
    pass


@pytest.mark.parametrize(
    "fault",
    [
        SystemExit(3),
        KeyboardInterrupt(),
        GeneratorExit(),
        Unusual(),
        asyncio.CancelledError(),
        StopIteration(),
    ],
)
@pytest.mark.parametrize("threaded", [True, False])
async def test_no_exception_of_a_function_reaches_the_worker(fault: BaseException, *, threaded: bool) -> None:
    def plain() -> None:
        raise fault

    async def coroutine() -> None:
        raise fault

    async with registered(plain if threaded else coroutine) as effects:
        kind, status, detail = failure(await do(effects, call()))
    assert (kind, status) == ("runtime", 500)
    assert detail.startswith("f:1.0.0@default raised ")


class Unprintable:
    def __str__(self) -> str:
        raise LookupError


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"detail": ValueError("not today")}, {"status": 500, "detail": "not today"}),
        ({"title": 7, "detail": b"raw"}, {"status": 500, "title": "7", "detail": "b'raw'"}),
        ({"kind": 7, "detail": ""}, {"type": "7", "status": 500, "detail": ""}),
        ({"status": HTTPStatus.CONFLICT}, {"status": 409}),
        (
            {"status": "409"},
            {
                "status": 500,
                "title": "Function failed",
                "detail": "f:1.0.0@default raised a WorkflowError whose status is a str; "
                "it must be a whole number",
            },
        ),
        (
            {"detail": Unprintable()},
            {
                "status": 500,
                "detail": "f:1.0.0@default raised LookupError; the worker's log has the traceback",
            },
        ),
    ],
)
async def test_the_members_of_an_error_that_a_function_raises_are_json(
    members: dict[str, Any], expected: dict[str, Any]
) -> None:
    def refuse() -> None:
        raise WorkflowError(**members)

    async with registered(refuse) as effects:
        performed = await do(effects, call())
    assert performed.error is not None
    error = json.loads(json.dumps(performed.error.to_json()))
    assert {name: error[name] for name in expected} == expected


async def test_an_argument_that_cannot_be_made_is_a_failure_of_the_function() -> None:
    @dataclass
    class Order:
        number: int

        def __post_init__(self) -> None:
            raise Unusual

    def take(order: Order) -> None:
        del order

    take.__annotations__["order"] = Order
    async with registered(take) as effects:
        detail = failure(await do(effects, call(order={"number": 1})))[2]
    assert detail == "f:1.0.0@default raised Unusual; the worker's log has the traceback"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), "f:1.0.0@default returned a value that is not JSON: nan is not a JSON number"),
        ("\ud800", "a text holds half a surrogate pair, which UTF-8 cannot encode"),
        (object(), "f:1.0.0@default returned a object"),
    ],
)
async def test_a_result_must_be_a_json_value(value: object, expected: str) -> None:
    async with registered(lambda: value) as effects:
        kind, status, detail = failure(await do(effects, call()))
    assert (kind, status) == ("runtime", 500)
    assert expected in detail


async def test_a_missing_function_is_named() -> None:
    async with Effects(settings=Settings()) as effects:
        performed = await do(effects, call())
    expected = (
        'this worker has no function f:1.0.0; list the module that registers it in the setting "functions"'
    )
    assert failure(performed) == ("configuration", 400, expected)


async def test_invalid_arguments_are_a_validation_error() -> None:
    def add(a: int) -> int:
        return a

    async with registered(add) as effects:
        kind, status, detail = failure(await do(effects, call(a="two")))
    assert (kind, status) == ("validation", 400)
    assert "argument 'a'" in detail
