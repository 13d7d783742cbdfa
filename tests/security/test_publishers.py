"""Revisions signed by a publisher with an Ed25519 key, for which `apply` needs no link_key."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import msgspec
import pytest

from iogate.compiler.revision import canonical, digest_of
from iogate.security.keyring import Keyring, generate_pair
from iogate.store import keys
from iogate.store.revisions.origin import signed_parts
from iogate.store.runs.intake import Accepted, AcceptRequest
from tests.cli.conftest import Cli, cli
from tests.security.test_forged_revisions import (
    EVIL_DATA,
    PROGRAM,
    honest,
    publish,
    revision,
    served,
)
from tests.security.test_forgeries import refused
from tests.store.live_records import make_live
from tests.worker.site import NOOP, until, workflow

if TYPE_CHECKING:
    from iogate.store.store import Store
    from tests.worker.site import Site

__all__ = ["cli"]

API = "module: test\nmethods:\n  noop: {workflow: test/noop, enabled: true, auth: none}\n"
WORKFLOW = """\
document: {dsl: 1.0.3, namespace: test, name: noop, version: 1.0.0}
do:
  - done: {set: {ok: true}}
"""


async def test_gateways_and_workers_accept_only_revisions_of_their_publishers(
    site: Site, tmp_path: Path
) -> None:
    (private, public), (_, spare), (stranger, _) = generate_pair(), generate_pair(), generate_pair()
    publishers = (spare, public)
    worker = await site.worker(publishers=publishers)
    with served(site, tmp_path, publishers=json.dumps(publishers)) as gateway:
        assert await publish(site, Keyring(publish_key=private)) == 1
        await until(lambda: "revision.taken" in gateway.log.read_text(), name="the publisher's revision")
        async with httpx.AsyncClient(base_url=gateway.url, timeout=60) as client:
            runs = [await honest(client)]
            for number, ring in ((2, site.store.keyring), (3, Keyring(publish_key=stranger))):
                await due_now(site, number, ring, Keyring(publish_key=private))
                name = ("revision", str(number))
                await until(lambda one=name: one in refused(gateway.log.read_text()), 60, "the gateway")  # type: ignore[misc]
                await until(lambda one=name: one in refused(worker.log_text()), 60, "the worker")  # type: ignore[misc]
                runs.append(await honest(client))
    said = gateway.log.read_text()
    assert "revision 2 is refused: it is not signed by one of the publishers" in said
    assert "revision 3 is refused: it is signed with the key" in said
    for run in await site.all_ended(runs):
        assert run.status == "completed"
    # Of the schedules of both no run was started.
    assert sum((await site.store.runs.counts()).values()) == len(runs)


async def test_link_key_executes_no_program_that_no_publisher_signed(site: Site, tmp_path: Path) -> None:
    """A gateway that was taken over has link_key, and can write to the store."""
    (private, public), (stranger, _) = generate_pair(), generate_pair()
    publisher, canary = Keyring(publish_key=private), tmp_path / "executed"
    await publish(site, publisher)
    genuine = keys.PROGRAM + PROGRAM
    signed: bytes = await site.store.call("GET", genuine)
    signatures = {
        "none": b"",
        "of link_key": site.store.keyring.sign_revision(b"program", b"x").encode() + b" ",
        "of a stranger": Keyring(publish_key=stranger).sign_program("x").encode() + b" ",
        "of another program": signed.partition(b"{")[0],
    }
    forged = {}
    for name, signature in signatures.items():
        evil = workflow("evil", {"steal": {"run": {"shell": {"command": f"touch {canary}; echo {name}"}}}})
        digest = digest_of(evil)
        await site.store.call("SET", keys.PROGRAM + digest, signature + canonical(evil))
        forged[name] = digest, await start(site, digest)
    worker = await site.worker(publishers=(public,), allow_run=("shell",))
    for name, (digest, uid) in forged.items():
        run = await site.ended(uid)
        assert run.status == "faulted", name
        assert f"program {digest[:12]}… in the store is refused" in json.loads(run.error or b"")["detail"]
        assert ("program", digest) in refused(worker.log_text()), name
    assert not canary.exists()
    assert (await site.ended(await start(site, PROGRAM))).status == "completed"


@pytest.mark.parametrize("signed_by", ["itself", "a revision"])
async def test_runs_of_a_publisher_outlive_their_revision_or_need_no_own_signature(
    site: Site, signed_by: str
) -> None:
    private, public = generate_pair()
    await publish(site, Keyring(publish_key=private))
    if signed_by == "itself":
        await site.store.call("DEL", keys.REVISION + "1", keys.REVISIONS)
    else:
        await site.store.call("SET", keys.PROGRAM + PROGRAM, canonical(NOOP))
    await site.worker(publishers=(public,))
    assert (await site.ended(await start(site, PROGRAM))).status == "completed"


async def start(site: Site, program: str) -> str:
    """Start a run as a gateway does, of any program."""
    request = AcceptRequest(
        uid=site.intake.uid(),
        api="test/noop",
        digest=revision().apis["test/noop"].digest,
        revision=1,
        workflow="test/noop:1.0.0",
        program=program,
        input=b"{}",
        retention_s=60,
    )
    outcome = await site.intake.accept(request)
    assert isinstance(outcome, Accepted), outcome
    return outcome.uid


async def due_now(site: Site, number: int, ring: Keyring, sealing: Keyring) -> None:
    """Make a revision live whose schedule is due, with the signature of a keyring and the seal of another."""
    data = EVIL_DATA
    signature = ring.sign_revision(str(number).encode(), data)
    store: Store = site.store
    await store.call(
        "HSET", f"{keys.REVISION}{number}", "data", data, "digest", "0" * 64, "at", 1, "sig", signature
    )
    await make_live(store, number, "0" * 64, sealing)
    await schedule_tick(store, number)


async def schedule_tick(store: Store, number: int) -> None:
    name = f"schedule:test/every{number}"
    stored = {
        "workflow": "test/noop:1.0.0",
        "schedule": {"kind": "every", "program": "0" * 64, "milliseconds": 60_000},
    }
    await store.call("HSET", keys.SCHEDULES, name, msgspec.msgpack.encode(("every", "1", json.dumps(stored))))
    await store.call("HSET", keys.GATE + name, "on", 1, "queued", 100, "digest", "", "git", 1)
    await store.call("ZADD", keys.TICKS, 1, name)


def test_apply_with_a_pair_needs_no_link_key_and_generates_none(cli: Cli, redis_url: str) -> None:
    pair = cli("secret", "pair", "-o", "json").json
    cli.write("apis.d/test.yaml", API)
    cli.write("workflows.d/noop.yaml", WORKFLOW)
    cli.write("publisher", pair["private"] + "\n")
    cli.write("iogate.yaml", f"redis_url: {redis_url}\npublish_key: {{file: publisher}}\n")
    asyncio.run(empty(redis_url))
    cli("apply", "--yes")
    assert not (cli.root / ".iogate/link_key").exists()
    data, origin, signature = asyncio.run(stored(redis_url))
    assert signature.startswith("ed25519:")
    ring = Keyring(("k" * 40,), publishers=[pair["public"]])
    assert ring.revision_fault(signature, *signed_parts(b"1", data, origin)) is None
    # Where publishers are set, nothing is published that they refuse.
    cli.write("iogate.yaml", f"redis_url: {redis_url}\npublishers: ['{pair['public']}']\n")
    ran = cli("apply", "--yes", code=64)
    assert "publishers are set, and publish_key is not set" in ran.err
    assert "[IOG675]" in ran.err


def test_commands_without_the_package_name_the_package_to_install(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = generate_pair()[0]
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric", None)
    cli.write("apis.d/test.yaml", API)
    cli.write("workflows.d/noop.yaml", WORKFLOW)
    cli.write("publisher", private)
    cli.write("iogate.yaml", "redis_url: redis://127.0.0.1:1\npublish_key: {file: publisher}\n")
    for command in (["secret", "pair"], ["apply"]):
        assert cli(*command, code=64).err.endswith(
            "publish_key and publishers need the package cryptography, which is not installed [IOG675]\n"
            '  install iogate with its extra: pip install "iogate[signing]"\n'
        )


def test_the_command_line_reports_an_invalid_key_without_showing_it(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.write("apis.d/test.yaml", API)
    cli.write("workflows.d/noop.yaml", WORKFLOW)
    cli.write("iogate.yaml", "redis_url: redis://127.0.0.1:1\npublish_key: {env: PUBLISHER_KEY}\n")
    monkeypatch.setenv("PUBLISHER_KEY", "hunter2-of-the-publisher")
    ran = cli("apply", "--yes", code=64)
    assert "publish_key: expected a key of the form ed25519-private:…" in ran.err
    assert "[IOG675]" in ran.err
    assert "hunter2" not in ran.err + ran.out
    monkeypatch.delenv("PUBLISHER_KEY")
    assert "PUBLISHER_KEY" in cli("apply", "--yes", code=None).err
    cli.write("iogate.yaml", "publishers: [ed25519:short]\n")
    assert (
        "expected a list of public keys, each ed25519: and 43 characters" in cli("apply", "--yes", code=3).err
    )


async def empty(url: str) -> None:
    from iogate.store.store import Store

    store = Store(url, client_name="test", keyring=Keyring())
    await store.call("FLUSHALL")
    await store.close()


async def stored(url: str) -> tuple[bytes, bytes, str]:
    from iogate.store.store import Store

    store = Store(url, client_name="test", keyring=Keyring())
    data, origin, signature = await store.call("HMGET", f"{keys.REVISION}1", "data", "origin", "sig")
    await store.close()
    return data, origin, signature.decode()
