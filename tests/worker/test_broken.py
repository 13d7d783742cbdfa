"""A run that cannot be executed faults, and its worker continues."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from iogate.operators.runs.run_retry import Retrier
from iogate.store.integrity.adoption import adopt
from tests.faults.counting import CountingServer
from tests.worker.site import NOOP, decoded, until, workflow
from tests.worker.test_events import cloud_event, listen, listening
from tests.worker.test_faults import begin_first_call, two_calls

if TYPE_CHECKING:
    from tests.worker.site import Site


async def test_invalid_program_faults_only_its_runs(site: Site) -> None:
    broken = workflow("broken")
    del broken["do"]
    await site.publish(broken, NOOP)
    await site.worker()
    uid = await site.call("broken")
    run = await site.ended(uid)
    error = decoded(run.error)
    assert (run.status, error["status"]) == ("faulted", 400)
    assert error["detail"].startswith("this release cannot load the definition ")
    assert [decoded(line)["kind"] for line in await site.store.runs.journal(uid)] == ["workflow.faulted"]
    assert (await site.ended(await site.call())).status == "completed"


async def test_missing_program_faults_its_runs(site: Site) -> None:
    await site.publish(NOOP)
    uid = await site.call()
    key = f"iogate:program:{site.apis['test/noop'].program}"
    stored = await site.store.call("GET", key)
    await site.store.call("DEL", key)
    await site.worker()
    run = await site.ended(uid)
    assert run.status == "faulted"
    assert "in the store" in decoded(run.error)["detail"]
    await site.store.call("SET", key, stored)
    assert (await site.ended(await site.call())).status == "completed", "the store is repaired"


async def test_invalid_state_faults_the_run(site: Site) -> None:
    await site.publish(workflow("hears", {"paid": listen()}))
    await site.worker()
    uid = await site.call("hears")
    await listening(site, uid)
    key = f"iogate:parked:{uid}"
    packed = await site.store.call("GET", key)
    assert b'"format":1' in packed
    await site.store.call("SET", key, packed.replace(b'"format":1', b'"format":9'))
    await adopt(site.store)
    await site.store.events.publish([cloud_event(1)])
    run = await site.ended(uid)
    assert run.status == "faulted"
    assert "the stored state cannot be loaded" in decoded(run.error)["detail"]


async def test_a_state_that_a_worker_cannot_read_is_kept_for_a_retry(site: Site) -> None:
    """Workers of an earlier release may take a run in between; its position is not lost."""
    async with CountingServer() as server:
        calls = two_calls(server)
        calls["do"].insert(1, {"paid": listen()})
        await site.publish(calls)
        await site.worker()
        uid = await site.call("two-calls")
        await listening(site, uid)
        parked = f"iogate:parked:{uid}"
        state = await site.store.call("GET", parked)
        await site.store.call("SET", parked, state.replace(b'"format":1', b'"format":9'))
        await adopt(site.store)
        await site.store.events.publish([cloud_event(1)])
        assert "the stored state cannot be loaded" in decoded((await site.ended(uid)).error)["detail"]
        frames = f"iogate:frames:{uid}"
        head = await site.store.call("HGET", frames, "head")
        assert b'"format":9' in head
        await site.store.call("HSET", frames, "head", head.replace(b'"format":9', b'"format":1'))
        await adopt(site.store)
        await retry(site, uid)
        await listening(site, uid)
        await site.store.events.publish([cloud_event(2)])
        run = await site.ended(uid)
        assert (run.status, run.attempt) == ("completed", 2)
        assert [call.path for call in server.calls[uid]] == ["/first", "/second"]


async def test_a_run_whose_state_was_refused_is_retried_from_its_last_commit(site: Site) -> None:
    async with CountingServer() as server:
        definition = two_calls(server)
        definition["do"][1] = {"grow": {"set": {"v": '${ "x" * 68000000 }'}}}
        await site.publish(definition)
        await site.worker()
        uid = await site.call("two-calls")
        assert decoded((await site.ended(uid)).error)["detail"].startswith("the store refused the state")
        await retry(site, uid)
        run = await site.ended(uid)
        assert (run.status, run.attempt) == ("faulted", 2)
        assert decoded(run.error)["detail"].startswith("the store refused the state")
        assert [call.path for call in server.calls[uid]] == ["/first", "/first"]
        assert server.changed_keys() == []


async def retry(site: Site, uid: str) -> None:
    now_ms = await site.store.now_ms()
    assert await Retrier(store=site.store, pointer=None, current=False, by="me", now_ms=now_ms).retry(uid)


async def test_refused_state_faults_only_its_run(site: Site) -> None:
    async with CountingServer() as server:
        await site.publish(two_calls(server))
        refused, other = await site.call("two-calls"), await site.call("two-calls")
        await site.store.call("SET", f"iogate:frames:{refused}", "not a table")
        await site.worker()
        run = await site.ended(refused)
        assert run.status == "faulted"
        assert decoded(run.error)["detail"].startswith("the store refused the state of the run: ")
        assert refused not in server.calls
        assert (await site.ended(other)).status == "completed"


async def test_too_large_commit_faults_only_its_run(site: Site) -> None:
    """The store would close the connection, and the worker would repeat the same commit."""
    grow = workflow("grow", {"big": {"set": {"v": '${ "x" * .n }'}}})
    await site.publish(grow, NOOP)
    await site.worker()
    uid = await site.call("grow", {"n": 68_000_000})
    run = await site.ended(uid)
    assert run.status == "faulted"
    assert decoded(run.error)["detail"] == (
        "the store refused the state of the run: a commit of 65 MiB exceeds the limit of 64 MiB"
    )
    assert (await site.ended(await site.call())).status == "completed"


async def test_too_deeply_nested_data_faults_its_run(site: Site) -> None:
    """Python 3.13 would store thousands of levels, which a worker with Python 3.11 cannot read."""
    nest = workflow("nest", {"grow": {"set": {"v": "${ reduce range(.n) as $i (1; [.]) }"}}})
    parent = workflow(
        "parent", {"start": {"run": {"workflow": {"namespace": "test", "name": "nest", "version": "1.0.0"}}}}
    )
    parent["do"][0]["start"]["run"]["workflow"]["input"] = "${ reduce range(.n) as $i (1; [.]) }"
    await site.publish(nest, parent)
    await site.worker()
    hint = "collect the items in one flat list, or store the nested data as text (`tojson`)"
    for name, owner in (
        ("nest", "the output of the workflow"),
        ("parent", 'task "start": the input for test/nest'),
    ):
        error = decoded((await site.ended(await site.call(name, {"n": 310}))).error)
        assert (error["title"], error["detail"]) == (
            "Data nested too deeply",
            f"{owner} is nested deeper than 300 levels, which some workers cannot read: {hint}",
        )
    assert (await site.ended(await site.call("nest", {"n": 299}))).status == "completed"


async def test_run_continues_after_a_full_store_has_room_again(site: Site) -> None:
    async with CountingServer(delay_s=0.5) as server:
        worker, uid = await begin_first_call(site, server)
        await site.store.call("CONFIG", "SET", "maxmemory", "1")
        try:
            await until(lambda: "store.full" in worker.log_text(), name="a full store")
        finally:
            await site.store.call("CONFIG", "SET", "maxmemory", "0")
        assert (await site.ended(uid)).status == "completed"
        assert [call.path for call in server.calls[uid]] == ["/first", "/second"]


async def test_output_that_is_no_unicode_faults_only_its_run(site: Site) -> None:
    (site.folder / "odd.py").write_text(
        "import iogate\n\n"
        '@iogate.function("odd", version="1.0.0")\n'
        "def odd() -> dict:\n"
        '    return {"text": chr(0xD800)}\n'
    )
    await site.publish(workflow("odd", {"odd": {"call": "odd:1.0.0@default"}}), NOOP)
    worker = await site.worker(functions=("odd",))
    run = await site.ended(await site.call("odd"))
    assert run.status == "faulted"
    assert (await site.ended(await site.call())).status == "completed"
    assert worker.process.poll() is None


async def test_invalid_input_faults_only_its_run(site: Site) -> None:
    await site.publish(NOOP)
    uid = await site.call()
    await site.store.call("HSET", f"iogate:run:{uid}", "in", "{broken")
    await adopt(site.store)
    await site.worker()
    run = await site.ended(uid)
    assert run.status == "faulted"
    assert "the stored state cannot be loaded" in decoded(run.error)["detail"]
    assert (await site.ended(await site.call())).status == "completed"


DEEP = 2_000 if sys.version_info < (3, 12) else 20_000
"""Deeper than the encoder goes: since Python 3.12 it has a limit of its own."""


async def test_too_deeply_nested_event_faults_its_run_at_once(site: Site) -> None:
    """It is not stored with the end of the run either."""
    data = f"${{ reduce range({DEEP}) as $n (1; [.]) }}"
    says = {"emit": {"event": {"with": {"source": "/tests", "type": "test.deep", "data": data}}}}
    await site.publish(workflow("says", {"deep": says}), NOOP)
    worker = await site.worker()
    run = await site.ended(await site.call("says"))
    assert run.status == "faulted"
    assert "the event test.deep is nested deeper than 300 levels" in decoded(run.error)["detail"]
    assert (await site.ended(await site.call())).status == "completed"
    assert "lease.lost" not in worker.log_text()


async def test_many_runs_of_a_long_loop_share_the_worker(site: Site) -> None:
    """A loop of thousands of iterations neither delays a short run nor grows its state."""
    loop = {"for": {"each": "n", "in": "${ [range(30000)] }"}, "do": [{"add": {"set": {"n": "${ $n }"}}}]}
    await site.publish(workflow("long", {"loop": loop}), NOOP)
    await site.worker()
    long = await site.call("long")
    short = await site.ended(await site.call(), 20)
    assert short.status == "completed"
    run = await site.ended(long)
    assert (run.status, decoded(run.output)) == ("completed", {"n": 29999})
    assert [(task.reference, task.count) for task in run.tasks] == [
        ("/do/0/loop", 1),
        ("/do/0/loop/for/do/0/add", 30000),
    ]
