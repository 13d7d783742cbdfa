"""`Callback-Url` is stored with the run if its API allows the host, and refused otherwise."""

from __future__ import annotations

import pytest

from iogate.auth.model import EnvSecret
from iogate.compiler.revision import Callback, FaultHandler
from iogate.store.runs.run_ends import callers_url
from tests.gateway.driver import World, api
from tests.keys import RING

SECRET = EnvSecret(name="CB")
NAMED = Callback(allow=("*.example.com", "localhost:9"), secret=SECRET, on=("completed", "faulted"))
HANDLER = FaultHandler(workflow="test/echo:1", program="p1")


async def after(world: World, uid: str) -> str | None:
    found: bytes | None = await world.store.call("HGET", f"iogate:run:{uid}", "aft")
    return None if found is None else found.decode()


async def test_what_follows_the_end_is_stored_with_the_call(world: World) -> None:
    await world.publish(
        api("a/plain"),
        api("a/fixed", callback=Callback(url="https://h.example/", secret=SECRET, on=("cancelled",))),
        api("a/named", callback=NAMED),
        api("a/both", callback=NAMED, on_fault=HANDLER),
        api("a/handled", on_fault=HANDLER),
    )
    url = "https://hooks.example.com/x?y=1"
    header = {"callback_url": url}
    assert await after(world, (await world.call("a/plain", **header)).uid) is None
    assert await after(world, (await world.call("a/fixed", **header)).uid) == "x"
    assert await after(world, (await world.call("a/handled", **header)).uid) == "h"
    assert await after(world, (await world.call("a/named")).uid) is None
    assert await after(world, (await world.call("a/both")).uid) == "h"
    for name, letters in (("a/named", "cf"), ("a/both", "cfh")):
        uid = (await world.call(name, **header)).uid
        packed = await after(world, uid)
        assert packed is not None
        assert packed.startswith(f"{letters} ")
        assert callers_url(RING, uid, packed) == url
        assert callers_url(RING, str(int(uid) + 1), packed) is None


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "https://evil.example/x",
            "The header Callback-Url names the host evil.example, which this API does not allow",
        ),
        (
            "http://hooks.example.com/",
            "The header Callback-Url cannot be used: it is not https, which only hosts of this machine may "
            "leave out",
        ),
        ("nonsense", "The header Callback-Url cannot be used: it is not an absolute https:// URL"),
        ("", "The header Callback-Url cannot be used: it has spaces, or characters that are not ASCII"),
    ],
)
async def test_a_url_that_is_not_allowed_is_refused(world: World, url: str, message: str) -> None:
    await world.publish(api("a/named", callback=NAMED))
    reply = await world.call("a/named", callback_url=url)
    assert (reply.status, reply.code, reply.message) == (400, "requestError.invalidParams", message)
    assert await world.store.runs.counts() == dict.fromkeys(await world.store.runs.counts(), 0)


async def test_one_header_is_enough(world: World) -> None:
    await world.publish(api("a/named", callback=NAMED))
    twice = [("callback-url", "http://localhost:9/"), ("callback-url", "http://localhost:9/x")]
    reply = await world.ask("/v1/api/a/named/async", "POST", twice, b"{}")
    assert reply.message == "The header Callback-Url is given more than once"
    assert (await world.call("a/named", callback_url="http://localhost:9/")).status == 202
