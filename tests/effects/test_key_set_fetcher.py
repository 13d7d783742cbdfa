"""A key set is fetched under the rules for addresses, in bounded time and size; failures are named."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from iogate.effects import key_set_fetcher
from iogate.effects.key_set_fetcher import DISCOVERY, KeySetFetcher, KeySetUnavailable
from tests.effects.conftest import Site


class Issuer:
    """An issuer with an OpenID configuration and a key set."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.configuration: Any = {"issuer": site.url, "jwks_uri": f"{site.url}/keys"}
        self.keys: Any = {"keys": []}
        self.headers: dict[str, str] = {}
        self.status = 200
        site.handlers[DISCOVERY] = self.configure
        site.handlers["/keys"] = self.give

    async def configure(self, _: web.Request) -> web.Response:
        return web.json_response(self.configuration)

    async def give(self, _: web.Request) -> web.Response:
        text = self.keys if isinstance(self.keys, str) else json.dumps(self.keys)
        return web.Response(text=text, status=self.status, headers=self.headers)


@pytest.fixture
def issuer(site: Site) -> Issuer:
    return Issuer(site)


@pytest.fixture
async def fetcher() -> AsyncIterator[KeySetFetcher]:
    found = KeySetFetcher()
    yield found
    await found.close()


async def failure(fetcher: KeySetFetcher, *, issuer: str = "", jwks: str = "") -> str:
    with pytest.raises(KeySetUnavailable) as raised:
        await fetcher.fetch(issuer=issuer, jwks=jwks)
    return str(raised.value)


async def test_a_set_is_fetched_by_its_url_or_through_the_configuration(
    issuer: Issuer, fetcher: KeySetFetcher
) -> None:
    url = issuer.site.url
    assert json.loads(await fetcher.fetch(issuer="ignored", jwks=f"{url}/keys")) == {"keys": []}
    assert json.loads(await fetcher.fetch(issuer=url, jwks="")) == {"keys": []}


async def test_the_setting_endpoints_redirects_an_issuer(issuer: Issuer) -> None:
    name = "https://login.example.com"
    issuer.configuration = {"issuer": name, "jwks_uri": f"{name}/keys"}
    fetcher = KeySetFetcher(endpoints={name: issuer.site.url})
    try:
        assert json.loads(await fetcher.fetch(issuer=name, jwks="")) == {"keys": []}
    finally:
        await fetcher.close()


async def test_the_configuration_must_be_of_the_issuer(issuer: Issuer, fetcher: KeySetFetcher) -> None:
    url = issuer.site.url
    issuer.configuration["issuer"] = "https://other.example.com"
    assert (
        await failure(fetcher, issuer=url)
        == "the OpenID configuration is of another issuer; give jwks to use its keys"
    )
    issuer.configuration = {"issuer": url}
    assert await failure(fetcher, issuer=url) == "the OpenID configuration names no jwks_uri"
    issuer.configuration = {"issuer": url, "jwks_uri": "file:///etc/passwd"}
    assert await failure(fetcher, issuer=url) == "the jwks_uri is not an absolute http:// or https:// URL"


@pytest.mark.parametrize("target", ["http://localhost:{port}/keys", "http://169.254.169.254/keys"])
async def test_a_configuration_cannot_lead_into_the_network_of_the_gateway(
    target: str, issuer: Issuer, fetcher: KeySetFetcher
) -> None:
    port = issuer.site.url.rpartition(":")[2]
    issuer.configuration["jwks_uri"] = target.format(port=port)
    text = await failure(fetcher, issuer=issuer.site.url)
    assert "not a public address" in text or "no call may reach it" in text


async def test_no_key_set_comes_from_a_metadata_service_or_the_store(fetcher: KeySetFetcher) -> None:
    text = await failure(fetcher, jwks="http://169.254.169.254/keys")
    assert "a link-local or metadata address; no call may reach it" in text
    own = KeySetFetcher(redis_url="redis://127.0.0.1:6399/0")
    try:
        assert "is the store; no call may reach it" in await failure(own, jwks="http://127.0.0.1:6399/keys")
    finally:
        await own.close()


async def test_each_failure_of_a_response_is_named(issuer: Issuer, fetcher: KeySetFetcher) -> None:
    keys = f"{issuer.site.url}/keys"
    issuer.status = 404
    assert await failure(fetcher, jwks=keys) == (
        f"the issuer {issuer.site.url} answered 404 Not Found; 200 is expected"
    )
    issuer.status, issuer.headers = 302, {"Location": "http://127.0.0.1:1/"}
    assert "answered 302 Found" in await failure(fetcher, jwks=keys), "redirects are not followed"
    issuer.status, issuer.headers, issuer.keys = 200, {}, "x" * (key_set_fetcher.MAX_BYTES + 1)
    assert f"its body is larger than {key_set_fetcher.MAX_BYTES} bytes" in await failure(fetcher, jwks=keys)
    assert "cannot connect" in await failure(fetcher, jwks="http://127.0.0.1:1/keys")
    issuer.site.handlers[DISCOVERY], issuer.keys = issuer.give, "<html>"
    assert "is not valid JSON" in await failure(fetcher, issuer=issuer.site.url)


async def test_a_silent_issuer_is_given_up(
    issuer: Issuer, fetcher: KeySetFetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_set_fetcher, "TIMEOUT_S", 0.2)

    async def silent(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    issuer.site.handlers["/keys"] = silent
    assert await failure(fetcher, jwks=f"{issuer.site.url}/keys") == "no complete response within 0.2 s"
