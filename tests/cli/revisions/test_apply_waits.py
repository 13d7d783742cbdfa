"""`apply` reports which processes have loaded the revision, and can take it back if one has not."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis import Redis

from iogate.store import keys
from iogate.store.maintenance.process_presence import Failure, Process
from iogate.store.store import Store
from tests.cli.conftest import Cli
from tests.keys import LINK_KEY, RING

API = "module: test\nmethods:\n  noop: {workflow: test/noop, enabled: true, auth: none}\n"
WORKFLOW = """\
document: {dsl: 1.0.3, namespace: test, name: noop, version: 1.0.0}
do:
  - done: {set: {ok: true}}
"""


def in_store(url: str, do: Callable[[Store], Any]) -> Any:
    async def opened() -> Any:
        store = Store(url, client_name="test", keyring=RING)
        try:
            return await do(store)
        finally:
            await store.close()

    return asyncio.run(opened())


@pytest.fixture
def project(cli: Cli, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.setenv("IOGATE_REDIS_URL", redis_url)
    monkeypatch.setenv("IOGATE_LINK_KEY", LINK_KEY)
    in_store(redis_url, lambda store: store.call("FLUSHALL"))
    cli.write("apis.d/test.yaml", API)
    cli.write("workflows.d/noop.yaml", WORKFLOW)
    return cli


@pytest.fixture
def announced(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Return a function that announces a connected process, which remains without further announcements."""
    monkeypatch.setattr(keys, "PROCESS_S", 600)
    client = Redis.from_url(redis_url)
    channels = client.pubsub()  # type: ignore[no-untyped-call]  # redis-py is partly typed

    def announce(kind: Any, name: str, loaded: int, reason: str = "", failing: int = 2) -> None:
        failed = {"default": Failure(revision=failing, reason=reason)} if reason else {}
        process = Process(
            kind=kind, id=name, pid=7, host="h", started_at_ms=0, revision=loaded,
            loaded={"default": loaded}, failed=failed,
        )  # fmt: skip
        in_store(redis_url, lambda store: store.presence.announce(process))
        channels.subscribe(f"iogate:process:{kind}:{name}")
        assert channels.get_message(timeout=60) is not None

    yield announce
    channels.close()
    client.close()


def test_an_apply_prints_how_many_processes_have_loaded_it(
    project: Cli, announced: Callable[..., None]
) -> None:
    assert project("apply", "--yes").out.splitlines()[-1] == "no gateways or workers are running"
    announced("gateway", "g1", 9)
    announced("worker", "w1", 9)
    project.write("apis.d/test.yaml", API.replace("true", "false"))
    ran = project("apply", "--yes", "-o", "json").json
    assert (ran["revision"], ran["processes"]["loaded"], ran["processes"]["total"]) == (2, 2, 2)
    assert ran["rolledBack"] is None
    assert re.fullmatch(r"2/2 on revision 2 in \d+\.\d s", project("apply", "--yes").out.splitlines()[-1])
    status = project("status").out
    assert "processes 2/2 on revision 2\n" in status
    assert "REASON" not in status


def test_an_apply_names_each_late_process_with_its_reason(
    project: Cli, announced: Callable[..., None]
) -> None:
    project("apply", "--yes")
    announced("gateway", "g1", 1, "revision 2 cannot be used")
    announced("worker", "w1", 1)
    announced("worker", "w2", 9)
    project.write("apis.d/test.yaml", API.replace("true", "false"))
    ran = project("apply", "--yes", "--wait", "1s", code=5)
    assert re.fullmatch(r"1/3 on revision 2 after [1-9]\d*\.\d s", ran.out.splitlines()[-1])
    assert re.search(
        r"^iogate: revision 2 is live, but only 1 of 3 processes have loaded it after [1-9]\d*\.\d s: "
        r"gateway g1 keeps revision 1: revision 2 cannot be used; worker w1 has not answered \[IOG633\]",
        ran.err,
        re.MULTILINE,
    ), ran.err
    shown = project("status").out
    assert "processes 1/3 on revision 2\n" in shown
    (row,) = [line for line in shown.splitlines() if line.startswith("gateway  g1")]
    assert row.endswith("revision 2: revision 2 cannot be used")
    assert project("status", "-o", "json").json["processes"] == {"total": 3, "loaded": 1}
    found = project("doctor", "-o", "json", code=None).json["findings"]
    assert any(each["message"] == "g1 has revision 1, live is 2: revision 2 cannot be used" for each in found)


def test_an_apply_that_is_not_loaded_can_be_rolled_back(
    project: Cli, announced: Callable[..., None], redis_url: str
) -> None:
    project("apply", "--yes")
    digest = project("show", "-o", "json").json["digest"]
    announced("worker", "w1", 1, "its key is another one")
    project.write("apis.d/test.yaml", API.replace("true", "false"))
    ran = project("apply", "--yes", "--wait", "2s", "--rollback-on-failure", "-m", "new", code=5)
    assert "warning: rolled back: revision 3 has the content of revision 1; 0/1 on revision 3" in ran.err
    assert "iogate: revision 2 is no longer live: only 0 of 1 processes had loaded it after" in ran.err
    newest, new, _ = project("history", "-o", "json").json["revisions"]
    assert (newest["digest"], newest["action"], newest["restores"]) == (digest, "rollback", 1)
    assert newest["message"] == "revision 2 was not loaded by worker w1"
    assert new["message"] == "new"
    assert in_store(redis_url, lambda store: store.revisions.live()) == (3, digest)
    (entry,) = project("activity", "--limit", "1", "-o", "json").json["activity"]
    assert (entry["action"], entry["revision"]) == ("revisions.publish", 2)
    assert entry["message"].endswith("; 1 of 1 processes late; taken back in revision 3")


def test_the_first_apply_cannot_be_rolled_back(project: Cli, announced: Callable[..., None]) -> None:
    announced("worker", "w1", 0, "why", 1)
    ran = project("apply", "--yes", "--wait", "1s", "--rollback-on-failure", code=5)
    assert "warning: not rolled back: this apply has replaced no revision" in ran.err
    assert project("history", "-o", "json").json["revisions"][0]["live"]
