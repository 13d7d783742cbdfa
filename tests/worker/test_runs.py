"""Runs from the queue to their end in a real worker process."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from tests.faults.counting import CountingServer
from tests.worker.site import NOOP, decoded, until, workflow
from tests.worker.test_events import cloud_event, listen, listening

if TYPE_CHECKING:
    from tests.worker.site import Site


async def test_run_completes_in_one_commit(site: Site) -> None:
    await site.publish(NOOP)
    await site.worker()
    uid = await site.call()
    run = await site.ended(uid)
    assert (run.status, decoded(run.output)) == ("completed", {"ok": True})
    assert [(task.reference, task.status, task.count) for task in run.tasks] == [
        ("/do/0/done", "completed", 1)
    ]
    kinds = [decoded(line)["kind"] for line in await site.store.runs.journal(uid)]
    assert kinds == [
        *("workflow.started", "task.created", "task.started", "task.completed", "workflow.completed")
    ]


async def test_run_calls_http_with_its_own_idempotency_key(site: Site) -> None:
    async with CountingServer() as server:
        post = {"method": "post", "endpoint": f"{server.url}/first", "body": {"uid": "${ $workflow.id }"}}
        await site.publish(workflow("http", {"call": {"call": "http", "with": post}}))
        await site.worker()
        uid = await site.call("http")
        run = await site.ended(uid)
        assert run.status == "completed", run.error
        assert [call.key for call in server.calls[uid]] == [f"{uid}/do/0/call/0"]


async def test_a_run_that_is_resumed_before_it_stops_goes_on_beside_its_process(site: Site) -> None:
    """Its worker has been asked to stop it after the processes under way."""
    say, go, end = (site.folder / name for name in ("say", "go", "end"))
    waits = {path: f"while [ ! -e {path} ]; do sleep 0.05; done" for path in (say, go, end)}
    slow = {"run": {"shell": {"command": f"{waits[say]}; echo asked; {waits[end]}"}}}
    gate = {"run": {"shell": {"command": waits[go]}}}
    async with CountingServer() as server:
        post = {"method": "post", "endpoint": f"{server.url}/first", "body": {"uid": "${ $workflow.id }"}}
        quick = {"do": [{"gate": gate}, {"calls": {"call": "http", "with": post}}]}
        await site.publish(
            workflow("overlaps", {"both": {"fork": {"branches": [{"slow": slow}, {"quick": quick}]}}})
        )
        await site.worker()
        uid = await site.call("overlaps")

        async def has_started() -> bool:
            tasks = (await site.view(uid)).tasks
            return {"slow", "gate"} <= {task.name for task in tasks if task.status == "running"}

        async def is_noticed() -> bool:
            kinds = [decoded(line)["kind"] for line in await site.store.runs.journal(uid)]
            return "process.output" in kinds

        await until(has_started, name="two processes")
        assert await site.store.runs.suspend(uid) == "asked"
        say.touch()
        await until(is_noticed, name="a commit after the request")
        assert await site.store.runs.resume(uid) == "resumed"
        go.touch()
        await until(lambda: uid in server.calls, name="the call beside the process")
        end.touch()
        run = await site.ended(uid)
        assert run.status == "completed", run.error


async def test_run_and_its_children_pass_the_trace_of_their_caller_on(site: Site) -> None:
    parent = f"00-{'a' * 32}-{'b' * 16}-01"
    async with CountingServer() as server:
        post = {
            "method": "post",
            "endpoint": f"{server.url}/first",
            "body": {"uid": "1"},
            "output": "response",
        }
        child = {"run": {"workflow": {"namespace": "test", "name": "child", "version": "1.0.0"}}}
        call = {"call": "http", "with": post}
        own = {"call": "http", "with": {**post, "headers": {"traceparent": "mine"}}}
        sent = {"as": "${ .request.headers | [.traceparent, .tracestate] }"}
        await site.publish(
            workflow("parent", {"asks": child}),
            workflow("child", {"calls": {**call, "output": sent}}),
            workflow("own", {"calls": {**own, "output": sent}}),
        )
        await site.worker()
        for name, trace, expected in (
            ("parent", f"{parent} vendor=1", [parent, "vendor=1"]),
            ("child", parent, [parent, None]),
            ("child", "", [None, None]),
            ("own", parent, ["mine", None]),
        ):
            run = await site.ended(await site.call(name, trace=trace))
            assert decoded(run.output) == expected, (name, run.error)


async def test_run_calls_a_function_of_the_project(site: Site) -> None:
    (site.folder / "acme_tasks.py").write_text(
        "import iogate\n\n"
        '@iogate.function("greet", version="1.0.0")\n'
        "def greet(name: str, ctx: iogate.Context) -> dict:\n"
        '    return {"text": f"Hello, {name}", "run": ctx.run_id}\n'
    )
    call = {"call": "greet:1.0.0@default", "with": {"name": "${ .name }"}}
    await site.publish(workflow("greet", {"greet": call}))
    await site.worker(functions=("acme_tasks",))
    uid = await site.call("greet", {"name": "Ada"})
    run = await site.ended(uid)
    assert decoded(run.output) == {"text": "Hello, Ada", "run": uid}, run.error


async def test_run_with_big_data_continues_in_another_worker(site: Site) -> None:
    big = workflow(
        "big",
        {"make": {"set": {"words": "${ [range(30000) | tostring] }"}}},
        {"pause": {**listen(), "output": {"as": "${ $input }"}}},
        {"count": {"set": {"count": "${ .words | length }"}}},
    )
    await site.publish(big)
    first = await site.worker()
    uid = await site.call("big")
    await listening(site, uid)
    assert await site.store.call("HLEN", f"iogate:values:{uid}") == 1
    first.signal(signal.SIGKILL)
    await first.wait()
    await site.store.events.publish([cloud_event(1)])
    await site.worker()
    assert decoded((await site.ended(uid)).output) == {"count": 30000}


async def test_many_concurrent_runs_do_not_wait_for_each_other(site: Site) -> None:
    """A hundred calls of half a second each take much less time than one after the other."""
    async with CountingServer(delay_s=0.5) as server:
        post = {"method": "post", "endpoint": f"{server.url}/first", "body": {"uid": "${ $workflow.id }"}}
        await site.publish(workflow("http", {"call": {"call": "http", "with": post}}))
        await site.worker(concurrency=100)
        uids = [await site.call("http") for _ in range(100)]
        runs = await site.all_ended(uids)
        started = min(run.started_at_ms or 0 for run in runs)
        ended = max(run.ended_at_ms or 0 for run in runs)
        assert {run.status for run in runs} == {"completed"}
        assert ended - started < 25_000


async def test_a_worker_without_room_ends_the_leases_of_a_dead_one(site: Site) -> None:
    await site.publish(workflow("busy", {"naps": {"run": {"shell": {"command": "exec sleep 300"}}}}))
    await site.worker(concurrency=1)
    first = await site.call("busy")

    async def is_full() -> bool:
        return (await site.view(first)).state == "lease"

    await until(is_full, name="a worker without room")
    lost = await site.call("busy")
    (claim,) = (await site.store.leases.take("dead", 1, lease_ms=1)).claims
    assert claim.uid == lost

    async def is_queued() -> bool:
        return (await site.view(lost)).state == "queue"

    await until(is_queued, name="the end of the lease")
    assert await is_full()
