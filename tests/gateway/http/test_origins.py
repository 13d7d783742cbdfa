"""Pages of other origins cannot start or read runs through a browser."""

from __future__ import annotations

from typing import Any

import pytest

from iogate.auth.model import NoAuth
from iogate.gateway.http.hosts import Hosts
from iogate.gateway.http.origins import Origins
from tests.gateway.driver import TOKEN, USER, World, api, build
from tests.gateway.sending import EVENT, open_to, send

OWN = "gateway.test:8000"
EVIL = "https://evil.example"
FORM = "application/x-www-form-urlencoded"
PATH = "/v1/api/a/b/async"


def site(value: str, mode: str = "no-cors", dest: str = "empty") -> dict[str, str]:
    return {"sec-fetch-site": value, "sec-fetch-mode": mode, "sec-fetch-dest": dest}


# As Chromium sends them; the test of a real one is in tests/security.
CROSS_SITE: dict[str, tuple[str, dict[str, str]]] = {
    "img": ("GET", site("cross-site", dest="image")),
    "link prefetch": ("GET", site("cross-site") | {"sec-purpose": "prefetch"}),
    "script src": ("GET", site("cross-site", dest="script")),
    "iframe": ("GET", site("cross-site", "navigate", "iframe")),
    "form GET": ("GET", site("cross-site", "navigate", "document") | {"sec-fetch-user": "?1"}),
    "form POST": (
        "POST",
        site("cross-site", "navigate", "document") | {"origin": EVIL, "content-type": FORM},
    ),
    "form POST, text": ("POST", site("cross-site") | {"origin": EVIL, "content-type": "text/plain"}),
    "form POST, null": ("POST", {"origin": "null", "content-type": FORM}),
    "no-cors fetch": ("POST", site("cross-site") | {"origin": EVIL, "content-type": "text/plain"}),
    "sendBeacon": ("POST", {"origin": EVIL, "content-type": "text/plain;charset=UTF-8"}),
    "EventSource": ("GET", site("cross-site", "cors") | {"origin": EVIL, "accept": "text/event-stream"}),
    "WebSocket": ("GET", {"origin": EVIL, "connection": "Upgrade", "upgrade": "websocket"}),
    "another port": ("POST", site("same-site") | {"origin": "http://gateway.test:3000"}),
    "img over plain HTTP": ("GET", {"referer": EVIL + "/page"}),
}


@pytest.fixture
async def open_world(world: World) -> World:
    """A gateway with the API a/b, which asks for no credentials."""
    await world.publish(api("a/b"))
    return serving(world)


def serving(world: World, *, hosts: tuple[str, ...] = ("gateway.test",), cors: tuple[str, ...] = ()) -> World:
    world.live.hosts, world.live.origins = Hosts(hosts), Origins(cors)
    world.application = build(world.live, world.refresher)
    return world


async def runs(world: World) -> int:
    return sum((await world.store.runs.counts()).values())


@pytest.mark.parametrize("kind", CROSS_SITE)
async def test_a_page_of_another_origin_starts_no_run(open_world: World, kind: str) -> None:
    method, headers = CROSS_SITE[kind]
    reply = await open_world.ask(PATH, method, {"host": OWN} | headers, b"{}" if method == "POST" else b"")
    assert (reply.status, reply.code) == (403, "requestError.forbidden")
    assert reply.message == (
        "A page of another origin sent this request; the setting cors of the gateway allows origins"
    )
    assert await runs(open_world) == 0


@pytest.mark.parametrize("kind", CROSS_SITE)
async def test_a_page_of_another_origin_reads_and_cancels_no_run(open_world: World, kind: str) -> None:
    uid = (await open_world.ask(PATH, "POST", {"host": OWN})).uid
    method, headers = CROSS_SITE[kind]
    visit = kind == "form GET"  # a link that its user follows: no page reads the response
    for path in (f"/v1/runs/{uid}", f"/v1/runs/{uid}/events") if not visit and method == "GET" else ():
        assert (await open_world.ask(path, "GET", {"host": OWN} | headers)).status == 403
    if method == "POST":
        reply = await open_world.ask(f"/v1/runs/{uid}/cancel", "POST", {"host": OWN} | headers)
        assert reply.status == 403
    if visit:
        assert (await open_world.ask(f"/v1/runs/{uid}", "GET", {"host": OWN} | headers)).status == 200
    assert (await open_world.store.runs.counts())["cancelled"] == 0


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": FORM, "user-agent": "curl/8.0"},
        {"sec-fetch-site": "none"},
        {"sec-fetch-site": "same-origin", "origin": "http://gateway.test:8000"},
        {"origin": "http://gateway.test:8000"},
        {"origin": "https://gateway.test:8000", "referer": "https://gateway.test:8000/page"},
    ],
)
async def test_curl_and_pages_of_the_gateway_itself_are_not_affected(
    open_world: World, headers: dict[str, str]
) -> None:
    assert (await open_world.ask(PATH, "POST", {"host": OWN} | headers, b'{"a":1}')).status == 202


