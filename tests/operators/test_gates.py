"""Switches of a selection: confirmed APIs only, and their effect in JSON."""

from __future__ import annotations

import pytest

from iogate.operators import gates
from iogate.operators.live_revision import ApiSelection
from iogate.store.store import Store
from tests.store.builders import api, publish

EVERY = ApiSelection(apis=(), modules=(), tags=(), all_=True)


async def test_a_selection_that_changed_since_it_was_confirmed_is_not_switched(store: Store) -> None:
    await publish(store, api("a/one"), api("a/two"))
    confirmed = await gates.selected(store, EVERY, enabled=False)
    assert confirmed == ["a/one", "a/two"]
    await publish(store, api("a/one"), api("a/three"))
    with pytest.raises(gates.SelectionMoved, match="changed meanwhile: nothing was switched") as moved:
        await gates.switch(store, EVERY, enabled=False, author="ada", confirmed=confirmed)
    assert moved.value.apis == ["a/one", "a/three"]
    states = await store.gates.states()
    assert {name: gate.enabled for name, gate in states.items()} == {"a/one": True, "a/three": True}
    done = await gates.switch(store, EVERY, enabled=False, author="ada", confirmed=moved.value.apis)
    assert [(each["api"], each["before"], each["after"], each["queued"]) for each in done["changes"]] == [
        ("a/one", "enabled", "disabled", 0),
        ("a/three", "enabled", "disabled", 0),
    ]
    listed = (await gates.list_overrides(store))["overrides"]
    assert [(each["api"], each["author"]) for each in listed] == [("a/one", "ada"), ("a/three", "ada")]
    assert await gates.clear_overrides(store, None) == {"cleared": ["a/one", "a/three"]}
