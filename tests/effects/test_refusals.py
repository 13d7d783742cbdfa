"""Error responses of calls: workflows can branch on them, and operators see an excerpt."""

from __future__ import annotations

import gzip
import json
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from iogate.effects import Effects
from iogate.effects.http.responses import MAX_ERROR_BODY
from iogate.engine.errors import EXCERPT, strip_extensions, to_caught, to_stored
from iogate.errors import for_operators
from iogate.security.redaction import Redactor
from iogate.security.redaction_patterns import REDACTED
from iogate.settings import Settings
from tests.effects.conftest import Site, do, get

SECRET = "swordfish-and-a-long-tail"


async def refused(effects: Effects, url: str) -> dict[str, Any]:
    performed = await do(effects, get(url))
    assert performed.error is not None
    assert performed.error.response is not None
    return dict(performed.error.response)


async def test_status_headers_and_body_are_visible(site: Site, effects: Effects) -> None:
    headers = {"Retry-After": "7", "X-Request-Id": "r1", "Set-Cookie": "session=1", "X-Token": "t"}
    url = site.respond("/a", status=422, body=b'{"code":"E7","n":[1]}', headers=headers, content_type=JSON)
    found = await refused(effects, url)
    assert (found["status"], found["body"]) == (422, {"code": "E7", "n": [1]})
    date = found["headers"].pop("Date")
    assert date
    assert found["headers"] == {"Content-Type": JSON, "Retry-After": "7", "X-Request-Id": "r1"}


JSON = "application/json"


@pytest.mark.parametrize(
    ("content_type", "body", "shown"),
    [
        ("application/problem+json", b'{"title":"No"}', {"title": "No"}),
        (JSON, b"", None),
        (JSON, b"{broken", "{broken"),
        ("text/plain", b"no stock", "no stock"),
        ("text/html", "<p>für</p>".encode(), "<p>für</p>"),
        ("image/png", b"\x89PNG", None),
        (JSON, b'{"a":"' + b"x" * MAX_ERROR_BODY + b'"}', '{"a":"' + "x" * (MAX_ERROR_BODY - 6)),
        ("text/plain", b"x" * 1_000_000, "x" * MAX_ERROR_BODY),
        ("image/png", b"x" * 1_000_000, None),
    ],
)
async def test_a_body_is_json_or_text_and_bounded(
    site: Site, effects: Effects, content_type: str, body: bytes, shown: Any
) -> None:
    url = site.respond("/a", status=500, body=body, content_type=content_type)
    assert (await refused(effects, url))["body"] == shown


async def test_a_compressed_body_is_read_and_a_bomb_is_cut(site: Site, effects: Effects) -> None:
    packed = {"Content-Encoding": "gzip", "Content-Type": JSON}
    url = site.respond("/a", status=400, body=gzip.compress(b'{"code":1}'), headers=packed)
    assert (await refused(effects, url))["body"] == {"code": 1}
    url = site.respond("/b", status=400, body=gzip.compress(b"0" * 50_000_000), headers=packed)
    body = (await refused(effects, url))["body"]
    assert body is None or len(body) <= MAX_ERROR_BODY
    url = site.respond("/c", status=400, body=b"no gzip", headers=packed)
    assert (await refused(effects, url))["body"] is None


async def test_a_compressed_body_without_an_end_is_cut(site: Site, effects: Effects) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        headers = {"Content-Encoding": "deflate", "Content-Type": "text/plain"}
        response = web.StreamResponse(status=400, headers=headers)
        await response.prepare(request)
        await response.write(zlib.compress(b"why"))
        with suppress(ConnectionResetError):
            while True:
                await response.write(bytes(2**16))
        return response

    site.handlers["/a"] = endless
    assert (await refused(effects, f"{site.url}/a"))["body"] == "why"


@pytest.mark.parametrize("before", [0, 100, MAX_ERROR_BODY - 10, MAX_ERROR_BODY - 3])
async def test_a_secret_at_the_cut_of_the_body_is_redacted(site: Site, before: int) -> None:
    text = "x" * before + SECRET + "y" * 2 * MAX_ERROR_BODY
    url = site.respond("/a", status=500, body=text.encode(), content_type="text/plain")
    async with Effects(settings=Settings(), redactor=lambda: Redactor([SECRET])) as effects:
        body = (await refused(effects, url))["body"]
    assert "swo" not in body
    assert REDACTED in body
    assert len(body) <= MAX_ERROR_BODY + len(REDACTED)


