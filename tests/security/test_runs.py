"""A run shows nothing, not even that it exists, to the credentials of another API."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from argon2.low_level import Type, hash_secret

from iogate.auth.model import (
    AnyAuth,
    EnvSecret,
    HashedSecret,
    JwtAuth,
    NoAuth,
    StoredAuth,
    StoredSecret,
    TokenAuth,
    UserAuth,
)
from iogate.gateway.authentication.forms.tokens import Tokens
from iogate.security import secrets
from iogate.security.failure_limit import FAILURES
from iogate.security.password_hashing import Parameters, parameters
from iogate.store.connection.connection import Argument, Connection
from tests.gateway.authentication.tokens import ISSUER, SECRET, token
from tests.gateway.driver import OTHER, TOKEN, USER, World, api
from tests.store.builders import commit
from tests.store.runs.test_compression import NOISE

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


@pytest.fixture
def spent(world: World, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Costs of the Argon2 hashes that are computed; the clock by which failures are counted stands still."""
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
    monkeypatch.setattr(world.live.hashing.failures, "_monotonic", lambda: 1.0)
    return spent


async def test_wrong_credentials_cost_and_count_the_same_whether_there_is_a_run_or_not(
    world: World, spent: list[int]
) -> None:
    apis: dict[str, StoredAuth] = {
        "a/cheap": CHEAP,
        "a/costly": COSTLY,
        "a/slow": SLOW_TOKEN,
        "a/token": TOKEN,
    }
    await world.publish(*(api(name, auth) for name, auth in apis.items()))
    right = {
        "a/cheap": {"user": "ann", "password": "right"},
        "a/costly": {"user": "bob", "password": "right"},
        "a/slow": {"token": "right"},
        "a/token": {"token": "123456"},
    }
    uids = [(await world.call(name, **given)).uid for name, given in right.items()]
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


async def test_guesses_of_a_plain_password_count_whether_there_is_a_run_or_not(
    world: World, spent: list[int]
) -> None:
    plain_users = UserAuth(
        users={name: (HashedSecret(value=secrets.hash_token(name)),) for name in ("ann", "bob")}
    )
    await world.publish(api("a/plain", plain_users), api("a/token", TOKEN), api("a/cheap", CHEAP))
    ann = {"user": "ann", "password": "ann"}
    plain = (await world.call("a/plain", **ann)).uid
    token = (await world.call("a/token", token="123456")).uid
    cheap = (await world.call("a/cheap", user="ann", password="right")).uid
    spent.clear()
    for uid in (plain, token, cheap, "1"):
        world.client = (f"on {uid}", 1)
        wrong = {"user": "bob", "password": "wrong"}
        for _ in range(FAILURES):
            assert (await world.ask(f"/v1/runs/{uid}", headers=wrong)).status == 404
        for guess in (wrong, {"user": "bob", "password": "bob"}):
            assert (await world.ask(f"/v1/runs/{uid}", headers=guess)).status == 429
        assert (await world.ask(f"/v1/runs/{uid}", headers=ann)).status == (200 if uid == plain else 404)
    world.client = ("192.0.2.1", 1)
    for uid in (token, cheap, "1"):
        for _ in range(2 * FAILURES):
            right = {"user": "bob", "password": "bob"}
            assert (await world.ask(f"/v1/runs/{uid}", headers=right)).status == 404


