"""Tokens and passwords of calls stay in memory: not in the store, the log or an error."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest
from redis.asyncio import Redis

from tests.conformance.remote import serving
from tests.worker.site import decoded, workflow

if TYPE_CHECKING:
    from tests.worker.site import Site

HIDDEN = ("sw0rdfish-token", "sw0rdfish-refresh", "sw0rdfish-secret", "sw0rdfish-password")


async def dump(redis_url: str) -> str:
    """Return all data of a store as text."""
    texts: list[str] = []
    async with Redis.from_url(redis_url) as redis:
        async for key in redis.scan_iter():
            kind: Any = await redis.type(key)
            value: Any
            match kind.decode():
                case "string":
                    value = await redis.get(key)
                case "hash":
                    value = await redis.hgetall(key)
                case "list":
                    value = await redis.lrange(key, 0, -1)
                case "set":
                    value = await redis.smembers(key)
                case "zset":
                    value = await redis.zrange(key, 0, -1)
                case _:
                    value = await redis.xrange(key)
            texts.append(f"{key!r} {value!r}")
    return "\n".join(texts)


def call(path: str, **more: Any) -> dict[str, Any]:
    endpoint = {"uri": f"https://api.example{path}", "authentication": {"use": "mine"}}
    return {"call": "http", "with": {"method": "get", "endpoint": endpoint}, **more}


@pytest.mark.parametrize("scheme", ["oauth2", "digest"])
async def test_credentials_of_a_call_are_never_stored_or_logged(
    site: Site, redis_url: str, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setenv("TEST_CLIENT", HIDDEN[2])
    monkeypatch.setenv("TEST_PASSWORD", HIDDEN[3])
    policies = {
        "oauth2": {
            "authority": "https://login.example",
            "grant": "password",
            "client": {"id": "me", "secret": "${ $secrets.client }"},
            "username": "ada",
            "password": "${ $secrets.password }",
        },
        "digest": {"username": "ada", "password": "${ $secrets.password }"},
    }
    definition = workflow(
        "calls",
        {"one": call("/echo", output={"as": "$authorization.scheme"})},
        {"two": call("/gone")},
        use={
            "secrets": ["client", "password"],
            "authentications": {"mine": {scheme: policies[scheme]}},
        },
    )
    answers = {
        "/oauth2/token": {"json": {"access_token": HIDDEN[0], "refresh_token": HIDDEN[1]}},
        "/echo": [
            {"status": 401, "headers": {"WWW-Authenticate": 'Digest realm="r", nonce="n", qop="auth"'}},
            {"json": 1},
        ]
        if scheme == "digest"
        else {"json": 1},
        "/gone": {"status": 401},
    }
    async with serving(answers) as remote:
        await site.publish(definition)
        worker = await site.worker(
            secrets={"client": {"env": "TEST_CLIENT"}, "password": {"env": "TEST_PASSWORD"}},
            endpoints=remote.endpoints,
        )
        run = await site.ended(await site.call("calls"))
        sent = str(remote.seen)
    assert (run.status, decoded(run.error)["status"]) == ("faulted", 401)
    assert HIDDEN[0] in sent if scheme == "oauth2" else "Digest username" in sent
    everything = await dump(redis_url) + worker.log_text() + str(run)
    assert "calls" in everything
    for text in HIDDEN:
        assert text not in everything
        assert base64.b64encode(text.encode()).decode() not in everything
    assert "response=" not in everything
