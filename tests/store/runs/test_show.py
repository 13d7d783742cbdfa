"""A run is shown without data that are larger than its reader wants."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from iogate.store.runs.views import RunView
from iogate.store.store import Store
from tests.store.builders import accepted, commit, publish

LARGE = b'"' + b"a" * 20_000 + b'"'
OTHER = b'"' + b"b" * 9_000 + b'"'
DATA = ("input", "output", "error", "tasks", "unread")


async def ended(store: Store, input_: bytes, **results: Any) -> str:
    await publish(store)
    uid = await accepted(store.intake(), input=input_)
    (claim,) = (await store.leases.take("w", 1)).claims
    assert (await store.leases.commit([commit(claim, **results)]))[0].applied
    return uid


async def shown(store: Store, uid: str, **options: Any) -> RunView:
    view = await store.runs.show(uid, **options)
    assert view is not None
    return view


def without_data(view: RunView) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(view).items() if name not in DATA}


async def test_the_input_of_a_live_run_is_left_out_if_it_is_larger_than_wanted(each_store: Store) -> None:
    await publish(each_store)
    uid = await accepted(each_store.intake(), input=LARGE)
    whole, head = await shown(each_store, uid), await shown(each_store, uid, most=len(LARGE) - 1)
    assert (whole.input, whole.unread) == (LARGE, 0)
    assert (head.input, head.unread) == (b"", len(LARGE))
    assert without_data(head) == without_data(whole)
    assert await shown(each_store, uid, most=head.unread) == whole
    assert (await shown(each_store, uid, only_results=True)).input == b""


@pytest.mark.parametrize(
    ("results", "unread"),
    [
        ({"output": OTHER}, len(LARGE) + len(OTHER)),
        ({"status": "faulted", "error": OTHER}, len(LARGE) + len(OTHER)),
        ({"output": LARGE}, len(LARGE)),
        ({"output": b"1"}, len(LARGE)),
    ],
)
async def test_all_data_of_an_ended_run_are_left_out_if_they_are_larger_than_wanted(
    each_store: Store, results: dict[str, Any], unread: int
) -> None:
    uid = await ended(each_store, LARGE, **results)
    whole, head = await shown(each_store, uid), await shown(each_store, uid, most=unread - 1)
    assert (whole.input, whole.output, whole.error, whole.unread) == (
        LARGE,
        results.get("output"),
        results.get("error"),
        0,
    )
    assert (head.input, head.output if len(results.get("output", b"")) > 1 else None, head.error) == (
        b"",
        None,
        None,
    )
    assert head.unread == unread
    assert without_data(head) == without_data(whole)
    assert await shown(each_store, uid, most=unread) == whole


async def test_only_the_results_are_read_unless_the_input_is_the_output(each_store: Store) -> None:
    uid = await ended(each_store, LARGE, output=OTHER)
    found = await shown(each_store, uid, most=len(OTHER), only_results=True)
    assert (found.input, found.output, found.unread) == (b"", OTHER, 0)
    assert (await shown(each_store, uid, most=0, only_results=True)).unread == len(OTHER)
    uid = await ended(each_store, LARGE, output=LARGE)
    assert (await shown(each_store, uid, most=0, only_results=True)).unread == len(LARGE)
    assert (await shown(each_store, uid, only_results=True)).output == LARGE


async def test_a_wait_reads_no_more_than_wanted(each_store: Store) -> None:
    uid = await ended(each_store, LARGE, output=OTHER)
    found = await each_store.runs.wait(uid, 5, most=100)
    assert found is not None
    assert (found.status, found.unread) == ("completed", len(LARGE) + len(OTHER))
