"""A worker acknowledges a revision that it can execute, or announces why it cannot."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from iogate.compiler.revision import digest_of
from iogate.security.keyring import Keyring
from iogate.store import keys
from tests.store.live_records import make_live
from tests.worker.site import NOOP, until, workflow

if TYPE_CHECKING:
    from iogate.store.revisions.convergence import Convergence
    from tests.worker.site import Site


async def state_of(site: Site, number: int) -> Convergence:
    """Return the state after the worker has announced itself, and loaded the revision or refused it."""

    async def announced() -> bool:
        return bool(await site.store.presence.list("worker"))

    await until(announced, name="the worker")
    return await site.store.convergence.wait(number, 40)


async def test_a_worker_acknowledges_the_live_revision_and_each_new_one(site: Site) -> None:
    await site.publish(NOOP)
    await site.worker()
    assert str(await state_of(site, 1)) == "1/1 on revision 1"
    await site.publish(workflow("other", {"stop": {"set": {"n": 1}}}))
    state = await state_of(site, 2)
    assert (str(state), state.late) == ("1/1 on revision 2", ())
    (worker,) = await site.store.presence.list("worker")
    assert (worker.revision, worker.loaded, worker.failed) == (2, {"default": 2}, {})


async def test_a_worker_keeps_its_revision_and_says_why_it_cannot_load_another(site: Site) -> None:
    await site.publish(NOOP)
    worker = await site.worker()
    assert (await state_of(site, 1)).late == ()
    data = await site.store.call("HGET", f"{keys.REVISION}1", "data")
    forged = Keyring(("o" * 40,)).sign_revision(b"2", data)
    await site.store.call("HSET", f"{keys.REVISION}2", "data", data, "digest", "d", "at", 1, "sig", forged)
    await make_live(site.store, 2, "d")
    (late,) = (await state_of(site, 2)).late
    assert (late.kind, late.revision) == ("worker", 1)
    assert late.reason.startswith("revision 2 in the store is refused: it is signed with another link_key")
    assert "revision 2 cannot be loaded: revision 2 in the store is refused" in worker.log_text()


async def test_a_revision_without_its_programs_is_not_acknowledged_until_they_are_there(site: Site) -> None:
    await site.publish(NOOP)
    program = keys.PROGRAM + digest_of(NOOP)
    stored = await site.store.call("GET", program)
    await site.store.call("DEL", program)
    await site.worker()
    state = await state_of(site, 1)
    (late,) = state.late
    assert late.reason == (f"revision 1 needs programs that the store does not have: {digest_of(NOOP)[:12]}…")
    assert (late.revision, str(state)) == (0, "0/1 on revision 1")
    await site.store.call("SET", program, stored)

    async def loaded() -> bool:
        return not (await site.store.convergence.look(1)).late

    await until(loaded, name="the program")


async def test_a_worker_follows_revisions_again_after_the_store_has_refused_to_read_them(site: Site) -> None:
    await site.publish(NOOP)
    await site.worker()
    assert str(await state_of(site, 1)) == "1/1 on revision 1"

    async def refused() -> int:
        found = re.search(rb"errorstat_WRONGTYPE:count=(\d+)", await site.store.call("INFO", "errorstats"))
        return 0 if found is None else int(found[1])

    before = await refused()
    await site.store.call("SET", keys.EXPIRIES, "of another type")

    async def repeated() -> bool:
        return await refused() >= before + 2

    await until(repeated, name="the second refusal")
    await site.store.call("DEL", keys.EXPIRIES)
    await site.publish(workflow("other", {"stop": {"set": {"n": 1}}}))
    assert str(await site.store.convergence.wait(2, 40)) == "1/1 on revision 2"
