"""Address policy: redirects, computed hosts, disguised addresses, the store; a canary must not be reached."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from yarl import URL

from iogate.effects import Effects
from iogate.effects.http.address_policy import AddressPolicy, ForbiddenAddress, Trust
from iogate.engine.commands import Authentication, CallHttp
from iogate.settings import Settings
from tests.effects.conftest import KEY, Site, do, failure, get


def policy(*allow_hosts: str, redis_url: str | None = None) -> AddressPolicy:
    return AddressPolicy(allow_hosts=allow_hosts, redis_url=redis_url)


def name_addresses(monkeypatch: pytest.MonkeyPatch, names: dict[str, list[str]]) -> None:
    """Resolve these names to one address after the other, the last one for all further look-ups."""
    real = socket.getaddrinfo

    def answering(host: Any, *args: Any, **kwargs: Any) -> Any:
        if (addresses := names.get(host)) is not None:
            host = addresses.pop(0) if len(addresses) > 1 else addresses[0]
        return real(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", answering)


LOOPBACK_IN_DISGUISE = [
    "2130706433",
    "0x7f000001",
    "017700000001",
    "127.1",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "127.0.0.1.",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "[::1]",
    "[::]",
    "0.0.0.0",
    "0",
    "\uff11\uff12\uff17.0.0.1",
    "127\u30020\u30020\u30021",
    "localhost",
    "LOCALHOST.",
    "user@127.0.0.1",
    "public.example@127.0.0.1",
    "127.0.0.1:{port}#@public.example",
    "127.0.0.1:{port}%23@public.example",
    "127.0.0.1:{port}\\@public.example",
    "public.example\\@127.0.0.1",
]


@pytest.mark.parametrize("trust", [Trust.COMPUTED, Trust.REDIRECTED])
@pytest.mark.parametrize("host", LOOPBACK_IN_DISGUISE)
async def test_no_notation_of_loopback_passes_the_wildcard(
    site: Site, monkeypatch: pytest.MonkeyPatch, host: str, trust: Trust
) -> None:
    """`*` lists every public host; the canary listens on loopback."""
    name_addresses(monkeypatch, {"door.example": ["127.0.0.1"]})
    host = host.format(port=site.port) if "{" in host else f"{host}:{site.port}"
    async with Effects(settings=Settings(allow_hosts=("*",))) as effects:
        if trust is Trust.COMPUTED:
            performed = await do(effects, get(f"http://{host}/hit", computed=True))
        else:
            site.redirect("/door", f"http://{host}/hit")
            # Through another name of the canary, so that the redirect leads to another origin.
            performed = await do(effects, get(f"http://door.example:{site.port}/door", redirect=True))
    hits = [seen for seen in site.seen if seen.path == "/hit"]
    assert not hits
    assert trust is Trust.COMPUTED or site.seen
    assert performed.error is not None


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[fe80::1]/",
        "http://[::ffff:169.254.169.254]/",
        "http://[fd00:ec2::254]/",
        "http://100.100.100.200/",
        "http://168.63.129.16/",
    ],
)
@pytest.mark.parametrize("trust", list(Trust))
async def test_link_local_and_metadata_addresses_are_never_reached(url: str, trust: Trust) -> None:
    listed = policy("*", "169.254.169.254", "fe80::1", "fd00:ec2::254", "0.0.0.0/0", "::/0")
    with pytest.raises(ForbiddenAddress, match=r"a link-local or metadata address; no call may reach it$"):
        await listed.admit(URL(url), trust)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.9.9.9", "[::1]", "0.0.0.0"])
async def test_the_store_is_never_reached(site: Site, host: str) -> None:
    redis_url = f"redis://:swordfish@localhost:{site.port}/0"
    settings = Settings(allow_hosts=("*", "127.0.0.1", "localhost"), redis_url=redis_url)
    async with Effects(settings=settings) as effects:
        performed = await do(effects, get(f"http://{host}:{site.port}/"))
    assert not site.seen
    kind, status, detail = failure(performed)
    assert (kind, status) == ("authorization", 403)
    assert detail.endswith(" is the store; no call may reach it")
    assert "swordfish" not in detail


async def test_a_literal_host_may_be_private_and_a_computed_one_must_be_listed(site: Site) -> None:
    async with Effects(settings=Settings()) as effects:
        assert (await do(effects, get(site.url))).error is None
        refused = await do(effects, get(site.url, computed=True))
    expected = (
        'host "127.0.0.1" came from data and is not in "allow_hosts"; '
        'add "127.0.0.1" to that setting to let computed URLs reach it'
    )
    assert failure(refused) == ("authorization", 403, expected)
    assert not refused.definite


@pytest.mark.parametrize("entry", ["127.0.0.1", "127.0.0.0/8", "{host}:{port}"])
async def test_a_listed_address_is_reached(site: Site, entry: str) -> None:
    entry = entry.format(host="127.0.0.1", port=site.port)
    async with Effects(settings=Settings(allow_hosts=(entry,))) as effects:
        assert (await do(effects, get(site.url, computed=True))).error is None


@pytest.mark.parametrize(
    ("entry", "host", "admitted"),
    [
        ("api.example.com", "api.example.com", True),
        ("API.example.com", "api.example.com", True),
        ("api.example.com", "evil-api.example.com", False),
        ("*.example.com", "api.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "evilexample.com", False),
        ("api.example.com:8443", "api.example.com", False),
        ("*", "anything.example", True),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("::1", "[::1]", True),
        ("nonsense/8", "10.1.2.3", False),
    ],
)
async def test_allow_hosts_lists_names_addresses_networks_and_patterns(
    entry: str, host: str, *, admitted: bool
) -> None:
    try:
        await policy(entry).admit(URL(f"http://{host}/"), Trust.COMPUTED)
    except ForbiddenAddress:
        assert not admitted
    else:
        assert admitted


async def test_dns_rebinding_does_not_reach_a_private_address(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """127.0.0.2 is listed, the canary is on 127.0.0.1; the checked address is connected to."""
    name_addresses(monkeypatch, {"rebind.example": ["127.0.0.2", "127.0.0.1"]})
    async with Effects(settings=Settings(allow_hosts=("*", "127.0.0.2/32"))) as effects:
        for _ in range(3):
            performed = await do(effects, get(f"http://rebind.example:{site.port}/", computed=True))
            assert failure(performed)[0] in {"authorization", "communication"}
    assert not site.seen


async def test_a_computed_call_does_not_reuse_the_connection_of_a_reviewed_one(site: Site) -> None:
    async with Effects(settings=Settings(allow_hosts=("*",))) as effects:
        url = site.url.replace("127.0.0.1", "localhost")
        assert (await do(effects, get(url))).error is None
        performed = await do(effects, get(url, computed=True))
    assert failure(performed)[2] == (
        '"localhost" is 127.0.0.1, which is not a public address; '
        'name the host in "allow_hosts" or write it in the workflow to let calls reach it'
    )
    assert len(site.seen) == 1


async def test_a_computed_url_must_not_contain_a_password(site: Site) -> None:
    async with Effects(settings=Settings(allow_hosts=("127.0.0.1",))) as effects:
        performed = await do(effects, get(f"http://u:swordfish@127.0.0.1:{site.port}/", computed=True))
    expected = "a URL that is not written in the workflow must not carry a user or password"
    assert failure(performed)[2] == expected


# Redirects.


async def test_a_redirect_is_an_error_by_default(site: Site, effects: Effects) -> None:
    url = site.redirect("/old", "/new?key=swordfish")
    performed = await do(effects, get(url))
    expected = f'GET {site.url} answered 302 Found; set "redirect: true" to follow it'
    assert failure(performed) == ("communication", 302, expected)
    assert [seen.path for seen in site.seen] == ["/old"]


@pytest.mark.parametrize("status", [307, 308])
async def test_307_and_308_keep_method_body_and_key(site: Site, effects: Effects, status: int) -> None:
    url = site.redirect("/old", "/new", status=status)
    call = CallHttp(method="post", url=url, body={"a": 1}, has_body=True, redirect=True)
    assert (await do(effects, call)).output == {"path": "/new"}
    assert [(s.method, s.body, s.headers["Idempotency-Key"]) for s in site.seen] == [
        ("POST", b'{"a":1}', KEY)
    ] * 2


@pytest.mark.parametrize("status", [301, 302, 303])
async def test_other_redirects_become_a_get_without_body(site: Site, effects: Effects, status: int) -> None:
    url = site.redirect("/old", "/new", status=status)
    await do(effects, CallHttp(method="post", url=url, body={"a": 1}, has_body=True, redirect=True))
    assert (site.seen[1].method, site.seen[1].body, site.seen[1].path) == ("GET", b"", "/new")
    assert "Content-Type" not in site.seen[1].headers


async def test_a_3xx_without_location_is_an_output_if_redirects_are_followed(
    site: Site, effects: Effects
) -> None:
    url = site.respond("/a", status=304)
    output = (await do(effects, get(url, redirect=True, output="response"))).output
    assert output["statusCode"] == 304


async def test_credentials_do_not_follow_to_another_origin(site: Site, effects: Effects) -> None:
    elsewhere = site.url.replace("127.0.0.1", "localhost")
    url = site.redirect("/old", elsewhere + "/new", status=307)
    call = get(
        url,
        redirect=True,
        headers={"X-Api-Key": "swordfish", "Accept-Language": "de"},
        authentication=Authentication(scheme="bearer", parameters={"token": "swordfish"}),
    )
    async with Effects(settings=Settings(allow_hosts=("localhost",))) as listed:
        assert (await do(listed, call)).error is None
    assert site.seen[1].headers["Accept-Language"] == "de"
    assert "swordfish" not in str(site.seen[1].headers)
    # And without the listing, a public page's redirect must not reach into the private network.
    assert failure(await do(effects, call))[0] == "authorization"
    assert len(site.seen) == 3


async def test_a_redirect_loop_ends(site: Site, effects: Effects) -> None:
    url = site.redirect("/a", "/a")
    performed = await do(effects, get(url, redirect=True))
    assert failure(performed)[2] == f"GET {site.url} was redirected more than 10 times"
    assert len(site.seen) == 11


async def test_a_redirect_to_another_scheme_is_an_error(site: Site, effects: Effects) -> None:
    url = site.redirect("/a", "file:///etc/passwd")
    performed = await do(effects, get(url, redirect=True))
    assert failure(performed)[2] == f"GET {site.url} redirected to a location that is not an http(s) URL"
