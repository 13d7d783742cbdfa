"""Attributes of an API are taken from the input of each call, and its runs are found by them."""

from __future__ import annotations

import pytest

from iogate.gateway.validation import validator
from iogate.store.runs.run_index import RunFilter
from tests.gateway.driver import World, api

ORDERS = api("a/orders", attributes={"order": "/order", "customer": "/customer/id"})


@pytest.mark.parametrize("on_loop", [True, False])
async def test_a_run_is_found_by_the_attributes_of_its_call(
    world: World, monkeypatch: pytest.MonkeyPatch, *, on_loop: bool
) -> None:
    """Also if the input is validated in the process that validates large ones."""
    if not on_loop:
        monkeypatch.setattr(validator, "ON_LOOP_BYTES", 0)
    await world.publish(ORDERS, api("a/plain"))
    first = (await world.call("a/orders", b'{"order": "A-1", "customer": {"id": 7}}')).uid
    second = (await world.call("a/orders", b'{"order": "A-2", "customer": {"id": 7.0}}')).uid
    third = (await world.call("a/orders", b'{"order": ["A-1"], "customer": 7}')).uid
    plain = (await world.call("a/plain", b'{"order": "A-1"}')).uid

    async def found(name: str, value: str) -> list[str]:
        return [run.uid for run in (await world.store.runs.page(RunFilter(where=(name, value)))).runs]

    assert await found("order", "A-1") == [first]
    assert await found("customer", "7") == [second, first]
    assert await found("order", "A") == []
    runs = {run.uid: run.attributes for run in (await world.store.runs.page(RunFilter())).runs}
    assert runs == {
        plain: {},
        third: {},
        second: {"order": "A-2", "customer": "7"},
        first: {"order": "A-1", "customer": "7"},
    }
