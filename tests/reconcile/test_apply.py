"""Apply: replaces only the checked revision, and waits for the processes."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import msgspec
import pytest

from iogate.errors import NotTaken, Refused
from iogate.reconcile.apply import ATTEMPTS, NotConverged, apply, undo
from iogate.reconcile.deletion_guard import FOLDER
from iogate.reconcile.live_plan import live
from iogate.store.maintenance.process_presence import Process
from iogate.store.revisions import convergence
from iogate.store.revisions.origin import Origin
from iogate.store.revisions.revisions import Conflict
from iogate.store.store import Store
from tests.reconcile.revisions import api, bundle


async def gateway(store: Store, revision: int, name: str = "g1") -> None:
    await store.presence.announce(
        Process(kind="gateway", id=name, pid=1, host="here", started_at_ms=0, revision=revision)
    )


async def test_the_first_apply_makes_revision_one(store: Store) -> None:
    assert (await live(store))[0] == 0
    made = bundle(api())
    applied = await apply(store, made)
    assert (applied.number, applied.previous, applied.changed) == (1, None, True)
    assert applied.plan.ids("add", "api") == ["orders/submit"]
    assert await live(store) == (1, made.revision)
    assert applied.to_json()["revision"] == 1
    for digest, program in made.programs.items():
        assert await store.revisions.program(digest) == program


async def test_the_same_files_again_change_nothing(store: Store) -> None:
    await apply(store, bundle(api()))
    applied = await apply(store, bundle(api()))
    assert (applied.number, applied.changed, bool(applied.plan)) == (1, False, False)


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let gateways count as running that have announced themselves a while ago."""
    monkeypatch.setattr(convergence, "SILENT_S", 60.0)


@pytest.mark.usefixtures("heard")
async def test_apply_waits_until_running_gateways_have_loaded_it(store: Store) -> None:
    await gateway(store, 0)
    applying = asyncio.create_task(apply(store, bundle(api()), wait_s=60))
    async with asyncio.timeout(20):
        while await store.revisions.live() is None:
            await asyncio.sleep(0.01)
    assert not applying.done()
    await gateway(store, 1)
    assert (await applying).number == 1


@pytest.mark.usefixtures("heard")
async def test_a_late_gateway_is_named_and_the_revision_stays(store: Store) -> None:
    await gateway(store, 0, "slow")
    await gateway(store, 1, "fast")
    with pytest.raises(NotConverged) as caught:
        await apply(store, bundle(api()), wait_s=0.05)
    assert re.fullmatch(
        r"revision 1 is live, but only 1 of 2 processes have loaded it after \d+\.\d s: "
        "gateway slow has not answered",
        caught.value.message,
    )
    assert caught.value.exit_code == NotTaken.exit_code == 5
    assert caught.value.applied.to_json()["processes"]["late"] == [
        {"kind": "gateway", "id": "slow", "revision": None, "reason": None}
    ]
    assert await store.revisions.live() is not None


async def test_a_stale_expectation_is_refused_and_nothing_changes(store: Store) -> None:
    await apply(store, bundle(api()))
    for expected in (0, 2):
        with pytest.raises(Conflict, match=f"the live revision is 1, not {expected}") as caught:
            await apply(store, bundle(api("a/b")), expected=expected)
        assert caught.value.exit_code == 4
    assert (await apply(store, bundle(api("a/b")), expected=1, allowed=FOLDER)).number == 2


async def test_concurrent_applies_each_replace_the_revision_they_read(store: Store) -> None:
    """Every revision's previous one is the one before it: none was overwritten unseen."""
    applied = await asyncio.gather(*(apply(store, bundle(api(f"a/m{n}")), allowed=FOLDER) for n in range(4)))
    assert sorted((one.previous or 0, one.number) for one in applied) == [(0, 1), (1, 2), (2, 3), (3, 4)]


async def test_the_guard_checks_the_revision_that_is_replaced(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A protected API that someone else applies in between is not deleted."""
    await apply(store, bundle(api("a/b")))
    publish = store.revisions.publish

    async def race(made: Any, expected: int | None = None, **more: Any) -> int:
        monkeypatch.setattr(store.revisions, "publish", publish)
        await publish(bundle(api("a/b"), api("a/protected", protect=True)))
        return await publish(made, expected, **more)

    monkeypatch.setattr(store.revisions, "publish", race)
    with pytest.raises(Refused, match="a/protected is protected and would be deleted"):
        await apply(store, bundle(api("a/c")), allowed=FOLDER)


async def test_apply_fails_after_repeated_conflicts(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = 0

    async def always_moved(made: Any, expected: int | None = None, **_: Any) -> int:
        nonlocal tries
        tries += 1
        raise Conflict(9, expected or 0)

    monkeypatch.setattr(store.revisions, "publish", always_moved)
    with pytest.raises(Refused, match=r"the live revision changed 5 times while this apply was under way"):
        await apply(store, bundle(api()))
    assert tries == ATTEMPTS


async def test_a_new_revision_has_its_origin_and_a_summary_of_its_changes(store: Store) -> None:
    await apply(store, bundle(api()), origin=Origin(author="ann", message="first"))
    await apply(store, bundle(api(), api("a/b")), origin=Origin(author="bob"))
    await apply(store, bundle(api(), api("a/b")), origin=Origin(author="eve"))
    newest, first = await store.revisions.history()
    assert first.origin == Origin(author="ann", message="first", changes="1 API added; 1 workflow added")
    assert newest.origin == Origin(author="bob", changes="1 API added")


async def test_an_apply_is_undone_as_a_revision_of_its_own(store: Store) -> None:
    (program,) = bundle().programs
    kept, other = api(program=program), api("a/b", program=program)
    protected = msgspec.structs.replace(other, protect=True)
    first = await apply(store, bundle(kept, protected), origin=Origin())
    added = api("c/d", program=program, protect=True)
    second = await apply(store, bundle(kept, other, added), origin=Origin())
    undone = await undo(store, second, Origin(author="bob", message="why"))
    assert (undone.number, undone.digest, undone.previous) == (3, first.digest, 2)
    assert await store.revisions.live() == (3, first.digest)
    assert await store.revisions.origin(3) == Origin(
        author="bob", message="why", action="rollback", restores=1, changes="1 API changed, 1 deleted"
    )
    await apply(store, bundle(kept, protected, api("e/f", program=program)))
    with pytest.raises(Conflict, match="the live revision is 4, not 2"):
        await undo(store, second, Origin())
