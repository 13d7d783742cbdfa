"""Batches by commands: on the store and over HTTP, with and without workers, stopped by Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from iogate.cli.batches.batch_progress import follow
from iogate.cli.session import Session
from iogate.cli.system.store_batches import StoreBatches
from iogate.errors import Misused
from iogate.operators.batches import batches
from iogate.operators.batches.batch_execution import BatchExecutor
from iogate.security.keyring import NO_KEYS
from iogate.store import keys
from iogate.store.connection.failures import StoreUnavailable
from iogate.store.store import Store
from tests import fork_server
from tests.cli.place import until
from tests.cli.system.conftest import Machines
from tests.keys import LINK_KEY
from tests.operators.test_batches import ADA, attempts, fault_all, faulted, made, of

ROOT = Path(__file__).resolve().parents[3]


def failed(machines: Machines, count: int) -> tuple[list[str], tuple[str, ...]]:
    """Make faulted runs; return them, and filters that match these only."""
    uids = [machines.shop.buy("fail") for _ in range(count)]
    for uid in uids:
        machines.here("runs", "wait", uid, "-q", code=7)
    since = machines.here("runs", "show", uids[0], "-o", "json").json["createdAt"]
    return uids, ("--api", "shop/fail", "--status", "faulted", "--since", since)


@pytest.mark.parametrize("where", ["here", "there"])
def test_all_runs_that_match_are_retried(machines: Machines, where: str) -> None:
    run = machines.here if where == "here" else machines.there
    uids, filters = failed(machines, 3)
    refused = run("runs", "retry", *filters, "--reason", "r", code=64)
    assert all(uid in refused.err for uid in uids)
    assert refused.err.endswith("iogate: this retries 3 runs [IOG785]\n  add --yes to confirm\n")
    done = run("runs", "retry", *filters, "--reason", "the shop was down", "--yes", "-o", "json").json
    assert done["schema"] == "iogate.runs.retry/v1"
    batch = done["batch"]
    assert (batch["state"], batch["changed"], batch["count"]) == ("done", 3, 3)
    for uid in uids:
        machines.here("runs", "wait", uid, "-q", code=7)
        assert machines.here("runs", "show", uid, "-o", "json").json["attempt"] == 2
    listed = machines.same("batches", "list").out
    assert re.search(rf"(?m)^{batch['id']}  retry +done +3 +0 +0 .*  the shop was down$", listed)
    shown = machines.same("batches", "show", batch["id"]).out
    assert f"id:         {batch['id']}" in shown
    assert "filter:     api=shop/fail status=faulted since=" in shown
    assert run("batches", "stop", batch["id"], "--reason", "r").out == "done: retried 3 of 3 runs\n"
    ended = run("batches", "continue", batch["id"], "--reason", "r", code=4)
    assert f"batch {batch['id']} has ended: no run is left [IOG783]" in ended.err
    entries = run("activity", "--target", batch["id"], "-o", "json").json["activity"]
    assert [each["action"] for each in entries][-1] == "batches.create"
    assert entries[-1]["message"] == f"batch {batch['id']}: retried 3 of 3"


def test_a_filter_without_runs_and_an_unknown_batch(machines: Machines) -> None:
    filters = ("--caller", "nobody", "--reason", "r", "--yes")
    assert machines.same("runs", "retry", *filters).err.endswith("no run matches the filters\n")
    assert machines.same("runs", "cancel", *filters, "-o", "json").json["batch"] is None
    for id_ in ("x", "0123456789ab"):
        for verb in ("show", "stop", "continue"):
            more = ("--reason", "r") if verb != "show" else ()
            assert f"no batch {id_}" in machines.there("batches", verb, id_, *more, code=8).err
            assert f"no batch {id_}" in machines.here("batches", verb, id_, *more, code=8).err


@pytest.mark.parametrize("where", ["here", "there"])
def test_a_command_repeated_by_its_id_makes_no_second_batch(machines: Machines, where: str) -> None:
    run = machines.here if where == "here" else machines.there
    (uid,), filters = failed(machines, 1)
    options = ("--reason", "r", "--yes", "--id", f"one{uid}", "-o", "json")
    made = run("runs", "retry", *filters, *options).json["batch"]
    assert run("runs", "retry", *filters, *options).json["batch"]["id"] == made["id"]
    # A time before now is another one in each command.
    again = [run("runs", "retry", *filters[:-1], "1h", *options).json["batch"] for _ in range(2)]
    assert [(each["id"], each["count"]) for each in again] == [(made["id"], 1)] * 2


@contextmanager
def command(
    redis_url: str, folder: Path, *arguments: str, has_key: bool = True
) -> Iterator[fork_server.Process]:
    """Run a command on a store without workers; its stderr is in `err`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("IOGATE_")}
    given = {"IOGATE_REDIS_URL": redis_url, "NO_COLOR": "1"}
    if has_key:
        given["IOGATE_LINK_KEY"] = LINK_KEY
    with (folder / "err").open("wb") as err, (folder / "out").open("wb") as out:
        process = fork_server.start(
            *("iogate", *arguments),
            environment={**environment, **given, "PYTHONPATH": str(ROOT)},
            folder=folder,
            stdout=out,
            stderr=err,
            patient=True,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def test_ctrl_c_stops_a_batch_which_can_be_continued(
    store: Store, redis_url: str, tmp_path: Path
) -> None:
    """Without workers, the command carries it out, until the queue of the API has no room."""
    uids = await faulted(store, 200)
    with command(redis_url, tmp_path, "runs", "retry", "--api", "shop/order", "--yes") as process:
        until(lambda: "the batch waits: API shop/order has no room" in (tmp_path / "err").read_text())
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    said = (tmp_path / "err").read_text()
    assert "warning: no worker is running: this command carries out the batch" in said
    stopped = re.search(
        r"stopped: retried (\d+) of 200 runs\ncontinue with: iogate batches continue (\w+)", said
    )
    assert stopped is not None, said
    assert stopped[1] == "114"
    assert (await batches.show(store, stopped[2]))["state"] == "stopped"
    await fault_all(store)
    with command(redis_url, tmp_path, "batches", "continue", stopped[2], "-o", "json") as process:
        assert process.wait(60) == 0
    batch = json.loads((tmp_path / "out").read_text())["batch"]
    assert (batch["state"], batch["changed"], batch["refused"]) == ("done", 200, 0)
    await fault_all(store)
    assert await attempts(store, uids) == {2}


async def test_a_batch_that_somebody_else_stops_ends_the_command(
    store: Store, redis_url: str, tmp_path: Path
) -> None:
    await faulted(store, 200)
    with command(redis_url, tmp_path, "runs", "retry", "--api", "shop/order", "--yes") as process:
        until(lambda: "the batch waits" in (tmp_path / "err").read_text())
        (id_,) = [key.decode() for key in await store.call("ZRANGE", keys.BATCHES, 0, -1)]
        await batches.stop(store, id_)
        assert process.wait(60) == 4
    said = (tmp_path / "err").read_text()
    assert f"batch {id_} was stopped, and 86 runs are left [IOG786]" in said
    assert f"continue with: iogate batches continue {id_}" in said


async def test_a_command_without_the_link_key_leaves_a_batch_as_it_is(
    store: Store, redis_url: str, tmp_path: Path
) -> None:
    await faulted(store, 2)
    batch = await made(store, of())
    stopped = await batches.stop(store, batch["id"])
    with command(redis_url, tmp_path, "batches", "continue", batch["id"], has_key=False) as process:
        assert process.wait(60) == 64
    said = (tmp_path / "err").read_text()
    assert "this command would carry out the batch, and link_key is not set [IOG670]" in said
    assert await batches.show(store, batch["id"]) == stopped
    await batches.proceed(store, ADA, batch["id"])
    keyless = Store(redis_url, client_name="test", keyring=NO_KEYS)
    with pytest.raises(Misused, match="link_key is not set"):
        await keyless.batches.take("command")
    await keyless.close()
    with command(redis_url, tmp_path, "batches", "continue", batch["id"]) as process:
        assert process.wait(60) == 0


async def test_a_command_that_carries_out_a_batch_outlasts_an_outage_of_the_store(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    uids = await faulted(store, 2)
    step, outages = BatchExecutor.step, [StoreUnavailable("it restarts") for _ in range(2)]

    async def step_after_outages(self: BatchExecutor) -> float | None:
        if outages:
            raise outages.pop()
        return await step(self)

    monkeypatch.setattr(BatchExecutor, "step", step_after_outages)
    found = await follow(Session(), StoreBatches(store, ADA), await made(store, of()))
    assert (found["state"], found["changed"], found["refused"], outages) == ("done", 2, 0, [])
    assert await attempts(store, uids) == {2}


async def test_refused_runs_are_told(store: Store, redis_url: str, tmp_path: Path) -> None:
    (uid,) = await faulted(store, 1)
    batch = await made(store, of(filter=None, uids=(uid, "5", "6")))
    await batches.stop(store, batch["id"])
    with command(redis_url, tmp_path, "batches", "continue", batch["id"]) as process:
        assert process.wait(60) == 4
    assert (tmp_path / "out").read_text() == "retried 1 of 3 runs, refused 2\n"
    assert "no run 5 (and 1 more)" in (tmp_path / "err").read_text()
