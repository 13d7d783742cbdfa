"""TLS of the gateway's own, and HTTP/2: real processes, real clients."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from iogate.compiler.revision import Limits
from iogate.gateway import certificates as certificates_module
from iogate.gateway import http_server
from iogate.gateway.certificates import Certificates, Unusable
from iogate.security.certificate_expiry import earliest_end_s
from iogate.store.embedded.server import EmbeddedServer
from iogate.store.store import Store
from tests import certificates
from tests.conftest import KINDS
from tests.gateway.driver import Gateway, announced, api, listening, publish, settle, spawn, until
from tests.gateway.settling import RUN

CURL = shutil.which("curl")
HAS_HTTP2 = (
    CURL is not None
    and "HTTP2" in subprocess.run([CURL, "-V"], capture_output=True, text=True, check=False).stdout
)


def made(folder: Path) -> dict[str, str]:
    """Return the setting for a new certificate."""
    folder.mkdir(exist_ok=True)
    cert, key = certificates.made(folder)
    return {"cert": str(cert), "key": str(key)}


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return made(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def gateway(
    redis_servers: dict[str, EmbeddedServer],
    tls: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Gateway]:
    """A gateway with TLS and HTTP/2, for all tests of this module."""
    url = redis_servers[next(iter(KINDS))].url
    with listening() as on:
        started = spawn(
            url, on, tmp_path_factory.mktemp("gateway"), tls=json.dumps(tls), http2="true", log_format="json"
        )
        yield started
        started.stop()


@pytest.fixture
async def live(gateway: Gateway, store: Store) -> Gateway:
    number = await publish(store, api("a/b"), api("a/small", limits=Limits(body=1000)))

    async def taken() -> bool:
        return any(each.revision == number for each in await store.presence.list("gateway"))

    await until(taken)
    return gateway


def der(tls: dict[str, str]) -> bytes:
    """Return the certificate in a file, as a connection shows it."""
    return ssl.PEM_cert_to_DER_cert(Path(tls["cert"]).read_text())


def peer_certificate(port: int, version: ssl.TLSVersion | None = None) -> bytes:
    """Return the certificate that a new connection gets."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if version is not None:
        context.maximum_version = version
    with (
        socket.create_connection(("127.0.0.1", port), 60) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        found = secured.getpeercert(binary_form=True)
        assert found is not None
        return found


async def curl(gateway: Gateway, path: str, *options: str) -> tuple[dict[str, Any], str]:
    """Send one request; return curl's facts about the response, and its body."""
    assert CURL is not None
    command = [
        CURL,
        "-sk",
        "-w",
        "\\n%{json}",
        "-m",
        "60",
        *options,
        f"https://127.0.0.1:{gateway.port}{path}",
    ]
    ran = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await ran.communicate()
    body, _, facts = output.decode().rpartition("\n")
    return json.loads(facts), body


async def test_tls_has_version_1_2_at_least(live: Gateway, tls: dict[str, str]) -> None:
    expected = der(tls)
    assert await asyncio.to_thread(peer_certificate, live.port) == expected
    assert await asyncio.to_thread(peer_certificate, live.port, ssl.TLSVersion.TLSv1_2) == expected
    with pytest.raises((ssl.SSLError, ConnectionError)), pytest.warns(DeprecationWarning, match="TLS"):
        await asyncio.to_thread(peer_certificate, live.port, ssl.TLSVersion.TLSv1_1)


async def test_the_metrics_have_the_end_of_the_certificate(live: Gateway, tls: dict[str, str]) -> None:
    _, text = await curl(live, "/metrics")
    end_s = earliest_end_s(ssl.DER_cert_to_PEM_cert(der(tls)).encode())
    (line,) = (each for each in text.splitlines() if each.startswith("iogate_tls_certificate_expiry_"))
    name, number = line.split()
    assert (name, float(number)) == ("iogate_tls_certificate_expiry_timestamp_seconds", end_s)


@pytest.mark.skipif(not HAS_HTTP2, reason="needs a curl with HTTP/2")
async def test_calls_over_http_2_are_those_over_http_1(live: Gateway, store: Store) -> None:
    for version, option in (("2", "--http2"), ("1.1", "--http1.1")):
        facts, body = await curl(live, "/v1/api/a/b/async", option, "-d", '{"n": 1}')
        assert (facts["http_version"], facts["response_code"]) == (version, 202), body
        uid = json.loads(body)["response"]["uid"]
        assert await store.runs.show(uid) is not None
        facts, body = await curl(live, f"/v1/runs/{uid}", option)
        assert json.loads(body)["response"]["input"] == {"n": 1}


@pytest.mark.skipif(not HAS_HTTP2, reason="needs a curl with HTTP/2")
async def test_limits_and_hosts_hold_over_http_2(live: Gateway) -> None:
    large = await curl(live, "/v1/api/a/small/async", "--http2", "-d", "x" * 2000)
    assert (large[0]["response_code"], large[0]["http_version"]) == (413, "2")
    chunked = await curl(
        live, "/v1/api/a/small/async", "--http2", "-H", "Content-Length:", "-T", "/etc/services", "-X", "POST"
    )
    assert chunked[0]["response_code"] == 413
    for option in ("--http2", "--http1.1"):
        misdirected = await curl(live, "/health/live", option, "-H", "Host: evil.example")
        assert misdirected[0]["response_code"] == 421
    headers = await curl(live, "/v1/api/a/b/async", "--http2", "-H", "X-Long: " + "y" * 40_000)
    assert headers[0]["response_code"] == 431
    assert (await curl(live, "/health/live", "--http2"))[0]["response_code"] == 200


@pytest.mark.skipif(not HAS_HTTP2, reason="needs a curl with HTTP/2")
async def test_streams_over_http_2(live: Gateway, store: Store) -> None:
    _, body = await curl(live, "/v1/api/a/b/async", "--http2", "-d", "{}")
    uid = json.loads(body)["response"]["uid"]
    following = asyncio.create_task(curl(live, f"/v1/runs/{uid}/events", "--http2"))
    await asyncio.sleep(0.3)
    await store.runs.cancel(uid, "a test")
    facts, body = await following
    assert (facts["http_version"], facts["response_code"]) == ("2", 200)
    assert body.rstrip().splitlines()[-2] == "event: end"


async def test_a_replaced_certificate_is_used_and_no_request_is_lost(
    redis_url: str, store: Store, tmp_path: Path
) -> None:
    await publish(store, api("a/b"))
    files = made(tmp_path / "first")
    with listening() as on:
        gateway = spawn(redis_url, on, tmp_path, run=RUN, tls=json.dumps(files), log_format="json")
        try:
            await until(lambda: announced(store, gateway))
            before = await asyncio.to_thread(peer_certificate, gateway.port)
            _, body = await curl(gateway, "/v1/api/a/b/async", "-d", "{}")
            uid = json.loads(body)["response"]["uid"]
            waiting = asyncio.create_task(curl(gateway, f"/v1/runs/{uid}?wait=60", "-m", "90"))
            statuses: list[int] = []
            calls = asyncio.create_task(_call_until_cancelled(gateway, statuses))
            # A key that is not that of the certificate is refused, and the old pair stays.
            other = made(tmp_path / "second")
            shutil.copy(other["key"], files["key"])
            await until(lambda: _logged(gateway, "is not the key of the first certificate"))
            assert await asyncio.to_thread(peer_certificate, gateway.port) == before
            shutil.copy(other["cert"], files["cert"])

            async def more() -> None:
                count = len(statuses) + 2
                await until(lambda: _has(statuses, count))

            for number in (1, 2):
                await settle(tmp_path, number, more)
            await until(lambda: _logged(gateway, "certificate reloaded"))
            expected = der(other)
            assert await asyncio.to_thread(peer_certificate, gateway.port) == expected
            await store.runs.cancel(uid, "a test")
            facts, body = await waiting
            assert (facts["response_code"], json.loads(body)["response"]["status"]) == (200, "cancelled")
            await until(lambda: _has(statuses, 6))
            calls.cancel()
            await calls
            assert set(statuses) == {202}
            gateway.process.terminate()
            (tmp_path / "settled-3").touch()
            assert await asyncio.to_thread(gateway.process.wait, 60) == 0
        finally:
            gateway.stop()


async def _has(found: list[int], count: int) -> bool:
    return len(found) >= count


async def _call_until_cancelled(gateway: Gateway, statuses: list[int]) -> None:
    while True:
        call = asyncio.create_task(curl(gateway, "/v1/api/a/b/async", "-d", "{}"))
        try:
            facts, _ = await asyncio.shield(call)
        except asyncio.CancelledError:
            await call  # its process would outlive the test, which is a warning in a later one
            return
        statuses.append(facts["response_code"])


async def _logged(gateway: Gateway, text: str) -> bool:
    return text in gateway.log.read_text()


@pytest.mark.parametrize("lacking", ["processes", "time"])
async def test_an_error_of_the_system_only_delays_a_replaced_certificate(
    lacking: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", http_server.__name__)
    monkeypatch.setattr(http_server, "LOOK_S", 0.01)
    files = made(tmp_path / "first")
    watched = Certificates(files)
    watched.note_use(watched.load())
    before = watched.expires_s

    async def logs(action: str) -> bool:
        return any(getattr(each, "action", "") == action for each in caplog.records)

    # Before the first look, which must not find one of the two files.
    certificates.made(tmp_path / "first", days=5)
    following = asyncio.create_task(http_server._follow([], watched))
    with monkeypatch.context() as limited:
        if lacking == "processes":
            limited.setattr(sys, "executable", str(tmp_path / "none"))
        else:
            limited.setattr(certificates_module, "TRIAL_S", 0.0)
        await until(lambda: logs("certificate.refused"))
        assert watched.expires_s == before
    await until(lambda: logs("certificate.reloaded"))
    assert before is not None
    assert watched.expires_s is not None
    assert watched.expires_s > before
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    refused = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert len(refused) == len(set(refused)), "each reason is logged once"
    assert refused[0].startswith(f"tls: cannot change to {files['cert']}: ")
    assert refused[0].endswith("(the gateway tries again each second); the previous certificate stays in use")


def test_wrong_files_have_messages(tmp_path: Path) -> None:
    good, other = made(tmp_path / "a"), made(tmp_path / "b")
    Certificates(good).load()
    cases = {
        "tls.cert: cannot read": {**good, "cert": str(tmp_path / "none.pem")},
        "tls.key: cannot read": {**good, "key": str(tmp_path)},
        "is not the key of the first certificate": {**good, "key": other["key"]},
        "are not a certificate and its key in PEM": {**good, "cert": __file__},
    }
    encrypted = tmp_path / "e.pem"
    command = [
        "openssl",
        "rsa",
        "-aes128",
        "-passout",
        "pass:abcd",
        "-in",
        good["key"],
        "-out",
        str(encrypted),
    ]
    subprocess.run(command, capture_output=True, check=True)
    cases["is encrypted"] = {**good, "key": str(encrypted)}
    for text, tls in cases.items():
        with pytest.raises(Unusable, match=text) as caught:
            Certificates(tls).load()
        assert caught.value.hint


def test_a_key_that_only_the_server_refuses_ends_no_gateway(tmp_path: Path) -> None:
    """OpenSSL knows this curve, the server does not."""
    cert, key = tmp_path / "c.pem", tmp_path / "k.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:secp256k1",
        "-nodes",
    ]
    command += ["-subj", "/CN=localhost", "-days", "2", "-keyout", str(key), "-out", str(cert)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs an openssl with this curve")
    with pytest.raises(Unusable, match="the server cannot use") as caught:
        Certificates({"cert": str(cert), "key": str(key)}).load()
    assert "P-256" in caught.value.hint
