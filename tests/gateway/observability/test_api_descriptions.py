"""The documents of the APIs: exactly the enabled ones, complete, and without secrets."""

from __future__ import annotations

import html
import json
import re
import shlex
from typing import Any

import msgspec
import pytest

from iogate.auth.model import EnvSecret, SignatureAuth, StoredSecret
from iogate.compiler.examples.schema_examples import example_value
from iogate.compiler.revision import Example, Files
from iogate.store.store import Store
from tests.gateway.driver import TOKEN, USER, Reply, World, api, opened
from tests.gateway.pages.test_page import Reading

SCHEMA = {
    "type": "object",
    "required": ["sku"],
    "properties": {"sku": {"$ref": "#/$defs/sku"}, "more": {"type": "array", "items": {"$ref": "#"}}},
    "$defs": {"sku": {"type": "string", "minLength": 2}},
}
BUY = api(
    "shop/buy",
    TOKEN,
    description="Buy <b>one</b>",
    input_schema=SCHEMA,
    path="/hooks/buy",
    mode="sync",
    tags=("sales",),
    examples=(
        Example(name="a case", verb="POST", body={"sku": "A-1"}, output={"ok": True}),
        Example(name="by query", verb="GET", query={"sku": "A 2"}),
    ),
)
LOGIN = api("shop/login", USER, verbs=("POST",), input_schema={"type": "array"})


async def document(world: World, *apis: Any) -> dict[str, Any]:
    await world.publish(*apis)
    reply = await world.ask("/openapi.json")
    assert reply.status == 200
    found: dict[str, Any] = json.loads(reply.body)
    return found


async def test_exactly_the_enabled_apis_are_described(world: World) -> None:
    found = await document(
        world, BUY, LOGIN, api("shop/off", enabled=False), api("shop/hidden", enabled=None)
    )
    described = {path for path in found["paths"] if not path.startswith(("/v1/runs", "/v1/links"))}
    assert described == {
        "/v1/api/shop/buy/async",
        "/v1/api/shop/buy/sync",
        "/hooks/buy",
        "/v1/api/shop/login/async",
        "/v1/api/shop/login/sync",
    }
    await world.store.gates.set_enabled(["shop/hidden"], True, author="ann")
    await world.refresher.reload()
    paths = json.loads((await world.ask("/openapi.json")).body)["paths"]
    assert paths.keys() - found["paths"].keys() == {
        "/v1/api/shop/hidden/async",
        "/v1/api/shop/hidden/sync",
    }


async def test_ids_are_unique_and_every_reference_leads_somewhere(world: World) -> None:
    found = await document(world, BUY, LOGIN)
    operations = [each for item in found["paths"].values() for each in item.values()]
    assert len({each["operationId"] for each in operations}) == len(operations)
    for reference in re.findall(r'"\$ref":"#/([^"]*)"', msgspec.json.encode(found).decode()):
        value: Any = found
        for step in reference.split("/"):
            value = value[step]
    assert "shop.buy.post.path" in {each["operationId"] for each in operations}