async def test_a_connection_is_reused_after_an_error_response(site: Site, effects: Effects) -> None:
    ports = set()

    async def handler(request: web.Request) -> web.Response:
        assert request.transport is not None
        ports.add(request.transport.get_extra_info("peername")[1])
        return web.Response(status=422, body=b"x" * 20_000)

    site.handlers["/a"] = handler
    for _ in range(3):
        await refused(effects, site.url + "/a")
    assert len(ports) == 1


WORKFLOW = """
document: {dsl: 1.0.3, namespace: t, name: w, version: 1.0.0}
do:
  - order:
      try:
        - place: {call: http, with: {method: post, endpoint: "https://shop.example/order", body: {n: 1}}}
      catch:
        errors: {with: {type: communication, status: 422}}
        when: ${ $error.response.body.code == "OUT_OF_STOCK" }
        do:
          - say:
              set:
                missing: ${ $error.response.body.items }
                after: ${ $error.response.headers["Retry-After"] }
"""


async def test_a_workflow_branches_on_a_field_of_the_body(site: Site, tmp_path: Path) -> None:
    """An uncaught error shows operators the beginning of the body."""
    from iogate.testing import Harness

    answer = {"code": "OUT_OF_STOCK", "items": ["A-1"]}
    site.respond("/order", status=422, text=json.dumps(answer), content_type=JSON, headers=AFTER)
    (tmp_path / "workflows.d").mkdir()
    (tmp_path / "workflows.d" / "w.yaml").write_text(WORKFLOW)
    settings = Settings(endpoints={"https://shop.example": site.url})
    harness = Harness.load(tmp_path, settings=settings)
    outcome = await harness.run("t/w")
    assert outcome.status == "completed", outcome.error
    assert outcome.output == {"missing": ["A-1"], "after": "30"}
    answer["code"] = "CLOSED"
    site.respond("/order", status=422, text=json.dumps(answer), content_type=JSON)
    outcome = await harness.run("t/w")
    assert outcome.status == "faulted"
    assert outcome.error is not None
    members = {"type", "status", "title", "detail", "instance", "sentTo", "responseExcerpt"}
    assert set(outcome.error) == members
    assert outcome.error["responseExcerpt"] == '{"code":"CLOSED","items":["A-1"]}'
    assert "CLOSED" not in repr(strip_extensions(outcome.error))
    assert "CLOSED" in for_operators("", outcome.error)


@pytest.mark.parametrize(
    ("body", "excerpt"),
    [
        (None, None),
        ({"why": "no", "access_token": "abc", "n": [{"apiKey": "k"}]}, None),
        ('{"why":"no","access_token":"abc', '{"why":"no","access_token":[redacted]'),
        ("why=no&password=abc&n=1", "why=no&password=[redacted]&n=1"),
        ("Authorization: Bearer abc\nbye", "Authorization: [redacted]\nbye"),
        (f"it was {SECRET}.", f"it was {REDACTED}."),
        ("x" * (EXCERPT - 5) + SECRET, "x" * (EXCERPT - 5) + "[red…"),
        ({"a": ["ü" * 2 * EXCERPT]}, '{"a":["' + "ü" * (EXCERPT - 8) + "…"),
    ],
)
def test_operators_see_an_excerpt_that_was_redacted_before_it_was_cut(body: Any, excerpt: str | None) -> None:
    error = {"status": 500, "response": {"status": 500, "headers": {}, "body": body}}
    found = to_stored(error, Redactor([SECRET]).text)
    if isinstance(body, dict) and "why" in body:
        excerpt = '{"why":"no","access_token":"[redacted]","n":[{"apiKey":"[redacted]"}]}'
    assert found.get("responseExcerpt") == excerpt
    assert "response" not in found
    assert strip_extensions(found) == to_caught({**found, "sentTo": "http://h"}) == {"status": 500}


AFTER = {"Retry-After": "30"}
