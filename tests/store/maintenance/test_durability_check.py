"""Checkup: unsafe servers are reported with a remedy."""

from __future__ import annotations

import pytest

from iogate.errors import Misused, WrongStore
from iogate.store.connection.server_support import is_too_old
from iogate.store.embedded.server import EmbeddedServer, temporary_server
from iogate.store.store import Store, open_store
from tests.keys import RING

UNSAFE = {
    "appendonly": ("no", "error", "appendonly is no: the end of the server loses all accepted runs"),
    "appendfsync": ("no", "error", "appendfsync is no: a power failure loses accepted runs"),
    "maxmemory-policy": (
        "allkeys-lru",
        "error",
        "maxmemory-policy is allkeys-lru: a full server deletes runs",
    ),
    "no-appendfsync-on-rewrite": (
        "yes",
        "error",
        "no-appendfsync-on-rewrite is yes: a power failure during a rewrite loses accepted runs",
    ),
}
SAFE = {
    "appendonly": "yes",
    "appendfsync": "always",
    "maxmemory-policy": "noeviction",
    "no-appendfsync-on-rewrite": "no",
}


async def configured(store: Store, settings: dict[str, str]) -> None:
    for name, value in settings.items():
        await store.call("CONFIG", "SET", name, value)


@pytest.mark.parametrize("setting", UNSAFE)
async def test_each_unsafe_setting_is_found(each_redis: EmbeddedServer, setting: str) -> None:
    value, level, message = UNSAFE[setting]
    with temporary_server(each_redis.server) as own:
        store = await open_store(own.url, keyring=RING)
        await configured(store, SAFE)
        assert await store.findings() == []
        await configured(store, {setting: value})
        (finding,) = await store.findings()
        assert (finding.level, finding.setting, finding.message) == (level, setting, message)
        assert finding.hint.startswith("CONFIG SET")
        await store.close()


async def test_everysec_is_a_warning(each_redis: EmbeddedServer) -> None:
    with temporary_server(each_redis.server) as own:
        store = await open_store(own.url, keyring=RING)
        await configured(store, SAFE | {"appendfsync": "everysec"})
        (finding,) = await store.findings()
        assert finding.level == "warning"
        assert "up to about two seconds" in finding.message
        await store.close()


async def test_a_wrong_password_is_reported_without_showing_it(each_redis: EmbeddedServer) -> None:
    with temporary_server(each_redis.server) as own:
        store = await open_store(own.url, keyring=RING)
        await store.call("CONFIG", "SET", "requirepass", "right-secret")
        await store.close()
        for url in (own.url, own.url.replace("unix://", "unix://:wrong-secret@")):
            with pytest.raises(WrongStore) as caught:
                await open_store(url, keyring=RING)
            assert "secret" not in caught.value.message
            assert caught.value.message.startswith(f"the store at {own.url} refused ")
        store = await open_store(own.url.replace("unix://", "unix://:right-secret@"), keyring=RING)
        assert store.address == own.url
        await store.close()


async def test_an_address_of_another_protocol_is_reported() -> None:
    with pytest.raises(Misused, match="redis_url is not a Redis address") as caught:
        await open_store("http://localhost", keyring=RING)
    assert caught.value.hint == (
        "redis://HOST:PORT/DB, rediss://… or unix:///PATH; write / ? # @ in a password as %2F %3F %23 %40"
    )


@pytest.mark.parametrize("url", ["redis://:SEKRETa/bc@h:1", "redis://:SEKRETa#bc@h:1", "redis://:SEKRET"])
async def test_an_address_that_cannot_be_read_is_reported_without_its_password(url: str) -> None:
    with pytest.raises(Misused) as caught:
        await open_store(url, keyring=RING)
    assert "SEKRET" not in f"{caught.value.message} {caught.value.hint}"


def test_versions_before_6_2_are_too_old() -> None:
    assert [is_too_old(v) for v in ("5.0.7", "6.0.16", "6.2.0", "7.2.4", "8.0")] == [
        True,
        True,
        False,
        False,
        False,
    ]