async def test_credentials_that_no_browser_adds_by_itself_are_enough_and_remembered_ones_are_not(
    world: World,
) -> None:
    await world.publish(api("t/t", TOKEN), api("u/u", USER))
    foreign = {"host": "localhost"} | site("cross-site") | {"origin": EVIL}
    basic = {"authorization": "Basic aW9saW5rZXI6MTIzNDU2"}
    assert (await world.ask("/v1/api/t/t/async", "POST", foreign | {"token": "123456"})).status == 202
    assert (await world.ask("/v1/api/t/t/async", "POST", foreign)).status == 401
    named = {"user": "iolinker", "password": "123456"}
    assert (await world.ask("/v1/api/u/u/async", "POST", foreign | named)).status == 202
    assert (await world.ask("/v1/api/u/u/async", "POST", foreign | basic)).status == 403
    assert (await world.ask("/v1/api/u/u/async", "POST", {"host": "localhost"} | basic)).status == 202


async def test_events_without_credentials_are_not_taken_from_pages(world: World) -> None:
    open_to(world, NoAuth())
    page = {"content-type": "application/cloudevents+json", "origin": EVIL}
    assert (await send(world, EVENT, page)).status == 403
    assert (await send(world, EVENT)).status == 202


async def test_an_origin_that_cors_allows_may_call_and_read(open_world: World) -> None:
    world = serving(open_world, cors=("https://app.example", "http://localhost:3000/"))
    asked = {
        "host": OWN,
        "origin": "https://app.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type,idempotency-key",
    }
    reply = await world.ask(PATH, "OPTIONS", asked)
    assert reply.status == 204
    assert reply.headers["access-control-allow-origin"] == "https://app.example"
    assert reply.headers["access-control-allow-methods"] == "GET, POST"
    assert reply.headers["access-control-allow-headers"] == "content-type,idempotency-key"
    assert reply.headers["vary"] == "Origin"
    headers = {"host": OWN, "origin": "https://app.example"} | site("cross-site", "cors")
    reply = await world.ask(PATH, "POST", headers, b"{}")
    assert reply.status == 202
    assert reply.headers["access-control-allow-origin"] == "https://app.example"
    readable = set(reply.headers["access-control-expose-headers"].split(", "))
    assert {"location", "x-iogate-revision", "x-iogate-coalesced", "idempotent-replayed"} <= readable
    shown = await world.ask(f"/v1/runs/{reply.uid}", "GET", headers)
    assert (shown.status, shown.headers["access-control-allow-origin"]) == (200, "https://app.example")
    other = await world.ask(PATH, "POST", headers | {"origin": EVIL}, b"{}")
    assert other.status == 403
    assert "access-control-allow-origin" not in other.headers
    refused = await world.ask(PATH, "OPTIONS", asked | {"origin": EVIL})
    assert "access-control-allow-origin" not in refused.headers


async def test_cors_with_a_star_allows_every_page(open_world: World) -> None:
    world = serving(open_world, cors=("*",))
    for method, headers in CROSS_SITE.values():
        reply = await world.ask(PATH, method, {"host": OWN} | headers, b"{}" if method == "POST" else b"")
        assert reply.status == 202
        assert reply.headers.get("access-control-allow-origin") == ("*" if "origin" in headers else None)


@pytest.mark.parametrize("kind", CROSS_SITE)
async def test_cors_with_a_star_gives_no_page_the_login_that_a_browser_has_stored(
    world: World, kind: str
) -> None:
    await world.publish(api("u/u", USER))
    serving(world, cors=("*",))
    method, headers = CROSS_SITE[kind]
    body, page = b"{}" if method == "POST" else b"", {"host": OWN} | headers
    basic = {"authorization": "Basic aW9saW5rZXI6MTIzNDU2"}
    named = {"user": "iolinker", "password": "123456"}
    reply = await world.ask("/v1/api/u/u/async", method, page | basic, body)
    assert (reply.status, reply.code) == (403, "requestError.forbidden")
    assert await runs(world) == 0
    assert (await world.ask("/v1/api/u/u/async", method, page | named, body)).status == 202
    serving(world, cors=("*", EVIL))
    listed = {"host": OWN, "origin": EVIL} | site("cross-site", "cors") | basic
    assert (await world.ask("/v1/api/u/u/async", "POST", listed, b"{}")).status == 202


