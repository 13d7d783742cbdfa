"""Data folders that Redis wrote for an earlier release: opened by the bundled Valkey after a backup copy.

`carried_over/` holds two of them, with the same runs of the release before Valkey: two in a wait that is over
by now, one suspended in it, one that listens, one that no worker has taken.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from iogate.store.embedded import binaries
from tests.cli.conftest import Cli
from tests.cli.place import Place, until, up

FOLDERS = Path(__file__).parent / "carried_over"
WAITING = ("769223035122611132", "769223033004009804")
SUSPENDED = "769223036291414604"
LISTENING = "769223036864465271"
PENDING = "769223202896814626"

FILES = {
    "iogate.yaml": 'events:\n  auth: {token: "123456"}\n',
    "apis.d/legacy.yaml": """\
module: legacy
methods:
  nap: {workflow: legacy/nap, enabled: true, auth: none}
  hear: {workflow: legacy/hear, enabled: true, auth: none}
""",
    "workflows.d/nap.yaml": """\
document: {dsl: 1.0.3, namespace: legacy, name: nap, version: 1.0.0}
do:
  - before: {set: {n: "${ .n }", steps: [before]}}
  - nap: {wait: PT1H}
  - after: {set: {n: "${ .n }", steps: "${ .steps + [\\"after\\"] }"}}
""",
    "workflows.d/hear.yaml": """\
document: {dsl: 1.0.3, namespace: legacy, name: hear, version: 1.0.0}
do:
  - hear:
      listen: {to: {one: {with: {type: legacy.go}}}}
      output: {as: "${ .[0] }"}
""",
}


def unpack(writer: str, root: Path) -> dict[str, bytes]:
    """Write the folder that `writer` left into `root`, and return its files."""
    with tarfile.open(FOLDERS / f"{writer}.tar.xz") as packed:
        packed.extractall(root / ".iogate/redis", filter="data")
        return {each.name: packed.extractfile(each).read() for each in packed}  # type: ignore[union-attr] # all are files


def finished(place: Place, uid: str) -> dict[str, object]:
    ended = ("completed", "faulted", "cancelled")
    run = until(lambda: (found := place.call(f"/v1/runs/{uid}?wait=10")[1])["status"] in ended and found)
    assert run["status"] == "completed", (run, place.err)
    return dict(run)


@pytest.mark.parametrize("writer", ["redis-6.2.14", "redis-7.0.15"])
def test_runs_of_an_earlier_release_go_on_in_a_folder_that_redis_wrote(cli: Cli, writer: str) -> None:
    for name, text in FILES.items():
        cli.write(name, text)
    before = unpack(writer, cli.root)
    with up(cli.root) as place:
        assert [finished(place, uid)["output"] for uid in WAITING] == [
            {"n": 2, "steps": ["before", "after"]},
            {"n": 1, "steps": ["before", "after"]},
        ]
        cli("runs", "resume", SUSPENDED)
        assert finished(place, SUSPENDED)["output"] == {"n": 3, "steps": ["before", "after"]}
        until(lambda: place.call(f"/v1/runs/{PENDING}")[1]["status"] == "waiting")
        event = {"specversion": "1.0", "id": "1", "source": "/test", "type": "legacy.go", "data": {}}
        headers = {"Authorization": "Bearer 123456", "Content-Type": "application/cloudevents+json"}
        place.call("/v1/events", event, headers)
        for uid in (LISTENING, PENDING):
            finished(place, uid)
        copy = cli.root / ".iogate" / f"backup-{writer}"
        assert "its files are copied to" in place.err
        assert str(copy) in place.err
    assert {
        str(path.relative_to(copy)): path.read_bytes() for path in copy.rglob("*") if path.is_file()
    } == before
    # Adopted once: `up` takes no store of this folder for an older one any more.
    assert (cli.root / ".iogate/known_stores").read_text() == "2 embedded\n"
    record = json.loads((cli.root / ".iogate/redis/server.json").read_text())
    bundled = binaries.bundled()
    assert bundled is not None
    assert (record["path"], record["opened"]) == (str(bundled), True)


def test_a_backup_copy_that_fails_leaves_the_folder_as_it_was(cli: Cli) -> None:
    for name, text in FILES.items():
        cli.write(name, text)
    before = unpack("redis-6.2.14", cli.root)
    copy = cli.root / ".iogate/backup-redis-6.2.14"
    copy.with_name(f"{copy.name}.new").write_text("in the way")
    ran = cli("up", code=6)
    assert ran.err.endswith(
        f"iogate: the store in {cli.root / '.iogate/redis'} was written by redis 6.2.14, and its files "
        f"({sum(map(len, before.values()))} bytes) cannot be copied to {copy} before "
        f"{binaries.choose()} opens them: File exists [IOG625]\n"
        "  make room there, or name a server of redis 6.2 in store_server\n"
    ), ran.err
    folder = cli.root / ".iogate/redis"
    assert {name: (folder / name).read_bytes() for name in before} == before
    assert not copy.exists()
