"""A run shows nothing, not even that it exists, to the credentials of another API."""

from __future__ import annotations

import pytest
from argon2.low_level import Type, hash_secret

from iogate import secrets
from iogate.compiler.revision import Auth, HashedSecret, TokenAuth, UserAuth
from iogate.password_hashing import FAILURES, Parameters, parameters
from tests.gateway.driver import OTHER, TOKEN, USER, World, api

PASSWORD = {"user": "iolinker", "password": "123456"}
BASIC = {"authorization": "Basic aW9saW5rZXI6MTIzNDU2"}
FOREIGN = [
    ("a/token", {"token": "other"}),
    ("a/token", PASSWORD),
    ("a/token", BASIC),
    ("a/token", {"user": "iolinker"}),
    ("a/token", {}),
    ("a/user", {"token": "123456"}),
    ("a/user", {"authorization": "Bearer 123456"}),
    ("a/user", {"authorization": "Digest x"}),
]


@pytest.mark.parametrize(("name", "foreign"), FOREIGN)
async def test_credentials_of_another_api_or_kind_find_no_run(
    world: World, name: str, foreign: dict[str, str]
) -> None:
    await world.publish(api("a/token", TOKEN), api("a/user", USER), api("b/token", OTHER))
    own = {"a/token": {"token": "123456"}, "a/user": PASSWORD}[name]
    uid = (await world.call(name, **own)).uid
    for method, path in (("GET", ""), ("GET", "?wait=1"), ("GET", "/events"), ("POST", "/cancel")):
        reply = await world.ask(f"/v1/runs/{uid}{path}", method, headers=foreign)
        missing = await world.ask(f"/v1/runs/1{path}", method, headers=foreign)
        assert (reply.status, reply.body) == (missing.status, missing.body)
        assert reply.status == 404
    assert (await world.ask(f"/v1/runs/{uid}", headers=own)).status == 200


def hashed(memory_kib: int, text: bytes = b"right") -> HashedSecret:
    value = hash_secret(
        text,
        b"0123456789abcdef",
        time_cost=2,
        memory_cost=memory_kib,
        parallelism=1,
        hash_len=32,
        type=Type.ID,
    )
    return HashedSecret(value=value.decode())


CHEAP = UserAuth(users={"ann": (hashed(16),)})
COSTLY = UserAuth(users={"bob": (hashed(64), hashed(64, b"old"))})
SLOW_TOKEN = TokenAuth(tokens={"till": (hashed(32),)})
WRONG = [
    ({"user": "ann", "password": "wrong"}, 256),
    ({"user": "bob", "password": "wrong"}, 256),
    ({"user": "eve", "password": "wrong"}, 256),
    ({"authorization": "Basic YW5uOndyb25n"}, 256),
    ({"token": "wrong"}, 64),
    ({"authorization": "Bearer wrong"}, 64),
    ({"token": "wrong", "user": "ann", "password": "wrong"}, 256),
    ({"user": "ann"}, 0),
    ({}, 0),
]


async def test_wrong_credentials_cost_and_count_the_same_whether_there_is_a_run_or_not(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    apis: dict[str, Auth] = {"a/cheap": CHEAP, "a/costly": COSTLY, "a/slow": SLOW_TOKEN, "a/token": TOKEN}
    await world.publish(*(api(name, auth) for name, auth in apis.items()))
    right = {
        "a/cheap": {"user": "ann", "password": "right"},
        "a/costly": {"user": "bob", "password": "right"},
        "a/slow": {"token": "right"},
        "a/token": {"token": "123456"},
    }
    uids = [(await world.call(name, **given)).uid for name, given in right.items()]
    spent: list[int] = []
    matches, spend = secrets._matches, Parameters.spend

    def match(value: bytes, presented: bytes) -> bool:
        spent.append(parameters(value).cost)
        return matches(value, presented)

    def waste(self: Parameters, presented: bytes) -> None:
        spent.append(self.cost)
        spend(self, presented)

    monkeypatch.setattr(secrets, "_matches", match)
    monkeypatch.setattr(Parameters, "spend", waste)
    monkeypatch.setattr(world.live.hashing, "_monotonic", lambda: 1.0)
    for number, (wrong, work) in enumerate(WRONG):
        for host, uid in enumerate([*uids, "1"]):
            world.client = (f"192.0.{number}.{host}", 1)
            spent.clear()
            reply = await world.ask(f"/v1/runs/{uid}", headers=wrong)
            assert (reply.status, sum(spent)) == (404, work), (uid, wrong)
    for uid in (uids[0], uids[2], "1"):
        world.client = (f"on {uid}", 1)
        replies = [await world.ask(f"/v1/runs/{uid}", headers=WRONG[0][0]) for _ in range(FAILURES + 1)]
        assert {reply.status for reply in replies[:-1]} == {404}
        assert replies[-1].message == "Too many wrong credentials; retry in 1 s"