async def test_a_schema_with_references_means_the_same_in_the_document(world: World) -> None:
    found = await document(world, BUY)
    schema = found["components"]["schemas"]["shop.buy.input"]
    whole = {**schema, "components": found["components"]}
    assert example_value(whole) == {"sku": "example"}
    import jsonschema_rs

    validator = jsonschema_rs.validator_for(whole)
    assert validator.is_valid({"sku": "ab", "more": [{"sku": "cd"}]})
    assert not validator.is_valid({"sku": "ab", "more": [{"sku": "c"}]})
    operation = found["paths"]["/v1/api/shop/buy/async"]["post"]
    assert operation["requestBody"]["required"] is True
    assert operation["requestBody"]["content"].keys() == {"application/json"}, "a list of objects is no field"
    flat = api("a/b", input_schema={"properties": {"n": {"type": "array", "items": {"type": "string"}}}})
    body = (await document(world, flat))["paths"]["/v1/api/a/b/async"]["post"]["requestBody"]
    assert body["content"].keys() == {
        "application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    }
    either = api("a/c", input_schema={"oneOf": [{"type": "object"}, {"type": "array"}]})
    body = (await document(world, either))["paths"]["/v1/api/a/c/async"]["post"]["requestBody"]
    assert body["content"].keys() == {"application/json"}
    listed = (await document(world, LOGIN))["paths"]["/v1/api/shop/login/async"]["post"]["requestBody"]
    assert listed["content"].keys() == {"application/json"}, "a list is no form"


async def test_files_are_binary_fields_of_a_form(world: World) -> None:
    photo = {"type": "object", "format": "binary", "description": "A scan"}
    known = {"type": "object", "properties": {"sha256": {"type": "string"}}}
    properties = {
        "n": {"type": "integer"},
        "photo": photo,
        "more": {"type": "array", "items": known, "maxItems": 2},
    }
    schema = {"type": "object", "required": ["photo"], "properties": properties}
    upload = api("a/b", input_schema=schema, files=Files(size=1024, total=1024, count=1))
    raw = api("a/c", input_from="request", raw=True)
    paths = (await document(world, upload, raw))["paths"]
    content = paths["/v1/api/a/b/async"]["post"]["requestBody"]["content"]
    binary = {"type": "string", "format": "binary"}
    assert content["multipart/form-data"]["schema"] == {
        **schema,
        "properties": {
            "n": {"type": "integer"},
            "photo": binary | {"description": "A scan"},
            "more": {"type": "array", "items": binary, "maxItems": 2},
        },
    }
    assert content.keys() == {"multipart/form-data"}, "JSON has no file"
    optional = api(
        "a/b", input_schema={"properties": properties}, files=Files(size=1024, total=1024, count=1)
    )
    other = (await document(world, optional, raw))["paths"]["/v1/api/a/b/async"]["post"]["requestBody"][
        "content"
    ]
    assert list(other)[:2] == ["multipart/form-data", "application/json"]
    assert "*/*" in paths["/v1/api/a/c/async"]["post"]["requestBody"]["content"]
    lines = commands(await world.ask("/docs"))
    assert ["curl", "-F", "more=@FILE", "-F", "photo=@FILE"] in [each[:-1] for each in lines]
    raw_call = ["curl", "-H", "Content-Type: application/octet-stream", "--data-binary", "@FILE"]
    assert raw_call in [each[:-1] for each in lines]


async def test_examples_are_those_of_the_debug_cases(world: World) -> None:
    paths = (await document(world, BUY))["paths"]
    post, get = paths["/hooks/buy"]["post"], paths["/hooks/buy"]["get"]
    assert post["requestBody"]["content"]["application/json"]["examples"] == {
        "a case": {"value": {"sku": "A-1"}}
    }
    shown = post["responses"]["200"]["content"]["application/json"]["examples"]["a case"]["value"]
    assert shown["response"]["data"] == {"ok": True}
    (sku,) = [each for each in get["parameters"] if each["name"] == "sku"]
    assert (sku["required"], sku["examples"]) == (True, {"by query": {"value": "A 2"}})


async def test_an_example_changes_without_a_new_route(world: World) -> None:
    before = await document(world, BUY)
    route = world.live.table and world.live.table.routes["shop/buy"]
    after = await document(world, msgspec.structs.replace(BUY, examples=msgspec.UNSET))
    assert before != after
    assert world.live.table is not None
    assert world.live.table.routes["shop/buy"] is route, "rates and credentials are kept"


@pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
async def test_an_entity_tag_saves_the_second_transfer(world: World, path: str) -> None:
    await world.publish(BUY)
    first = await world.ask(path)
    assert first.headers["cache-control"] == "no-cache"
    for tag in (first.headers["etag"], f"W/{first.headers['etag']}", f'"x", {first.headers["etag"]}', "*"):
        again = await world.ask(path, headers={"if-none-match": tag})
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", first.headers["etag"])
    await world.publish(BUY, LOGIN)
    changed = await world.ask(path, headers={"if-none-match": first.headers["etag"]})
    assert changed.status == 200
    assert changed.headers["etag"] != first.headers["etag"]
    assert (await world.ask(path, "HEAD")).status == 200
    assert (await world.ask(path, "POST")).status == 405


async def test_without_a_revision_nothing_is_described(world: World) -> None:
    for path in ("/openapi.json", "/docs"):
        assert (await world.ask(path)).code == "serverError.unavailable"


def commands(page: Reply) -> list[list[str]]:
    shown = re.findall(r'<pre aria-label="Example call"><code>(.*?)</code>', page.body.decode())
    return [shlex.split(html.unescape(line)) for line in shown]


async def test_the_page_describes_each_operation_with_a_command(world: World) -> None:
    paths = (await document(world, BUY, LOGIN))["paths"]
    page = await world.ask("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "script" not in page.headers["content-security-policy"]
    reading = Reading(page.body.decode())
    assert not {name for name, _ in reading.elements} & {"script", "img", "link", "iframe"}
    ids = {attributes["id"] for _, attributes in reading.elements if "id" in attributes}
    targets = {str(attributes["href"]) for name, attributes in reading.elements if name == "a"}
    assert targets - {f"#{each}" for each in ids} == {"/openapi.json"}
    assert len(commands(page)) == sum(len(item) for item in paths.values())
    sections = [name for name, _ in reading.elements if name == "section"]
    assert len(sections) == sum(len(item) for item in paths.values())
    assert "Buy <b>one</b>" in reading.text, "text is no markup"
    assert "/$defs/sku" in reading.text


async def test_the_command_of_the_page_can_be_called(world: World) -> None:
    await world.publish(BUY)
    lines = commands(await world.ask("/docs"))
    (post,) = [each for each in lines if each[-1].endswith("/v1/api/shop/buy/async") and "-d" in each]
    assert post[:3] == ["curl", "-H", "token: $TOKEN"]
    body = post[post.index("-d") + 1]
    reply = await world.ask(
        "/v1/api/shop/buy/async",
        "POST",
        {"token": "123456", "content-type": "application/x-www-form-urlencoded"},
        body.encode(),
    )
    assert reply.status == 202


async def test_the_command_of_a_signed_call_names_the_header_of_the_signature(world: World) -> None:
    hooks = SignatureAuth[StoredSecret](scheme="github", caller="github", secrets=(EnvSecret(name="HOOK"),))
    await world.publish(api("hooks/in", hooks, verbs=("POST",)))
    page = html.unescape((await world.ask("/docs")).body.decode())
    assert 'curl -H "X-Hub-Signature-256: $CREDENTIALS"' in page


async def test_sending_events_is_described_if_it_is_open(store: Store) -> None:
    async with opened(store, senders=TOKEN) as world:
        found = await document(world, BUY)
        assert "/v1/events" in found["paths"]
        assert ["curl", "-H", "token: $TOKEN", "-H"] in [
            each[:4]
            for each in commands(await world.ask("/docs"))
            if each[-1].endswith("/v1/events") or "-d" in each
        ]


async def test_no_credential_is_described(world: World) -> None:
    await world.publish(BUY, LOGIN)
    for path in ("/openapi.json", "/docs"):
        text = (await world.ask(path)).body.decode()
        for secret in ("sha256:", "argon2", "123456", "iolinker"):
            assert secret not in text
