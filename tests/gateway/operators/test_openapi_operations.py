"""`/openapi.json` describes exactly the routes of operators, and only if there are operators."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest

from iogate.gateway.operators.operation import Operation
from iogate.gateway.operators.operations import OPERATIONS
from tests.gateway.driver import TOKEN, World, api
from tests.gateway.observability.documented import undocumented
from tests.gateway.operators.conftest import ROLES, bearer
from tests.gateway.operators.test_operator_api import path_of


async def described(world: World) -> dict[str, Any]:
    reply = await world.ask("/openapi.json")
    assert reply.status == 200
    found: dict[str, Any] = json.loads(reply.body)
    return found


def of_operators(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (verb.upper(), path): operation
        for path, item in document["paths"].items()
        for verb, operation in item.items()
        if isinstance(operation, dict) and "operator" in operation.get("tags", ())
    }


async def test_exactly_the_declared_routes_are_described(operated: World) -> None:
    await operated.publish(api("shop/order", TOKEN))
    document = await described(operated)
    found = of_operators(document)
    assert found.keys() == {(each.method, each.path) for each in OPERATIONS}
    ids = [operation["operationId"] for item in document["paths"].values() for operation in item.values()]
    assert len(set(ids)) == len(ids)
    for operation in OPERATIONS:
        shown = found[operation.method, operation.path]
        assert {"operator": []} in shown["security"]
        assert f"role {operation.role}." in shown["description"]
        given = {(each["in"], each["name"]): each for each in shown["parameters"]}
        assert len(given) == len(shown["parameters"]), "no parameter is there twice"
        assert set(operation.names) == {name for where, name in given if where == "path"}
        assert (("header", "Idempotency-Key") in given) == operation.changes
        assert (("header", "If-Match") in given) == operation.takes_version
        assert ("412" in shown["responses"]) == (operation.takes_version or operation.names_version)
        assert ("428" in shown["responses"]) == operation.takes_version
        if operation.reads_body:
            schema = shown["requestBody"]["content"]["application/json"]["schema"]
            assert set(schema["properties"]) == {*operation.body, *(["reason"] if operation.changes else [])}
            needs_reason = operation.changes and not operation.has_dry_run
            assert ("reason" in schema.get("required", ())) == needs_reason
            validator = jsonschema_rs.validator_for(schema)
            if operation.has_dry_run:
                needed = dict.fromkeys(schema["required"], "retry")
                assert not validator.is_valid(needed), "only a dry run needs no reason"
                assert validator.is_valid(needed | {"dry_run": True})
        else:
            named = {name for where, name in given if where == "query"}
            assert set(operation.query) <= named
            assert ("reason" in named) == operation.changes


async def test_without_operators_nothing_of_them_is_described(world: World) -> None:
    await world.publish(api("shop/order", TOKEN))
    document = await described(world)
    assert of_operators(document) == {}
    assert "operator" not in json.dumps(document["components"])


async def test_the_page_for_callers_does_not_describe_them(operated: World) -> None:
    await operated.publish(api("shop/order", TOKEN))
    page = await operated.ask("/docs")
    assert page.status == 200
    assert b"/v1/activity" not in page.body


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.name)
async def test_responses_are_as_described(operated: World, operation: Operation) -> None:
    await operated.publish(api("shop/order", TOKEN))
    document = await described(operated)
    requests = [{}, {"authorization": "Bearer wrong"}, *(bearer(role) for role in ROLES)]
    requests.append(bearer("admin", idempotency_key="x" * 300))
    for headers in requests:
        if operation.is_shared and "authorization" not in headers:
            continue
        for query, body in (("", b""), ("?nothing=1", b'{"nothing": 1}')):
            path = path_of(operation)
            reply = await operated.ask(path + query, operation.method, headers, body)
            fault = undocumented(
                document, operation.path, operation.method, reply.status, reply.headers, reply.body
            )
            assert not fault, reply.body
