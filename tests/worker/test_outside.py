"""Effects happen neither too often nor too rarely if runs change course or workers end."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path

from tests.faults.counting import CountingServer
from tests.processes import alive
from tests.worker.site import Site, until, workflow


def appending(file: Path) -> dict[str, object]:
    return {"run": {"shell": {"command": f"echo line >> {file}"}, "await": False}}


async def test_a_call_of_a_branch_that_was_cancelled_in_time_is_not_made(site: Site) -> None:
    """The other branch fails slices later, and before the first commit.

    A stall between the slices commits the first one and makes the call, so that a few runs are allowed.
    """
    async with CountingServer() as server:
        call = {
            "call": "http",
            "with": {"method": "post", "endpoint": f"{server.url}/x", "body": {"uid": "${ $workflow.id }"}},
        }
        error = {"type": "https://e.example/t", "status": 418}
        loop = {"for": {"in": "${ [range(300)] }"}, "do": [{"turn": {"set": {"n": "${ .n + 1 }"}}}]}
        failing = {"do": [{"loop": loop}, {"fail": {"raise": {"error": error}}}]}
        fork = {"fork": {"branches": [{"call": call}, {"failing": failing}]}}
        after = {"do": [{"nap": {"wait": {"milliseconds": 1500}}}]}
        await site.publish(workflow("given-up", {"t": {"try": [{"fork": fork}], "catch": after}}))
        await site.worker()
        made: list[bool] = []
        while not made or (made[-1] and len(made) < 5):
            uid = await site.call("given-up")
            run = await site.ended(uid)
            assert run.status == "completed", run.error
            made.append(uid in server.calls)
        assert not made[-1]


async def has_begun(site: Site, uid: str) -> bool:
    view = await site.view(uid)
    return view.state == "lease" or view.ended


async def test_an_effect_that_is_not_awaited_happens_once_despite_a_drain(site: Site) -> None:
    loop = {"for": {"in": "${ [range(60000)] }"}, "do": [{"turn": {"set": {"n": "${ .n + 1 }"}}}]}
    for number in range(5):  # until one run has not ended at the signal
        file = site.folder / f"lines-{number}"
        await site.publish(workflow("detached", {"start": appending(file)}, {"loop": loop}))
        first = await site.worker()
        uid = await site.call("detached")
        await until(partial(has_begun, site, uid), name="the run")
        first.signal(signal.SIGTERM)
        assert await first.wait() == 0
        if not (await site.view(uid)).ended:
            break
    assert (await site.view(uid)).state == "queue"
    await site.worker()
    assert (await site.ended(uid)).status == "completed"
    await until(lambda: file.exists() and file.read_text().endswith("\n"), name="the line")
    assert file.read_text() == "line\n"


async def test_a_function_that_is_not_idempotent_is_not_repeated(site: Site) -> None:
    mark = site.folder / "called"
    (site.folder / "acme_once.py").write_text(
        "import time\n\nimport iogate\n\n\n"
        '@iogate.function("charge", version="1.0.0", idempotent=False)\n'
        "def charge() -> None:\n"
        f"    with open({str(mark)!r}, 'a') as file:\n"
        "        file.write('x')\n"
        "    time.sleep(30)\n"
    )
    await site.publish(workflow("charge", {"charge": {"call": "charge:1.0.0@default"}}))
    worker = await site.worker(functions=("acme_once",))
    uid = await site.call("charge")
    await until(lambda: mark.exists() and mark.read_text() == "x", name="the call")
    worker.signal(signal.SIGKILL)
    await worker.wait()
    assert await site.store.leases.recover(worker.name) == 1
    await site.worker(ready=False, functions=("acme_once",))
    run = await site.ended(uid)
    assert run.status == "faulted"
    assert run.error is not None
    assert b"its outcome is unknown, and it must happen at most once" in run.error
    assert mark.read_text() == "x"


async def test_a_drain_waits_for_effects_that_are_not_awaited_until_a_second_signal(site: Site) -> None:
    file = site.folder / "pid"
    task = {"run": {"shell": {"command": f"echo $$ > {file}; exec sleep 300"}, "await": False}}
    await site.publish(workflow("daemon", {"start": task}))
    worker = await site.worker()
    assert (await site.ended(await site.call("daemon"))).status == "completed"
    await until(lambda: file.exists() and file.read_text().endswith("\n"), name="the process")
    pid = int(file.read_text())
    assert alive(pid)
    worker.signal(signal.SIGTERM)
    await until(lambda: "worker.stopping" in worker.log_text())
    assert alive(pid)
    worker.signal(signal.SIGTERM)
    assert await worker.wait() == 0
    await until(lambda: not alive(pid), name="the end of the process")
