"""Pages of the history, and the difference between two revisions."""

from __future__ import annotations

import pytest

from iogate.errors import Misused, NotFound
from iogate.operators import publications, revisions
from iogate.reconcile.deletion_guard import Allowed
from iogate.store.store import Store
from tests.store.builders import api, bundle, publish


async def test_pages_of_the_history_are_complete_and_without_repeats(store: Store) -> None:
    for number in range(5):
        await publish(store, api("a/one", description=str(number)))
    found: list[int] = []
    cursor: str | None = None
    while True:
        page = await revisions.page(store, limit=2, cursor=cursor)
        found += [row["revision"] for row in page["revisions"]]
        cursor = page["nextCursor"]
        if cursor is None:
            break
    assert found == [5, 4, 3, 2, 1]
    assert await revisions.page(store, limit=5) == await revisions.page(store, limit=9)
    last = await revisions.page(store, limit=5, cursor="1")
    assert last == {"live": 5, "revisions": [], "nextCursor": None}
    with pytest.raises(Misused, match="the cursor is not one that a page of revisions has returned"):
        await revisions.page(store, cursor="x")


async def test_a_difference_names_both_revisions_and_each_change(store: Store) -> None:
    await publish(store, api("a/one"))
    await publish(store, api("a/one"), api("a/two"))
    found = await revisions.diff(store, 1, None)
    assert (found["from"]["revision"], found["to"]["revision"]) == (1, 2)
    assert [(each["action"], each["id"]) for each in found["changes"]] == [("add", "a/two")]
    with pytest.raises(NotFound, match="there is no revision 7"):
        await revisions.diff(store, 7, 1)


async def test_a_rollback_publishes_the_earlier_content_with_its_origin(store: Store) -> None:
    await publish(store, api("a/one"))
    await store.revisions.publish(bundle(api("a/one"), api("a/two")))
    assert await publications.previous(store) == 1
    found = await publications.plan_rollback(store, 1)
    found.check(Allowed(prune=True, max_deletes=1, restores=True))
    origin = await publications.rollback_origin(store, 1, author="ada", message=" two fails ")
    done = await publications.publish(store, found, origin, wait_s=0)
    assert (done.applied.number, done.late, done.to_json()["rolledBack"]) == (3, None, None)
    shown = await revisions.show(store)
    assert (shown["revision"], shown["action"], shown["restores"]) == (3, "rollback", 1)
    assert (shown["author"], shown["message"]) == ("ada", "two fails")
    assert [each["api"] for each in shown["apis"]] == ["a/one"]
