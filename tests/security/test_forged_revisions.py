"""A gateway takes no revision and no gate that a process without the key wrote; the last good one stays.

The forger takes the credentials from an API, adds one of his own and makes that live, in every way that needs
no key. A real gateway and a real worker go on with the revision that was published.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import pytest

from iogate.auth.model import NoAuth
from iogate.compiler import revision as compiled
from iogate.compiler.revision import Api, Bundle, Revision, Workflow, canonical, digest_of
from iogate.security.keyring import Keyring, generate_pair
from iogate.store import keys
from iogate.store.integrity.newest_seals import FILE, NewestSeals
from iogate.store.revisions.origin import Origin
from iogate.store.revisions.revisions import NotAuthentic
from tests.gateway.driver import TOKEN, Gateway, listening, spawn
from tests.keys import RING
from tests.security.test_forgeries import THIEF, whole_lines
from tests.store.live_records import SEAL, make_live, put_back, record
from tests.worker.site import NOOP, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.worker.site import Site

NAME = "test/noop:1.0.0"
PROGRAM = digest_of(NOOP)


def revision(*, guarded: bool = True, **more: Api) -> Revision:
    given: dict[str, Any] = {"workflow": NAME, "program": PROGRAM, "enabled": True, "verbs": ("GET", "POST")}
    apis = {
        "test/noop": Api(id="test/noop", auth=NoAuth(), **given),
        "test/guarded": Api(id="test/guarded", auth=TOKEN if guarded else NoAuth(), **given),
    } | {api.id: api for api in more.values()}
    return Revision(apis=apis, workflows={NAME: Workflow(program=PROGRAM)})


EVIL = revision(
    guarded=False,
    evil=Api(id="test/evil", auth=NoAuth(), workflow=NAME, program=PROGRAM, enabled=True, verbs=("GET",)),
)
EVIL_DATA = compiled.encode(EVIL)


class Forger:
    def __init__(self, site: Site, gateway: Gateway) -> None:
        self.site = site
        self.gateway = gateway
        self.store = site.store

    async def genuine(self) -> tuple[bytes, str]:
        """Data and signature of the revision that was published."""
        data, signature = await self.store.call("HMGET", f"{keys.REVISION}1", "data", "sig")
        return data, signature.decode()

    async def make_live(self, number: int, digest: str) -> None:
        # With a seal, which a forger does not have, so that the signature of the revision is what refuses it.
        await make_live(self.store, number, digest)

    async def change(self) -> None:
        await self.store.call("HINCRBY", keys.LIVE, "changes", 1)
        await self.store.call("PUBLISH", keys.CHANGE_CHANNEL, "1")

    async def revision(self, number: int, data: bytes, signature: bytes | str | None) -> None:
        """Store it and make it live, as `publish` does."""
        await self.store.call(
            "HSET", f"{keys.REVISION}{number}", "data", data, "digest", EVIL.digest, "at", 1
        )
        await self.store.call("HDEL", f"{keys.REVISION}{number}", "sig")
        if signature is not None:
            await self.store.call("HSET", f"{keys.REVISION}{number}", "sig", signature)
        await self.store.call("LPUSH", keys.REVISIONS, number)
        await self.make_live(number, EVIL.digest)

    def log_entries(self) -> list[dict[str, Any]]:
        lines = whole_lines(self.gateway.log.read_text())
        return [found for found in map(json.loads, lines) if found.get("action") == "store.refused"]

    def times(self, kind: str, name: str) -> int:
        return sum((line["kind"], line["object"]) == (kind, name) for line in self.log_entries())


def _changed(data: bytes) -> bytes:
    """The genuine content with the credentials of another token."""
    digit = data.index(b"sha256:") + len(b"sha256:")
    return data[:digit] + (b"0" if data[digit : digit + 1] != b"0" else b"1") + data[digit + 1 :]


def _sealed(purpose: Any, number: int) -> str:
    """A seal that a genuine process made for something else, of the same bytes."""
    return f"hmac:{RING.ids[0]}:{RING.sign(purpose, str(number).encode(), EVIL_DATA).decode()}"


def _thief(number: int) -> str:
    return THIEF.sign_revision(str(number).encode(), EVIL_DATA)


def _stranger(number: int) -> str:
    return Keyring(publish_key=generate_pair()[0]).sign_revision(str(number).encode(), EVIL_DATA)


class Genuine(NamedTuple):
    """The number that a forged revision gets, and what is stored of the genuine revision 1."""

    number: int
    data: bytes
    signature: str


REVISIONS: dict[str, Callable[[Genuine], tuple[bytes, bytes | str | None]]] = {
    "no signature": lambda _: (EVIL_DATA, None),
    "an empty signature": lambda _: (EVIL_DATA, ""),
    "the signature of another revision": lambda own: (EVIL_DATA, own.signature),
    "the number moved": lambda own: (own.data, own.signature),
    "one character changed": lambda own: (_changed(own.data), own.signature),
    "another key": lambda own: (EVIL_DATA, _thief(own.number)),
    "another key with our name": lambda own: (
        EVIL_DATA,
        _thief(own.number).replace(THIEF.ids[0], RING.ids[0]),
    ),
    "an unknown publisher": lambda own: (EVIL_DATA, _stranger(own.number)),
    "the seal of an event": lambda own: (EVIL_DATA, _sealed("event", own.number)),
    "the seal of a run": lambda own: (EVIL_DATA, _sealed("run", own.number)),
    "a signature that is cut": lambda own: (EVIL_DATA, own.signature[:-1]),
    "a signature of zeros": lambda _: (EVIL_DATA, f"hmac:{RING.ids[0]}:" + "A" * 22),
    "no value": lambda _: (EVIL_DATA, f"hmac:{RING.ids[0]}:"),
    "no text": lambda _: (EVIL_DATA, b"\xff" * 40),
    "a long one": lambda _: (EVIL_DATA, b"ed25519:" + base64.b64encode(b"x" * 90_000)),
    "no revision at all": lambda own: (b"\xff junk", own.signature),
}


@contextmanager
def served(site: Site, folder: Path, **settings: Any) -> Iterator[Gateway]:
    with listening() as socket:
        gateway = spawn(site.store.url, socket, folder, log_format="json", **settings)
        try:
            yield gateway
        finally:
            gateway.stop()


@pytest.fixture
async def forger(site: Site, tmp_path: Path) -> AsyncIterator[Forger]:
    await publish(site)
    with served(site, tmp_path) as gateway:
        await until(lambda: "revision.taken" in gateway.log.read_text(), name="the first revision")
        yield Forger(site, gateway)


async def publish(site: Site, ring: Keyring = RING) -> int:
    from iogate.store.store import open_store

    store = await open_store(site.store.url, keyring=ring)
    try:
        site.revision = await store.revisions.publish(
            Bundle(revision=revision(), programs={PROGRAM: canonical(NOOP)})
        )
    finally:
        await store.close()
    site.apis = revision().apis
    return site.revision


async def honest(client: httpx.AsyncClient, number: int = 1) -> str:
    """Call the API as its callers do; the gateway serves the published revision alone."""
    assert (await client.post("/v1/api/test/guarded/async", content=b"{}")).status_code == 401
    assert (await client.get("/v1/api/test/evil/async")).status_code == 404
    reply = await client.post("/v1/api/test/guarded/async", content=b"{}", headers={"token": "123456"})
    assert reply.status_code == 202, reply.text
    assert reply.headers["x-iogate-revision"] == str(number)
    uid: str = reply.json()["response"]["uid"]
    return uid


async def test_no_forged_revision_is_served_the_last_good_one_stays(forger: Forger, site: Site) -> None:
    worker = await site.worker()
    data, signature = await forger.genuine()
    runs: list[str] = []
    async with httpx.AsyncClient(base_url=forger.gateway.url, timeout=60) as client:
        for number, (name, forge) in enumerate(REVISIONS.items(), start=2):
            await forger.revision(number, *forge(Genuine(number, data, signature)))
            await until(lambda each=number: forger.times("revision", str(each)) == 1, name=name)  # type: ignore[misc]
            runs.append(await honest(client))
            with pytest.raises(NotAuthentic, match=f"revision {number} in the store is refused") as caught:
                await site.store.revisions.load(number)
            assert caught.value.code == "IOG673", name
        # The number that is served, with other content: also what was genuine once is looked at again.
        await forger.revision(1, EVIL_DATA, signature)
        await until(lambda: forger.times("revision", "1") == 1, name="the published number")
        runs.append(await honest(client))
        # The gateway has tried again since, and did not log again.
        assert len(forger.log_entries()) == len(REVISIONS) + 1

        async def counted() -> bool:
            text = (await client.get("/metrics")).text
            found = re.search(r'iogate_store_refused_total\{kind="revision"\} (\d+)', text)
            return found is not None and int(found[1]) > len(REVISIONS)

        await until(counted, name="the count in /metrics")
        # What is published next is taken.
        await make_live(forger.store, 50, "0" * 64)
        assert await publish(site) == 51
        await until(lambda: '"revision": 51' in forger.gateway.log.read_text(), name="the next revision")
        runs.append(await honest(client, 51))
    for run in await site.all_ended(runs):
        assert run.status == "completed"
    assert worker.process.poll() is None


async def _gate(forger: Forger, api: str, **fields: str | bytes | int) -> None:
    given: dict[str, str | bytes | int] = {"on": 1, "base": 1, "git": 1, "own": 1, "queued": 100}
    given |= {"interval": "", "slack": "", "digest": ""} | fields
    await forger.store.call("HSET", keys.GATE + api, *(part for pair in given.items() for part in pair))
    await forger.store.call("SADD", keys.GATES, api)


async def _of_another_type(forger: Forger, api: str) -> None:
    await forger.store.call("SET", keys.GATE + api, "1")
    await forger.store.call("SADD", keys.GATES, api)


async def _bare(forger: Forger, api: str) -> None:
    await forger.store.call("HSET", keys.GATE + api, "on", 1)
    await forger.store.call("SADD", keys.GATES, api)


GATES: dict[str, tuple[str, Callable[[Forger, str], Awaitable[None]]]] = {
    "an API that was not published": ("test/evil", _gate),
    "the digest of another API": ("test/guarded", lambda forger, api: _gate(forger, api, digest=EVIL.digest)),
    "what git says": ("test/noop", lambda forger, api: _gate(forger, api, git=0, digest=_digest(api))),
    "a gate of nothing": ("test/bare", _bare),
    "an end that is none": ("test/end", lambda forger, api: _gate(forger, api, until="x")),
    "a digest that is no text": ("test/text", lambda forger, api: _gate(forger, api, digest=b"\xff")),
    "a load that is none": ("test/load", lambda forger, api: _gate(forger, api, inq="x")),
    "another type": ("test/type", _of_another_type),
}


def _digest(api: str) -> str:
    return revision().apis[api].digest


async def test_forged_gates_open_no_api_and_stop_no_gateway(forger: Forger, site: Site) -> None:
    await site.worker()
    async with httpx.AsyncClient(base_url=forger.gateway.url, timeout=60) as client:
        before = await honest(client)
        for name, (api, forge) in GATES.items():
            await forge(forger, api)
            await forger.change()
            await until(lambda each=api: forger.times("gate", f"{each}@1") == 1, name=name)  # type: ignore[misc]
            reply = await client.get(f"/v1/api/{api}/async")
            known = {"test/guarded": 401, "test/noop": 202}
            assert reply.status_code == known.get(api, 404), name
        assert len(forger.log_entries()) == len(GATES)
        # Its digest is another one: no call of it is accepted, with the token neither.
        reply = await client.get("/v1/api/test/guarded/async", headers={"token": "123456"})
        assert reply.status_code == 503
        await forger.store.call("DEL", f"{keys.GATE}test/type")
        await forger.store.call("SREM", keys.GATES, "test/type")
        # A publish puts the gates right, and is taken.
        await make_live(forger.store, 7, "0" * 64)
        assert await publish(site) == 8
        await until(lambda: '"revision": 8' in forger.gateway.log.read_text(), name="the next revision")
        after = await honest(client, 8)
    for run in await site.all_ended([before, after]):
        assert run.status == "completed"


@pytest.mark.parametrize(
    ("field", "value"), [("number", "x"), ("number", "9" * 5000), ("digest", b"\xff"), ("digest", "")]
)
async def test_an_invalid_live_record_stops_no_gateway(
    forger: Forger, site: Site, field: str, value: str | bytes
) -> None:
    async with httpx.AsyncClient(base_url=forger.gateway.url, timeout=60) as client:
        await forger.store.call("HSET", keys.LIVE, field, value)
        await forger.change()
        await until(lambda: forger.times("revision", "live") == 1, name="a line about it")
        await honest(client)
        await make_live(forger.store, 7, "0" * 64)
        assert await publish(site) == 8
        await until(lambda: '"revision": 8' in forger.gateway.log.read_text(), name="the next revision")
        await honest(client, 8)


async def test_a_gateway_that_starts_later_refuses_a_record_that_was_put_back(
    site: Site, tmp_path: Path
) -> None:
    data_dir, store = site.settings.data_dir, site.store
    data_dir.mkdir()
    weak = Bundle(revision=revision(guarded=False), programs={PROGRAM: canonical(NOOP)})
    strict = Bundle(revision=revision(), programs=weak.programs)
    await store.revisions.publish(weak)
    taken = await record(store)
    await store.revisions.publish(strict)
    newest = int((await store.call("HGET", keys.LIVE, SEAL)).partition(b" ")[0])
    path = "/v1/api/test/guarded/async"
    with served(site, tmp_path, data_dir=data_dir):
        seen = NewestSeals(data_dir, store.url)
        await until(lambda: seen.counters() == {"default": newest}, name="the newest seal")
    await put_back(store, taken)
    with served(site, tmp_path, data_dir=data_dir) as gateway:
        await until(
            lambda: "older than one that this machine has seen" in gateway.log.read_text(), name="refusal"
        )
        async with httpx.AsyncClient(base_url=gateway.url, timeout=60) as client:
            assert (await client.post(path, content=b"{}")).status_code == 503
            await store.revisions.repair(strict, Origin(author="ann"))
            await until(lambda: "revision.taken" in gateway.log.read_text(), name="the repaired revision")
            assert (await client.post(path, content=b"{}")).status_code == 401
    (data_dir / FILE).unlink()
    await site.worker()
    repaired = int((await store.call("HGET", keys.LIVE, SEAL)).partition(b" ")[0])
    await until(lambda: seen.counters() == {"default": repaired}, name="a worker remembers the seal")
