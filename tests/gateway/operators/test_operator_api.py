"""Every route of operators: credentials, roles, parameters, idempotency, and the record of a change."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from iogate.errors import NotFound, Refused
from iogate.gateway.operators.operation import Call, Operation
from iogate.gateway.operators.operations import OPERATIONS
from iogate.operators.activity import ACTIONS, target
from iogate.operators.roles import Role
from iogate.security.failure_limit import FAILURES
from iogate.store import keys
from iogate.store.store import Store
from iogate.value_types.collection_types import Key
from iogate.value_types.scalar_types import number
from tests.gateway.driver import World, opened
from tests.gateway.operators.conftest import OPERATORS, ROLES, bearer, refusal, token


def path_of(operation: Operation) -> str:
    path = operation.path
    for name in operation.names:
        path = path.replace(f"{{{name}}}", "1")
    return path


def test_each_operation_has_a_unique_name_and_each_change_a_target() -> None:
    names = [each.name for each in OPERATIONS]
    assert len(set(names)) == len(names)
    for each in OPERATIONS:
        assert isinstance(each.role, Role), each.name
        assert each.changes == (each.method != "GET" and each.name != "revisions.plan"), each.name
        assert each.changes == (each.target is not None), each.name
        assert not each.changes or each.role >= Role.OPERATE, each.name
        assert each.summary, each.name
        parameters = each.body if each.reads_body else each.query
        assert all(key.description for key in parameters.values()), each.name


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.name)
async def test_each_route_takes_its_role(operated: World, operation: Operation) -> None:
    await operated.publish()
    path = path_of(operation)
    for role in ROLES:
        reply = await operated.ask(path, operation.method, bearer(role), b"")
        if Role.of(role) < operation.role:
            assert refusal(reply) == (
                403,
                "requestError.forbidden",
                f"This takes the role {operation.role}; operator {role}er has the role {role}",
            )
        else:
            assert reply.status not in (401, 403), (role, reply.body)
        assert reply.headers["cache-control"] == "no-store"
    if operation.is_shared:
        return
    for headers, message in (
        ({}, "The token of an operator is required: Authorization: Bearer TOKEN"),
        ({"token": token("admin")}, "The token of an operator is required: Authorization: Bearer TOKEN"),
        ({"authorization": "Bearer wrong"}, "Token is invalid"),
    ):
        reply = await operated.ask(path, operation.method, headers)
        assert refusal(reply) == (401, "requestError.unauthorized", message)
        assert reply.headers["www-authenticate"] == 'Bearer realm="iogate"'


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.name)
async def test_without_the_setting_every_route_is_absent(world: World, operation: Operation) -> None:
    reply = await world.ask(path_of(operation), operation.method, bearer("admin"))
    if operation.is_shared:
        assert reply.status in (404, 503)
    else:
        assert reply.status in (404, 405)


async def test_an_address_that_guesses_waits(operated: World) -> None:
    operated.client = ("192.0.2.9", 1)
    wrong = {"authorization": "Bearer guess"}
    replies = [await operated.ask("/v1/activity", headers=wrong) for _ in range(FAILURES + 1)]
    assert [reply.status for reply in replies] == [401] * FAILURES + [429]
    assert refusal(await operated.ask("/v1/activity", headers=bearer("read"))) == (
        429,
        "requestError.tooManyRequests",
        "Too many wrong credentials; retry in 1 s",
    )
    operated.client = ("192.0.2.10", 1)
    assert (await operated.ask("/v1/activity", headers=bearer("read"))).status == 200


async def test_two_tokens_are_an_error(operated: World) -> None:
    both = [("authorization", f"Bearer {token(role)}") for role in ("read", "admin")]
    reply = await operated.ask("/v1/activity", headers=both)
    assert refusal(reply) == (
        400,
        "requestError.invalidParams",
        "The header authorization is given more than once",
    )


# A change of its own, so that these tests do not depend on what a resource does.

CHANGED: list[str] = []


async def _change(call: Call) -> Any:
    if call.given["times"] == 13:
        raise Refused("13 is refused", hint="take 12")
    if call.given["times"] == 14:
        raise NotFound("no 14")
    if call.given["times"] == 15:
        raise AssertionError("a defect with token-in-a-defect")
    await asyncio.sleep(call.given["times"] / 1000)
    CHANGED.append(call.path["thing"])
    call.record.note = f"changed {call.given['times']} times"
    return {"thing": call.path["thing"], "id": call.id}


async def _remove(_call: Call) -> Any:
    return {}


CHANGE = Operation(
    name="test.change",
    method="POST",
    path="/v1/test/{thing}/change",
    path_types={"thing": "[a-z]+"},
    role=Role.OPERATE,
    summary="Change a thing",
    handler=_change,
    body={"times": Key(type=number(1, 99), description="How often.")},
    action="test.change",
    target=lambda call: target("thing", [call.path["thing"]]),
)
REMOVE = Operation(
    name="test.remove",
    method="DELETE",
    path="/v1/test/{thing}",
    role=Role.ADMIN,
    summary="Remove a thing",
    handler=_remove,
    query={"times": Key(type=number(1, 99), required=False, description="How often.")},
    action="test.remove",
    target=lambda call: target("thing", [call.path["thing"]]),
)


@pytest.fixture
async def changing(store: Store, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr("iogate.gateway.operators.operator_api.OPERATIONS", (*OPERATIONS, CHANGE, REMOVE))
    CHANGED.clear()
    async with opened(store, loopback=False, operators=OPERATORS) as world:
        yield world


async def change(world: World, body: Any, thing: str = "door", role: str = "operate", **headers: str) -> Any:
    given = bearer(role, content_type="application/json", **headers)
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await world.ask(f"/v1/test/{thing}/change", "POST", given, data)


VALID = {"times": 2, "reason": "the door squeaks"}


async def activity(world: World, query: str = "") -> list[dict[str, Any]]:
    reply = await world.ask(f"/v1/activity{query}", headers=bearer("read"))
    assert reply.status == 200, reply.body
    found: list[dict[str, Any]] = reply.json["activity"]
    return found


async def test_a_change_is_recorded_with_author_reason_and_outcome(changing: World) -> None:
    changing.client = ("192.0.2.1", 1)
    reply = await change(changing, VALID)
    assert (reply.status, reply.json["thing"]) == (200, "door")
    (entry,) = await activity(changing)
    assert entry["at"] <= entry["endedAt"]
    assert {name: value for name, value in entry.items() if name not in ("id", "at", "endedAt")} == {
        "operator": "operateer",
        "role": "operate",
        "via": "http",
        "from": "192.0.2.1",
        "action": "test.change",
        "target": {"type": "thing", "ids": ["door"], "count": 1},
        "revision": None,
        "reason": "the door squeaks",
        "outcome": "done",
        "message": "changed 2 times",
    }


async def test_refused_missing_and_broken_changes_are_recorded_as_such(
    changing: World, caplog: pytest.LogCaptureFixture
) -> None:
    assert refusal(await change(changing, VALID | {"times": 13})) == (
        409,
        "requestError.conflict",
        "13 is refused; take 12",
    )
    assert refusal(await change(changing, VALID | {"times": 14})) == (404, "requestError.notFound", "no 14")
    with caplog.at_level(logging.CRITICAL):
        broken = await change(changing, VALID | {"times": 15})
    assert refusal(broken)[0] == 500
    assert b"token-in-a-defect" not in broken.body
    assert [(each["outcome"], each["message"]) for each in await activity(changing)] == [
        ("failed", None),
        ("refused", "no 14"),
        ("refused", "13 is refused"),
    ]


async def test_a_change_that_was_cut_off_stays_visible(changing: World) -> None:
    """As if the process had died in between."""
    from iogate.store.operators.activity import Beginning

    await changing.store.activity.begin(
        Beginning(actor="eve", role="admin", via="http", origin="h", action="test.change")
    )
    (entry,) = await activity(changing)
    assert (entry["outcome"], entry["endedAt"]) == ("started", None)


LONG = "x" * 501


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"times": 2}, "The member reason of the body is missing"),
        ({}, "The member times of the body is missing; The member reason of the body is missing"),
        (b"", "The member times of the body is missing; The member reason of the body is missing"),
        (VALID | {"reason": " "}, "The member reason of the body must be a text of 1 to 500 characters"),
        (VALID | {"reason": LONG}, "The member reason of the body must be a text of 1 to 500 characters"),
        (VALID | {"times": "2"}, "The member times of the body must be a whole number from 1 to 99"),
        (
            VALID | {"tiems": 2},
            'Unknown member of the body "tiems"; did you mean "times"?',
        ),
        (VALID | {"zzz": 2}, 'Unknown member of the body "zzz"; expected times and reason'),
        ([], "The body must be a JSON object"),
        (b"{", "The body is not JSON: input data was truncated"),
        (b'{"a": 1, "a": 2}', 'The body is not JSON: the key "a" appears twice in one object'),
    ],
)
async def test_a_wrong_body_is_described_and_changes_nothing(
    changing: World, body: Any, message: str
) -> None:
    assert refusal(await change(changing, body)) == (400, "requestError.invalidParams", message)
    assert CHANGED == []
    assert await activity(changing) == []


async def test_other_content_types_and_large_bodies_are_refused(changing: World) -> None:
    given = bearer("operate", content_type="text/plain")
    reply = await changing.ask("/v1/test/door/change", "POST", given, b"x")
    assert refusal(reply) == (
        415,
        "requestError.unsupportedMediaType",
        "The content type text/plain is not supported; expected application/json",
    )
    assert (await change(changing, b" " * 70_000)).status == 413
    curl = bearer("operate", content_type="application/x-www-form-urlencoded")
    body = json.dumps(VALID).encode()
    assert (await changing.ask("/v1/test/door/change", "POST", curl, body)).status == 200
    assert changing.live.bodies.held == 0


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("limti=1", 'Unknown query parameter "limti"; did you mean "limit"?'),
        ("limit=0", "The query parameter limit must be a whole number from 1 to 100"),
        ("limit=1&limit=2", 'The query parameter "limit" is given more than once'),
        (
            "since=yesterday",
            "The query parameter since must be how long ago, such as 1h or 7d, or a date and time, such as "
            "2026-01-31 or 2026-01-31T09:30",
        ),
        ("cursor=%20", "The query parameter cursor must be a cursor of an earlier page"),
        ("cursor=abc", "the cursor is not one that a page of activity has returned"),
    ],
)
async def test_a_wrong_query_is_described(operated: World, query: str, message: str) -> None:
    reply = await operated.ask(f"/v1/activity?{query}", headers=bearer("read"))
    assert refusal(reply) == (400, "requestError.invalidParams", message)


async def test_a_deletion_takes_its_reason_in_the_query(changing: World) -> None:
    reply = await changing.ask("/v1/test/door", "DELETE", bearer("admin"))
    assert refusal(reply)[2] == "The query parameter reason is missing"
    reply = await changing.ask("/v1/test/door?reason=old&times=3", "DELETE", bearer("admin"))
    assert reply.status == 200
    assert [each["reason"] for each in await activity(changing)] == ["old"]


async def test_a_path_of_another_form_is_not_found(changing: World) -> None:
    assert refusal(await change(changing, VALID, "D00R"))[0] == 404


async def test_a_repeated_key_gets_the_first_response_and_changes_nothing(changing: World) -> None:
    first = await change(changing, VALID, idempotency_key="k1")
    again = await change(changing, VALID, idempotency_key="k1")
    assert (again.status, again.json) == (first.status, first.json)
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert CHANGED == ["door"]
    assert refusal(await change(changing, VALID, "gate", idempotency_key="k1")) == (
        422,
        "requestError.idempotencyMismatch",
        "This Idempotency-Key was used for another request",
    )
    assert (await change(changing, VALID, role="admin", idempotency_key="k1")).status == 200
    assert len(CHANGED) == 2, "another operator has keys of its own"
    refused = await change(changing, VALID | {"times": 13}, idempotency_key="k2")
    again = await change(changing, VALID | {"times": 13}, idempotency_key="k2")
    assert (refused.status, again.status, again.body) == (409, 409, refused.body)
    assert again.headers["idempotent-replayed"] == "true"
    assert len(await activity(changing)) == 3, "a repetition is no change"
    (ttl,) = {await changing.store.call("TTL", key) for key in await all_replies(changing)}
    assert 86_000 < ttl <= keys.REPLY_S


async def all_replies(world: World) -> list[bytes]:
    _, found = await world.store.call("SCAN", 0, "MATCH", f"{keys.REPLY}*", "COUNT", 10_000)
    return list(found)


async def test_of_concurrent_requests_with_one_key_one_is_executed(changing: World) -> None:
    slow = VALID | {"times": 99}
    replies = await asyncio.gather(*(change(changing, slow, idempotency_key="k") for _ in range(5)))
    assert sorted(reply.status for reply in replies) == [200, 409, 409, 409, 409]
    (pending, *_) = (reply for reply in replies if reply.status == 409)
    assert pending.message == "A request with this Idempotency-Key is still being executed"
    assert pending.headers["retry-after"] == "1"
    assert CHANGED == ["door"]


async def test_a_failed_request_may_be_repeated_with_its_key(changing: World) -> None:
    await change(changing, VALID | {"times": 15}, idempotency_key="k")
    assert await all_replies(changing) == []
    reply = await change(changing, VALID, idempotency_key="k")
    assert reply.status == 200
    for key in ("", "x" * 256):
        assert (await change(changing, VALID, idempotency_key=key)).status == 400


async def test_controls_and_secrets_of_a_reason_are_not_recorded(changing: World) -> None:
    reason = "\x1b[31mred\u202e \n https://h/v1/links/1.a.2." + "S" * 22 + " password=hunter2"
    assert (await change(changing, VALID | {"reason": reason})).status == 200
    (entry,) = await activity(changing)
    assert entry["reason"] == "[31mred https://h/v1/links/1.a.2.[redacted] password=[redacted]"


def test_the_activity_knows_the_action_of_each_change() -> None:
    of_commands = {"store.drain", "store.resume"}
    assert {each.action for each in OPERATIONS if each.changes} | of_commands == {*ACTIONS}


@pytest.mark.parametrize(
    ("action", "meant"),
    [
        ("retry", '; did you mean "runs.retry"?'),
        ("resume", '; did you mean "runs.resume" or "store.resume"?'),
        ("run.retry", '; did you mean "runs.retry"?'),
        ("shop", ""),
    ],
)
async def test_an_unknown_action_is_refused(operated: World, action: str, meant: str) -> None:
    reply = await operated.ask(f"/v1/activity?action={action}", headers=bearer("read"))
    assert reply.status == 400
    assert reply.message == f'no change has the action "{action}"{meant}; actions: {", ".join(ACTIONS)}'


async def test_activity_is_paged_and_filtered(changing: World) -> None:
    for thing in ("a", "b", "c", "d", "e"):
        await change(changing, VALID, thing, role="operate" if thing in "ace" else "admin")
    await changing.ask("/v1/test/a?reason=old", "DELETE", bearer("admin"))

    def things(entries: list[dict[str, Any]]) -> str:
        return "".join(each["target"]["ids"][0] for each in entries)

    assert things(await activity(changing)) == "aedcba"
    assert things(await activity(changing, "?operator=adminer")) == "adb"
    assert things(await activity(changing, "?action=test.remove")) == "a"
    assert things(await activity(changing, "?action=test")) == "aedcba"
    assert things(await activity(changing, "?action=runs")) == ""
    assert things(await activity(changing, "?target=a")) == "aa"
    assert things(await activity(changing, "?since=1h")) == "aedcba"
    assert things(await activity(changing, "?since=2099-01-01")) == ""
    seen, cursor = "", ""
    while True:
        reply = await changing.ask(f"/v1/activity?limit=2{cursor}", headers=bearer("read"))
        seen += things(reply.json["activity"])
        if reply.json["nextCursor"] is None:
            break
        cursor = f"&cursor={reply.json['nextCursor']}"
        await change(changing, VALID, "z")
    assert seen == "aedcba", "entries that are added meanwhile move no page"


async def test_no_token_is_in_a_log_an_error_or_the_activity(
    changing: World, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        replies = [await change(changing, VALID, role=role) for role in ROLES]
        replies += [await change(changing, {}, role=role) for role in ROLES]
        replies.append(await changing.ask("/v1/activity", headers=bearer("read")))
    shown = caplog.text + b"".join(reply.body for reply in replies).decode()
    stored = b"".join(await changing.store.call("HVALS", keys.ACTIVITY)).decode()
    for role in ROLES:
        assert token(role) not in shown + stored
        assert token(role) not in repr(changing.live.operators)


async def test_options_names_the_methods_of_all_operations_on_a_path(operated: World) -> None:
    methods: dict[str, set[str]] = {}
    for operation in OPERATIONS:
        found = methods.setdefault(path_of(operation), {"OPTIONS"})
        found |= {operation.method, *(["HEAD"] if operation.method == "GET" else [])}
    assert any(len({"GET", "POST"} & found) == 2 for found in methods.values())
    for path, expected in methods.items():
        reply = await operated.ask(path, "OPTIONS")
        assert (reply.status, reply.body) == (204, b"")
        assert set(reply.headers["allow"].split(", ")) == expected, path
