"""Bytes on the wire: queries as written, multipart forms, JSON in any charset."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from iogate.effects import Effects
from iogate.engine.commands import CallHttp
from iogate.settings import Settings
from tests.effects.conftest import Site, do, get


async def test_a_query_is_sent_byte_for_byte_as_it_was_written(site: Site) -> None:
    lines: list[str] = []

    async def remember(request: web.Request) -> web.Response:
        lines.append(request.raw_path)
        return web.Response(status=302, headers={"Location": "/signed?sig=c%2Fd%2B%3D&z=3"})

    async def signed(request: web.Request) -> web.Response:
        lines.append(request.raw_path)
        return web.Response(text="ok")

    site.handlers |= {"/from": remember, "/signed": signed}
    async with Effects(settings=Settings(endpoints={"https://api.example.com": site.url})) as effects:
        url = "https://api.example.com/from?sig=a%2Fb%2B%3D%26&x=1"
        performed = await do(effects, get(url, query={"y": "a b/ü"}, redirect=True))
        site.redirect("/away", "/gone")
        site.respond("/gone", status=404)
        gone = (await do(effects, get("https://api.example.com/away", redirect=True))).error
    assert gone is not None
    assert (gone.detail, gone.sent_to) == (
        "GET https://api.example.com answered 404 Not Found",
        site.url,
    )
    assert performed.output == "ok"
    assert lines == ["/from?sig=a%2Fb%2B%3D%26&x=1&y=a+b/%C3%BC", "/signed?sig=c%2Fd%2B%3D&z=3"]


async def test_an_object_is_sent_as_multipart_by_its_content_type(site: Site, effects: Effects) -> None:
    fields: dict[str, list[Any]] = {}

    async def keep(request: web.Request) -> web.Response:
        for name, value in (await request.post()).items():
            fields.setdefault(name, []).append(value)
        return web.Response()

    site.handlers["/form"] = keep
    site.reads = False
    call = CallHttp(
        method="POST",
        url=f"{site.url}/form",
        headers={"content-type": "multipart/form-data"},
        body={"text": "a b\r\n", "n": 1.5, "many": ["x", True], "deep": {"a": [1]}, "none": None},
        has_body=True,
    )
    assert (await do(effects, call)).error is None
    assert fields == {"text": ["a b\r\n"], "n": ["1.5"], "many": ["x", "true"], "deep": [b'{"a":[1]}']}


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/json", b'{"a": "\xc3\xa9"}'),
        ("application/json; charset=iso-8859-1", b'{"a": "\xe9"}'),
        ("application/json; charset=nonsense", b'{"a": "\xc3\xa9"}'),
        ("application/json; charset=utf-8", '{"a": "é"}'.encode("utf-16")),
    ],
)
async def test_json_is_decoded_by_its_charset(site: Site, effects: Effects, kind: str, body: bytes) -> None:
    url = site.respond("/a", body=body, headers={"Content-Type": kind})
    assert (await do(effects, get(url))).output == {"a": "é"}
