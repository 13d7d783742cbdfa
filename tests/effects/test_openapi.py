"""Calls of OpenAPI operations: documents that are loaded at run time, and the policy for their servers."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

import pytest

from iogate.compiler.openapi import Body, Operation, find
from iogate.compiler.resources.document_sources import plain_data
from iogate.compiler.revision import resource_uri
from iogate.effects import EffectContext, Effects
from iogate.effects.openapi import document_cache
from iogate.engine.commands import Authentication, CallOpenApi
from iogate.settings import Settings
from tests.effects.conftest import Site, do, failure


def document(server: str) -> dict[str, Any]:
    return {
        "openapi": "3.0.0",
        "servers": [{"url": server}],
        "paths": {"/ping": {"get": {"operationId": "ping"}}},
    }


async def stored(_: EffectContext, uri: str) -> bytes:
    if uri != resource_uri("https://docs.example/api.json", "0" * 64):
        raise KeyError(uri)
    return json.dumps(document("/")).encode()


async def test_a_fetched_document_is_cached(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.respond("/api.json", text=json.dumps(document("/v1")))
    site.respond("/v1/ping", text="pong")
    call = CallOpenApi(name="ping", document=f"{site.url}/api.json", fetched=True, computed=True)
    async with Effects(settings=Settings(allow_hosts=("127.0.0.1",))) as effects:
        assert (await do(effects, call)).output == "pong"
        assert (await do(effects, call)).output == "pong"
        assert [seen.path for seen in site.seen] == ["/api.json", "/v1/ping", "/v1/ping"]
        monkeypatch.setattr(document_cache, "MAX_AGE_S", 0.0)
        assert (await do(effects, call)).output == "pong"
        assert site.seen[-2].path == "/api.json"


async def test_documents_are_parsed_off_the_loop_and_large_ones_refused(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parsing may take seconds; a worker whose loop is blocked for ten is killed with all its runs."""
    readers: list[threading.Thread] = []

    def reading(text: str, name: str) -> Any:
        readers.append(threading.current_thread())
        return plain_data(text, name)

    monkeypatch.setattr(document_cache, "plain_data", reading)
    site.respond("/api.json", text=json.dumps(document("/v1")))
    site.respond("/v1/ping", text="pong")
    site.respond("/large.json", text=json.dumps(document("/v1")) + " " * 5 * 2**20)
    call = CallOpenApi(name="ping", document=f"{site.url}/api.json", fetched=True, computed=True)
    async with Effects(settings=Settings(allow_hosts=("127.0.0.1",))) as effects:
        assert (await do(effects, call)).output == "pong"
        large = await do(effects, replace(call, document=f"{site.url}/large.json"))
    assert failure(large)[2] == "the OpenAPI document is over 5 MiB"
    assert len(readers) == 1
    assert readers[0] is not threading.main_thread()


async def test_other_credentials_fetch_the_document_again(site: Site) -> None:
    site.respond("/api.json", text=json.dumps(document("/v1")))
    async with Effects(settings=Settings(allow_hosts=("127.0.0.1",))) as effects:
        for token in ("a", "b"):
            login = Authentication(scheme="bearer", parameters={"token": token})
            call = CallOpenApi(
                name="ping", document=f"{site.url}/api.json", fetched=True, computed=True, presented=login
            )
            assert (await do(effects, call)).error is None
    assert [each.headers.get("Authorization") for each in site.seen] == ["Bearer a", None, "Bearer b", None]


async def test_a_computed_address_must_be_allowed(site: Site) -> None:
    site.respond("/api.json", text=json.dumps(document("/v1")))
    async with Effects(settings=Settings()) as effects:
        call = CallOpenApi(name="ping", document=f"{site.url}/api.json", fetched=True, computed=True)
        kind, _, detail = failure(await do(effects, call))
    assert kind == "authorization"
    assert "allow_hosts" in detail
    assert site.seen == []


