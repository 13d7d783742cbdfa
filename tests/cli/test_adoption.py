"""A store is adopted once; one that a writer made look older is refused, and nothing in it gets signed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from iogate.cli.processes import store_opening as opening
from iogate.errors import WrongStore
from iogate.security.keyring import Keyring
from iogate.settings import Settings
from iogate.store import keys
from iogate.store.embedded.known_stores import ADOPTING, EMBEDDED, FILE, MOST, KnownStores, stored_name
from iogate.store.embedded.server import start_embedded
from iogate.store.integrity import seals
from iogate.store.integrity.seals import Facts
from iogate.store.store import Store, open_store
from tests.cli.conftest import Cli
from tests.cli.place import started, until, write_project
from tests.keys import LINK_KEY, RING
from tests.ports import free_port
from tests.store.builders import publish
from tests.worker.test_adoption import load

FORGED = "700000000000000001"


async def forge(store: Store) -> None:
    """Write a run that no gateway accepted, and a revision that no `apply` published."""
    facts = msgspec.json.encode(Facts(1, "shop/buy:1.0.0", "0" * 64, "", None, ""))
    await store.call("HSET", keys.RUN + FORGED, "api", "shop/buy", "f", facts, "in", b"{}")
    await store.call("HSET", f"{keys.REVISION}77", "data", b"forged", "digest", "0" * 64)


async def is_unsigned(store: Store) -> bool:
    facts, api, data = await store.call("HMGET", keys.RUN + FORGED, "f", "api", "in")
    signature = await store.call("HGET", f"{keys.REVISION}77", "sig")
    return signature is None and not any(
        seals.verify_facts(ring, FORGED.encode(), api, facts, data) for ring in (RING, store.keyring)
    )


async def _delete(store: Store) -> None:
    await store.call("DEL", keys.FORMAT)


async def _lower(store: Store) -> None:
    await store.call("SET", keys.FORMAT, 1)


async def _scramble(store: Store) -> None:
    await store.call("SET", keys.FORMAT, "x")


async def _erase(store: Store) -> None:
    """Every trace of signatures that is looked at."""
    await store.call("DEL", keys.FORMAT, keys.KEYS)
    for number in await store.call("LRANGE", keys.REVISIONS, 0, -1):
        await store.call("HDEL", keys.REVISION + number.decode(), "sig")


async def _erase_but_a_signature(store: Store) -> None:
    await store.call("DEL", keys.FORMAT, keys.KEYS)


ATTACKS: dict[str, Callable[[Store], Awaitable[None]]] = {
    "the number is deleted": _delete,
    "the number is that of an earlier release": _lower,
    "the number is none": _scramble,
    "number and names of keys are deleted": _erase_but_a_signature,
    "nothing shows that there were signatures": _erase,
}


def serve(settings: Settings, *, embedded: bool) -> Any:
    return opening.open_to_serve(settings, publishes=True, embedded=embedded, say=lambda _: None)


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    return Settings(redis_url=redis_url, data_dir=tmp_path / ".iogate", link_key=LINK_KEY)


@pytest.mark.parametrize("where", ["embedded", "elsewhere"])
@pytest.mark.parametrize("attack", ATTACKS)
async def test_a_store_that_was_made_to_look_older_is_refused_and_not_signed(
    store: Store, settings: Settings, attack: str, where: str
) -> None:
    embedded = where == "embedded"
    await (await serve(settings, embedded=embedded)).close()
    await publish(store)
    await forge(store)
    await ATTACKS[attack](store)
    with pytest.raises(WrongStore, match="says that an earlier release wrote it") as caught:
        await serve(settings, embedded=embedded)
    assert caught.value.code == "IOG677"
    assert "find out who else can write to the store" in caught.value.hint
    assert await is_unsigned(store)
    if embedded:
        return
    # The command line of a person who follows the hint of an earlier release meets the same refusal.
    with pytest.raises(WrongStore) as caught:
        await opening.check_older(settings, store, settings.redis_url or "", embedded=False)
    assert caught.value.code == "IOG677"


async def test_a_machine_that_never_used_the_store_sees_its_signatures(
    store: Store, settings: Settings
) -> None:
    await publish(store)
    await forge(store)
    for attack in (_delete, _erase_but_a_signature):
        await attack(store)
        with pytest.raises(WrongStore) as caught:
            await open_store(store.url, keyring=RING)
        assert caught.value.code == "IOG677"
        with pytest.raises(WrongStore):
            await serve(settings, embedded=True)
    assert await is_unsigned(store)
    # A reader without a key may look.
    await (await opening.open_to_read(settings, store.url)).close()


async def test_a_format_number_of_another_type_adopts_nothing(store: Store, settings: Settings) -> None:
    await publish(store)
    await forge(store)
    await store.call("DEL", keys.FORMAT)
    await store.call("RPUSH", keys.FORMAT, "1")
    await (await serve(settings, embedded=True)).close()
    assert await is_unsigned(store)


async def test_an_older_embedded_store_is_adopted_once(store: Store, settings: Settings) -> None:
    await load(store)
    told: list[str] = []
    opened = await opening.open_to_serve(settings, publishes=True, embedded=True, say=told.append)
    await opened.close()
    assert told[0] == "the store was written by an earlier release: signing its data"
    assert told[-1].startswith("signed: 1 revision, 6 runs, 1 ended run")
    assert KnownStores(settings.data_dir).format_number(EMBEDDED) == keys.FORMAT_NUMBER
    await load(store)
    with pytest.raises(WrongStore) as caught:
        await serve(settings, embedded=True)
    assert caught.value.code == "IOG677"


async def test_an_adoption_that_was_interrupted_is_repeated_by_the_machine_that_began_it(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await load(store)
    whole = Store.call

    async def dies(self: Store, *arguments: Any) -> Any:
        if arguments[:2] == ("SET", keys.FORMAT):
            raise TimeoutError
        return await whole(self, *arguments)

    monkeypatch.setattr(Store, "call", dies)
    with pytest.raises(TimeoutError):
        await serve(settings, embedded=True)
    monkeypatch.setattr(Store, "call", whole)
    assert KnownStores(settings.data_dir).format_number(EMBEDDED) == ADOPTING
    assert await store.was_signed()
    await (await serve(settings, embedded=True)).close()
    assert await store.call("GET", keys.FORMAT) == b"2"


def test_names_of_known_stores_are_those_of_earlier_releases() -> None:
    assert stored_name("redis://u:p@h:1/2", embedded=False) == "redis://u:***@h:1/2"
    assert stored_name("redis://u:p@h:1/2", embedded=True) == EMBEDDED


def test_known_stores_never_go_back_and_are_bounded(tmp_path: Path) -> None:
    known = KnownStores(tmp_path / "data")
    assert known.format_number("a") == 0
    known.remember("a", 2)
    known.remember("a", 1)
    known.remember("redis://h with a space/0", 1)
    assert (known.format_number("a"), known.format_number("redis://h with a space/0")) == (2, 1)
    for number in range(MOST):
        known.remember(f"s{number}", 2)
    assert len((tmp_path / "data" / FILE).read_text().splitlines()) == MOST
    assert (known.format_number("a"), known.format_number("s0")) == (0, 2)
    (tmp_path / "data" / FILE).write_bytes(b"\xff\xfe\nx y\n2\n 3 z\n2 good\n")
    assert [known.format_number(name) for name in ("y", "z", "good")] == [0, 0, 2]
    assert [path.name for path in (tmp_path / "data").iterdir()] == [FILE]


def test_a_read_only_folder_does_not_prevent_an_external_store(
    redis_url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: KnownStores, name: str, form: int) -> None:
        raise PermissionError

    monkeypatch.setattr(KnownStores, "remember", refuse)

    async def opened() -> None:
        cleaned = Store(redis_url, client_name="test", keyring=RING)
        await cleaned.call("FLUSHALL")
        await cleaned.close()
        await (await serve(settings, embedded=False)).close()

    asyncio.run(opened())


@contextmanager
def running(root: Path) -> Iterator[str]:
    """The store of the project's folder, as a script that reaches its socket sees it."""
    server = start_embedded(root / ".iogate")
    try:
        yield server.url
    finally:
        server.stop()


