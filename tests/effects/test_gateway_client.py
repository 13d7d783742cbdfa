"""Gateway client: unchanged responses, server-sent events, and one error for an unreachable gateway."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from iogate.effects.gateway_client import GatewayClient, ServerSentEvent
from iogate.errors import Unreachable
from tests.effects.conftest import Site


async def test_a_response_of_any_status_is_returned_completely(site: Site) -> None:
    site.respond("/v1/x", status=403, body=b'{"a":1}', headers={"X-Seen": "yes"})
    async with GatewayClient(site.url + "/") as client:
        response = await client.request("POST", "/v1/x", headers={"token": "t"}, query={"q": "1"}, body=b"{}")
    assert (response.status, response.json(), response.text) == (403, {"a": 1}, '{"a":1}')
    assert response.headers["x-seen"] == "yes"
    assert site.seen[0].headers["Content-Type"] == "application/json"
    assert (site.seen[0].query, site.seen[0].headers["token"]) == ([("q", "1")], "t")


async def test_a_redirect_is_not_followed(site: Site) -> None:
    site.redirect("/a", "/b")
    async with GatewayClient(site.url) as client:
        assert (await client.request("GET", site.url + "/a")).status == 302


async def test_events_are_yielded_one_by_one(site: Site) -> None:
    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b": comment\n\nevent: note\ndata: 1\ndata: 2\n\ndata: {}\r\n\r\n")
        return response

    site.handlers["/events"] = stream
    async with GatewayClient(site.url) as client:
        events = [event async for event in client.events("/events")]
    assert events == [ServerSentEvent(name="note", data="1\n2"), ServerSentEvent(name="message", data="{}")]


async def test_an_absent_gateway_is_unreachable() -> None:
    async with GatewayClient("http://127.0.0.1:1") as client:
        with pytest.raises(Unreachable) as caught:
            await client.request("GET", "/")
    assert caught.value.message == "cannot reach the gateway at http://127.0.0.1:1: Connection refused"
    assert "iogate up" in caught.value.hint


async def test_a_silent_gateway_is_unreachable(site: Site) -> None:
    async def never(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    site.handlers["/a"] = never
    async with GatewayClient(site.url, timeout_s=0.05) as client:
        with pytest.raises(Unreachable, match=r": no response in time$"):
            await client.request("GET", "/a")