async def test_beside_a_valid_credential_no_other_one_is_guessed(
    world: World, spent: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", SECRET)
    jwt: JwtAuth[StoredSecret] = JwtAuth(secret=(EnvSecret(name="SECRET"),), issuer=ISSUER)
    plain_users = UserAuth(
        users={name: (HashedSecret(value=secrets.hash_token(name)),) for name in ("ann", "bob")}
    )
    await world.publish(api("a/plain", plain_users), api("a/token", TOKEN), api("a/jwt", jwt))
    uid = (await world.call("a/plain", user="ann", password="ann")).uid
    known = {"token": "123456", "user": "bob", "password": "bob"}
    assert (await world.ask(f"/v1/runs/{uid}", headers=known)).status == 404
    statuses = []
    for number in range(FAILURES + 1):
        new = {"authorization": f"Bearer {token('HS256', sub=str(number))}", "user": "bob", "password": "no"}
        statuses.append((await world.ask(f"/v1/runs/{uid}", headers=new)).status)
    assert statuses == [404] * FAILURES + [429]
    assert spent == []


async def test_right_credentials_of_another_api_are_neither_counted_nor_hashed(
    world: World, spent: list[int]
) -> None:
    """They may be of a run that has expired: whoever polls it must not lock out those of the same address."""
    await world.publish(api("a/token", TOKEN), api("a/cheap", CHEAP), api("a/costly", COSTLY))
    bob = {"user": "bob", "password": "right"}
    costly, tokens = (
        (await world.call("a/costly", **bob)).uid,
        (await world.call("a/token", token="123456")).uid,
    )
    spent.clear()
    for right, uids in (({"token": "123456"}, (costly, "1")), (bob, (tokens, "1"))):
        for uid in uids:
            replies = [await world.ask(f"/v1/runs/{uid}", headers=right) for _ in range(FAILURES + 1)]
            assert {reply.status for reply in replies} == {404}
    assert spent == []
    assert (await world.call("a/cheap", user="ann", password="right")).status == 202


async def test_a_token_that_may_be_that_of_a_slow_api_too_is_hashed_once(
    world: World, spent: list[int]
) -> None:
    await world.publish(api("a/token", TOKEN), api("a/slow", SLOW_TOKEN))
    slow = (await world.call("a/slow", token="right")).uid
    table = world.live.table
    assert table is not None
    (tokens,) = table.routes["a/slow"].authenticator.forms
    assert isinstance(tokens, Tokens)
    for uid in (slow, "1"):
        tokens._verifier._ruled_out.clear()
        spent.clear()
        replies = [
            await world.ask(f"/v1/runs/{uid}", headers={"token": "123456"}) for _ in range(2 * FAILURES)
        ]
        assert ({reply.status for reply in replies}, spent) == ({404}, [64])
    assert (await world.call("a/slow", token="right")).status == 202


async def test_a_forged_jwt_costs_the_same_whether_or_not_the_run_exists(
    world: World, spent: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if tokens of the API, which a JWT is not compared with, have Argon2 hashes."""
    monkeypatch.setenv("SECRET", SECRET)
    jwt: JwtAuth[StoredSecret] = JwtAuth(secret=(EnvSecret(name="SECRET"),), issuer=ISSUER)
    await world.publish(api("a/slow", AnyAuth(any=(SLOW_TOKEN, jwt))))
    uid = (await world.call("a/slow", token="right")).uid
    costs: dict[str, list[int]] = {}
    for each in (uid, "1"):
        spent.clear()
        headers = {"authorization": f"Bearer {token('HS256', key=b'x' * 32)}"}
        assert (await world.ask(f"/v1/runs/{each}", headers=headers)).status == 404
        costs[each] = list(spent)
    assert costs[uid] == costs["1"] == [64]


async def test_one_password_at_two_apis_opens_the_runs_of_both(world: World) -> None:
    one, two = (UserAuth(users={"ann": (hashed(size),)}) for size in (16, 24))
    either = AnyAuth(any=(NoAuth(), TOKEN))
    await world.publish(api("a/one", one), api("a/two", two), api("o/o", either))
    ann = {"user": "ann", "password": "right"}
    uid, open_to_all = (await world.call("a/one", **ann)).uid, (await world.call("o/o")).uid
    await world.publish(api("a/two", two), api("o/o", either))
    await world.publish(api("a/one", one), api("a/two", two), api("o/o", either))
    await world.call("a/two", **ann)
    assert (await world.ask(f"/v1/runs/{uid}", headers=ann)).status == 200
    assert (await world.ask(f"/v1/runs/{open_to_all}", headers=ann)).status == 200


async def test_wrong_credentials_read_no_more_of_a_run_than_missing_ones(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.publish(api("a/token", TOKEN))
    own = {"token": "123456"}
    live, over = [(await world.call("a/token", NOISE, **own)).uid for _ in range(2)]
    await world.finish(over, output=NOISE)
    parked = (await world.call("a/token", **own)).uid
    claim = await world.claim(parked)
    due_ms = claim.created_at_ms + 600_000
    await world.store.leases.commit([commit(claim, "park", due_ms=due_ms)])
    run = Connection.run
    read: list[tuple[str, int]] = []

    async def spied(self: Connection, name: str, *arguments: Argument, attempts: int = 2) -> Any:
        answer = await run(self, name, *arguments, attempts=attempts)
        read.append((name, len(msgspec.msgpack.encode(answer))))
        return answer

    monkeypatch.setattr(Connection, "run", spied)
    for wrong in ({"token": "other"}, {}):
        for uid in (live, parked, over, "1"):
            read.clear()
            assert (await world.ask(f"/v1/runs/{uid}", headers=wrong)).status == 404
            ((name, size),) = read
            assert name == "api_of"
            assert size < 20
    assert (await world.ask(f"/v1/runs/{over}", headers=own)).json["output"] == msgspec.json.decode(NOISE)
    # The first look at a large run reads its size, the second one its data.
    assert [name for name, _ in read[-3:]] == ["api_of", "show", "show"]