def at_store(root: Path, *steps: Callable[[Store], Awaitable[Any]]) -> list[Any]:
    """Open the store as `up` does, and do these steps with it."""

    async def all_(url: str) -> list[Any]:
        settings = Settings(redis_url=url, data_dir=root / ".iogate")
        store = await serve(settings, embedded=True)
        try:
            return [await step(store) for step in steps]
        finally:
            await store.close()

    with running(root) as url:
        return asyncio.run(all_(url))


def test_up_refuses_an_embedded_store_that_was_set_back_until_a_person_trusts_it(cli: Cli) -> None:
    write_project(cli.root)
    at_store(cli.root, publish, forge, _erase)
    with started(cli.root, "up", "--port", str(free_port())) as process:
        until(lambda: process.poll() is not None)
    said = (cli.root / "up.err").read_text()
    assert process.returncode == 6, said
    assert "[IOG677]" in said
    assert "[IOG677]" in cli("store", "adopt", code=6).err
    with pytest.raises(WrongStore):
        at_store(cli.root)
    adopted = cli("store", "adopt", "--trust-all", "-o", "json").json
    assert (adopted["revisions"], adopted["runs"]) == (2, 1)
    # Up to here nothing was signed; now a person has trusted all of it.
    assert at_store(cli.root, is_unsigned) == [False]


def test_adopt_of_an_external_store(
    cli: Cli, redis_url: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused while it is in use and if it is of this release; `--trust-all` takes a lost key's place."""
    monkeypatch.setenv("IOGATE_REDIS_URL", redis_url)

    def run(*steps: tuple[Any, ...]) -> list[Any]:
        async def all_() -> list[Any]:
            opened = Store(redis_url, client_name="test", keyring=RING)
            try:
                return [await opened.call(*step) for step in steps]
            finally:
                await opened.close()

        return asyncio.run(all_())

    async def older() -> None:
        opened = Store(redis_url, client_name="test", keyring=RING)
        await load(opened)
        await opened.close()

    asyncio.run(older())
    refused = cli("apply", "--yes", code=None)
    assert "[IOG672]" in refused.err
    run(("ZADD", f"{keys.PROCESSES}worker", 9_999_999_999_999, "w1"))
    process = {"kind": "worker", "id": "w1", "pid": 1, "host": "h", "started_at_ms": 0, "revision": 0}
    run(("SET", f"{keys.PROCESS}worker:w1", json.dumps(process)))
    busy = cli("store", "adopt", code=None)
    assert "worker w1 uses the store [IOG674]" in busy.err
    run(("DEL", f"{keys.PROCESS}worker:w1", f"{keys.PROCESSES}worker"))
    assert cli("store", "adopt", "-o", "json").json["runs"] == 6
    again = cli("store", "adopt", code=None)
    assert "the store was written by this release" in again.err
    assert "[IOG674]" in again.err
    first = run(("HKEYS", keys.KEYS))[0]
    (cli.root / ".iogate/link_key").write_text("n" * 43 + "\n")
    assert "[IOG670]" in cli("apply", "--yes", code=None).err
    assert cli("store", "adopt", "--trust-all", "-o", "json").json["revisions"] == 1
    assert run(("HKEYS", keys.KEYS))[0] == [Keyring(("n" * 43,)).ids[0].encode()] != first
