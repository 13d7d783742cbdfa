"""Server certificates: the error states the defect, and further trusted issuers can be configured."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from iogate.effects import Effects
from iogate.settings import Settings
from tests import certificates
from tests.effects.conftest import do, failure, get


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return certificates.made(tmp_path)[0]


@pytest.fixture
async def port(certificate: Path) -> AsyncIterator[int]:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("k.pem"))
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


async def test_an_untrusted_certificate_is_reported_with_a_remedy(port: int) -> None:
    async with Effects(settings=Settings()) as effects:
        kind, status, detail = failure(await do(effects, get(f"https://localhost:{port}/")))
    assert (kind, status) == ("communication", 500)
    assert detail == (
        f"GET https://localhost:{port} failed: its TLS certificate is not valid: self-signed certificate; "
        "the variable SSL_CERT_FILE can name a file of certificates to trust"
    )


async def test_a_certificate_of_another_host_is_reported_as_such(
    port: int, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.create_default_context(cafile=str(certificate))
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", context)
    async with Effects(settings=Settings()) as effects:
        assert (await do(effects, get(f"https://localhost:{port}/"))).output == "ok"
        detail = failure(await do(effects, get(f"https://127.0.0.1:{port}/")))[2]
    assert detail == (
        f"GET https://127.0.0.1:{port} failed: its TLS certificate is not valid: "
        "IP address mismatch, certificate is not valid for '127.0.0.1'"
    )
    endpoints = {"https://shop.example": f"https://127.0.0.1:{port}"}
    async with Effects(settings=Settings(endpoints=endpoints)) as effects:
        detail = failure(await do(effects, get("https://shop.example/")))[2]
    assert detail.endswith(": IP address mismatch"), "callers do not see where endpoints sent it"
