"""The runs of an API are shown to the JWTs that it accepts, and to no others, with one count per failure."""

from __future__ import annotations

from pathlib import Path

import pytest

from iogate.auth.model import AnyAuth, FileSecret, JwtAuth, StoredSecret
from iogate.security.failure_limit import FAILURES
from tests.gateway.authentication.tokens import AUDIENCE, ISSUER, private_key, public_pem, token
from tests.gateway.driver import TOKEN, USER, World, api


@pytest.fixture
def key(tmp_path: Path) -> FileSecret:
    file = tmp_path / "key.pem"
    file.write_text(public_pem("p256"))
    return FileSecret(path=str(file))


def jwt(key: FileSecret, audience: str = AUDIENCE) -> JwtAuth[StoredSecret]:
    return JwtAuth(issuer=ISSUER, audience=(audience,), key=(key,))


def bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


async def test_a_caller_sees_and_cancels_its_runs_with_a_jwt(public_world: World, key: FileSecret) -> None:
    world = public_world
    await world.publish(api("a/a", jwt(key)), api("b/b", jwt(key, "other")), api("c/c", TOKEN))
    accepted = await world.call("a/a", **bearer(token()))
    run = f"/v1/runs/{accepted.uid}"
    shown = await world.ask(run, headers=bearer(token()))
    assert (shown.status, shown.json["caller"]) == (200, "ada")
    fresh = token(jti="another token of the caller, not seen before")
    assert (await world.ask(run, headers=bearer(fresh))).status == 200
    for wrong in (
        token(aud="other"),
        token(exp=1),
        token(key=private_key("p256", 1)),
        "a.b.c",
        "opaque",
    ):
        assert (await world.ask(run, headers=bearer(wrong))).status == 404
    assert (await world.ask(run, headers={"token": "123456"})).status == 404
    assert (await world.ask(run)).status == 404
    other = await world.call("c/c", token="123456")
    assert (await world.ask(f"/v1/runs/{other.uid}", headers=bearer(token()))).status == 404
    assert (await world.ask(f"{run}/cancel", "POST", bearer(token()))).status == 202


@pytest.mark.parametrize("more", [[], [api("u/u", USER)]], ids=["jwts alone", "passwords too"])
async def test_whether_a_run_exists_is_not_seen_from_the_count_of_failures(
    more: list[object], public_world: World, key: FileSecret
) -> None:
    world = public_world
    await world.publish(
        api("a/a", jwt(key)),
        api("b/b", AnyAuth(any=(TOKEN, jwt(key)))),
        api("c/c", TOKEN),
        *more,  # type: ignore[arg-type]
    )
    uids = [
        (await world.call("a/a", **bearer(token()))).uid,
        (await world.call("b/b", token="123456")).uid,
        (await world.call("c/c", token="123456")).uid,
        "1",
    ]
    forged = token(key=private_key("p256", 1))
    for number, uid in enumerate(uids):
        world.client = (f"192.0.2.{number}", 1)
        found = [
            (await world.ask(f"/v1/runs/{uid}", headers=bearer(forged))).status for _ in range(FAILURES + 1)
        ]
        assert found == [404] * FAILURES + [429], uid


async def test_a_token_of_another_api_is_no_failure(public_world: World, key: FileSecret) -> None:
    world = public_world
    await world.publish(api("a/a", jwt(key)), api("b/b", jwt(key, "other")))
    accepted = await world.call("b/b", **bearer(token(aud="other")))
    for number in range(FAILURES + 5):
        sent = bearer(token(jti=str(number)))
        assert (await world.ask(f"/v1/runs/{accepted.uid}", headers=sent)).status == 404
        assert (await world.ask("/v1/runs/1", headers=sent)).status == 404


async def test_a_token_that_no_key_can_verify_now_is_no_failure(public_world: World, key: FileSecret) -> None:
    world = public_world
    await world.publish(api("a/a", jwt(key)), api("c/c", TOKEN))
    accepted = await world.call("a/a", **bearer(token()))
    await world.publish(api("a/a", jwt(FileSecret(path="/missing"))), api("c/c", TOKEN))
    for number in range(FAILURES + 5):
        sent = bearer(token(jti=str(number)))
        for uid in (accepted.uid, "1"):
            shown = await world.ask(f"/v1/runs/{uid}", headers=sent)
            assert (shown.status, shown.headers["retry-after"]) == (503, "1")
            assert shown.message == "The keys that verify tokens are not available on this gateway"
    await world.publish(api("a/a", jwt(key)), api("c/c", TOKEN))
    shown = await world.ask(f"/v1/runs/{accepted.uid}", headers=bearer(token(jti="new")))
    assert (shown.status, shown.json["caller"]) == (200, "ada")