async def test_without_cors_a_preflight_permits_nothing(open_world: World) -> None:
    asked = {"host": OWN, "origin": EVIL, "access-control-request-method": "POST"}
    reply = await open_world.ask(PATH, "OPTIONS", asked)
    assert not [name for name in reply.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "path", [PATH, "/health/ready", "/metrics", "/openapi.json", "/v1/runs/1", "/v1/events"]
)
async def test_a_foreign_name_that_resolves_to_this_machine_is_refused(open_world: World, path: str) -> None:
    reply = await open_world.ask(path, "GET", {"host": "rebound.example:8000"})
    assert (reply.status, reply.code) == (421, "requestError.misdirected")
    assert reply.message == (
        "The host rebound.example:8000 is not served here; the setting hosts of the gateway names more"
    )


LOCAL: dict[str, Any] = {"loopback": True}
PUBLIC: dict[str, Any] = {"loopback": False, "listens_on": "0.0.0.0"}


@pytest.mark.parametrize(
    ("given", "host", "served"),
    [
        (LOCAL, "localhost:8000", True),
        (LOCAL, "LOCALHOST.", True),
        (LOCAL, "app.localhost:8000", True),
        (LOCAL, "127.0.0.1:8000", True),
        (LOCAL, "[::1]:8000", True),
        (LOCAL, "127.1.2.3", True),
        (LOCAL, "[0:0:0:0:0:0:0:1]", True),
        (LOCAL, "10.0.0.7", False),
        (LOCAL, "0.0.0.0:8000", False),
        (LOCAL, "[::]", False),
        (LOCAL, "[::ffff:0:0]:8000", False),
        (LOCAL, "[::ffff:127.0.0.1]:8000", False),
        (LOCAL, "[::ffff:7f00:1]:8000", False),
        (LOCAL, "[::1%25lo]:8000", False),
        (LOCAL, "[::1%lo]", False),
        (LOCAL, "[::1", False),
        (LOCAL, "[::1].evil.example", False),
        (LOCAL, "[127.0.0.1].evil.example", False),
        (LOCAL, "localhost:80@evil", False),
        (LOCAL, "localhost:x", False),
        (LOCAL, "localhost/evil", False),
        (LOCAL, "user@localhost", False),
        (LOCAL, "localhost evil", False),
        (LOCAL, ":8000", False),
        (LOCAL, ".", False),
        (LOCAL | {"names": ["10.0.0.7"]}, "10.0.0.7:8000", True),
        (LOCAL | {"names": ["2001:db8::7"]}, "[2001:DB8::7]:8000", True),
        (LOCAL, "evil.example", False),
        (LOCAL, "localhost.evil.example", False),
        (LOCAL, "127.0.0.1.evil.example", False),
        (LOCAL, "gateway", False),
        (LOCAL, "x" * 400, False),
        (LOCAL | {"public_url": "https://api.example.com/base"}, "api.example.com", True),
        (LOCAL | {"listens_on": "box.example"}, "box.example:8000", True),
        (LOCAL | {"names": ["api.example.com"]}, "API.example.com:443", True),
        (LOCAL | {"names": ["*.example.com"]}, "a.b.example.com", True),
        (LOCAL | {"names": ["*.example.com"]}, "example.com", False),
        (LOCAL | {"names": ["*.example.com"]}, "evilexample.com", False),
        (LOCAL | {"names": ["*"]}, "evil.example", True),
        (PUBLIC, "192.0.2.7:8000", True),
        (PUBLIC, "[2001:db8::7]:8000", True),
        (PUBLIC, "0.0.0.0:8000", True),
        (PUBLIC, "gateway:8000", True),
        (PUBLIC, "gateway.default.svc.cluster.local", True),
        (PUBLIC, "evil.example", False),
        (PUBLIC, "[192.0.2.7].evil.example", False),
        (PUBLIC, "gateway:80@evil", False),
        (PUBLIC, ":8000", False),
        (PUBLIC | {"names": ["api.example.com"]}, "gateway", False),
        (PUBLIC | {"names": ["api.example.com"]}, "192.0.2.7", True),
    ],
)
def test_the_names_that_are_served(given: dict[str, Any], host: str, *, served: bool) -> None:
    hosts = Hosts(**given)
    assert hosts.serves(host.encode()) == served
    assert hosts.serves(host.encode()) == served


def test_a_request_without_a_host_is_served() -> None:
    assert Hosts().serves(None)


async def test_a_request_that_names_two_hosts_is_refused(open_world: World) -> None:
    for hosts in (("evil.example", OWN), (OWN, "evil.example"), (OWN, OWN)):
        reply = await open_world.ask(PATH, "POST", [("host", host) for host in hosts], b"{}")
        assert (reply.status, reply.message) == (400, "The header Host is given more than once")
    assert await runs(open_world) == 0