async def test_a_document_of_another_host_reaches_no_private_address(site: Site) -> None:
    operation = find(document(site.url), "ping", url="https://docs.example/api.json")
    async with Effects(settings=Settings()) as effects:
        kind, _, detail = failure(await do(effects, CallOpenApi(operation=operation)))
    assert kind == "authorization"
    assert "not a public address" in detail
    assert site.seen == []
    own = find(document(site.url), "ping", url=None)
    async with Effects(settings=Settings()) as effects:
        assert (await do(effects, CallOpenApi(operation=own))).error is None


async def test_a_stored_document_is_read_from_the_revision(site: Site) -> None:
    uri = resource_uri("https://docs.example/api.json", "0" * 64)
    settings = Settings(endpoints={"https://docs.example": site.url})
    async with Effects(settings=settings, resources=stored) as effects:
        assert (await do(effects, CallOpenApi(name="ping", document=uri))).output == {"path": "/ping"}
        kind, _, detail = failure(await do(effects, CallOpenApi(name="pong", document=uri)))
    assert kind == "configuration"
    assert detail == (
        'the OpenAPI document cannot be used: no operation "pong": it has ping; did you mean "ping"?'
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "the OpenAPI document cannot be read: the document:2:1: the YAML does not hold"),
        (b"\xff\xfe", "the OpenAPI document is not UTF-8 text"),
        ("[]", "the OpenAPI document cannot be used: it is no OpenAPI document: a mapping was expected"),
    ],
)
async def test_an_invalid_document_is_a_configuration_error(site: Site, text: str | bytes, why: str) -> None:
    site.respond("/api.json", body=text if isinstance(text, bytes) else text.encode())
    async with Effects(settings=Settings(allow_hosts=("127.0.0.1",))) as effects:
        call = CallOpenApi(name="ping", document=f"{site.url}/api.json", fetched=True, computed=True)
        kind, _, detail = failure(await do(effects, call))
    assert kind == "configuration"
    assert detail.startswith(why)


@pytest.mark.parametrize(
    ("media", "value", "sent"),
    [
        ("application/json", [1], b"[1]"),
        ("application/vnd.api+json", "x", b'"x"'),
        ("text/csv", "a,b", b"a,b"),
        ("application/xml", "<a/>", b"<a/>"),
        ("text/plain", {"a": 1}, b'{"a":1}'),
        ("image/png", "iVBORw==", b"\x89PNG"),
    ],
)
async def test_a_body_is_encoded_in_its_media_type(site: Site, media: str, value: Any, sent: bytes) -> None:
    operation = Operation(id="o", method="POST", url=f"{site.url}/x", body=Body(media=media))
    async with Effects(settings=Settings()) as effects:
        performed = await do(effects, CallOpenApi(operation=operation, parameters={"body": value}))
    assert performed.error is None
    assert site.seen[0].body == sent
    assert site.seen[0].headers["Content-Type"] == media


async def test_a_body_of_bytes_must_be_base64(site: Site) -> None:
    operation = Operation(id="o", method="POST", url=f"{site.url}/x", body=Body(media="image/png"))
    async with Effects(settings=Settings()) as effects:
        call = CallOpenApi(operation=operation, parameters={"body": "not base64"})
        kind, _, detail = failure(await do(effects, call))
    assert kind == "expression"
    assert detail == "a body of image/png is not text, so it must be given in Base64"


async def test_a_null_body_is_reported_as_such(effects: Effects) -> None:
    operation = Operation(
        id="o", method="POST", url="http://h/", body=Body(media="application/json", required=True)
    )
    for parameters, expected in (
        ({"body": None}, 'a body of operation "o" is null, and it is required'),
        ({}, 'operation "o" needs a body, which is not given'),
    ):
        call = CallOpenApi(operation=operation, parameters=parameters)
        assert failure(await do(effects, call))[2] == expected


async def test_objects_in_a_form_are_json(site: Site, effects: Effects) -> None:
    media = "application/x-www-form-urlencoded"
    operation = Operation(id="o", method="POST", url=f"{site.url}/x", body=Body(media=media))
    fields = {"one": {"a": 1}, "many": [{"b": 2}, "c"]}
    performed = await do(effects, CallOpenApi(operation=operation, parameters=fields))
    assert performed.error is None
    assert parse_qs(site.seen[0].body.decode()) == {"one": ['{"a":1}'], "many": ['{"b":2}', "c"]}
