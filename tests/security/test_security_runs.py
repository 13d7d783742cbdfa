"""A run shows nothing, not even that it exists, to the credentials of another API."""

from __future__ import annotations

import pytest

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
