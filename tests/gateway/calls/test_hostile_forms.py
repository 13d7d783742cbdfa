"""Hostile forms and wrong inputs get a plain 4xx from every kind of API, and leave nothing behind."""

from __future__ import annotations

import msgspec
import pytest

from iogate.compiler.revision import Files, Limits
from iogate.store import keys
from tests.gateway.driver import World, api
from tests.gateway.http.test_multipart_body import HOSTILE, TYPE, body

KIB = 1024
FILES = Files(size=64 * KIB, total=64 * KIB, count=3)
LINE = {
    "type": "object",
    "required": ["sku", "note"],
    "properties": {
        "sku": {"type": "string", "pattern": "^[A-Z]-[0-9]+$"},
        "n": {"type": "integer", "maximum": 10},
        "ratio": {"type": "number"},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}},
    },
}
PLACES = (
    '/sku: "x" does not match',
    "/n: 11 is greater than the maximum of 10",
    '/ratio: "much" is not of type "number"',
    '/tags/1: "c" is not one of "a" or "b"',
    'its root: "note" is a required property',
)


async def test_a_hostile_form_is_never_the_fault_of_the_gateway(world: World) -> None:
    limits = Limits(body=64 * KIB)
    await world.publish(api("form/stored", files=FILES, limits=limits), api("form/inline", limits=limits))
    flood = body(*[b'Content-Disposition: form-data; name="a"\r\n\r\n'] * 1_500)
    for content, kind, _ in (*HOSTILE, (flood, TYPE, "")):
        headers = {"content-type": kind.decode("latin-1")}
        stored = await world.ask("/v1/api/form/stored/async", "POST", headers, content)
        inline = await world.ask("/v1/api/form/inline/async", "POST", headers, content)
        assert stored.status in {400, 413}, content[:200]
        assert inline.status in {202, 400, 413}, content[:200]
    assert await world.store.call("KEYS", keys.FILES + "*") == []
    assert world.live.bodies.held == 0


@pytest.mark.parametrize("through", ["query", "form", "multipart", "files"])
async def test_every_wrong_place_of_an_input_is_named_at_once(world: World, through: str) -> None:
    files = FILES if through == "files" else msgspec.UNSET
    await world.publish(api("a/b", verbs=("GET", "POST"), input_schema=LINE, files=files))
    sent = "sku=x&n=11&ratio=much&tags=a&tags=c"
    if through == "query":
        reply = await world.ask(f"/v1/api/a/b/async?{sent}")
    elif through == "form":
        headers = {"content-type": "application/x-www-form-urlencoded"}
        reply = await world.ask("/v1/api/a/b/async", "POST", headers, sent.encode())
    else:
        fields = [each.split("=") for each in sent.split("&")]
        parts = [f'Content-Disposition: form-data; name="{n}"\r\n\r\n{v}'.encode() for n, v in fields]
        reply = await world.ask("/v1/api/a/b/async", "POST", {"content-type": TYPE.decode()}, body(*parts))
    assert (reply.status, reply.code) == (400, "requestError.invalidParams")
    for place in PLACES:
        assert place in reply.message
