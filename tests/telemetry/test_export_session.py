"""The server at the address of the collector costs little, whatever it answers."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk.trace", reason="the extra otel is not installed")

import requests
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import SpanExportResult

from iogate.telemetry import export_session
from iogate.telemetry.export import ReportingExporter, SdkLog
from iogate.telemetry.export_session import MOST_BYTES, BoundedSession

Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


@contextmanager
def server(answer: Answer) -> Iterator[tuple[str, list[tuple[str, int]]]]:
    """Run a server; yield its URL and the addresses of the connections of its requests."""
    seen: list[tuple[str, int]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            seen.append(self.client_address)
            with suppress(OSError):
                answer(self)

        def log_message(self, *_: Any) -> None:
            pass

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{httpd.server_port}/v1/traces", seen
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()


def respond(status: int, body: bytes = b"", **headers: str) -> Answer:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def endless(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(200):
        handler.wfile.write(b"x" * 1024 * 1024)


def trickling(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    for _ in range(300):
        handler.wfile.write(b"x")
        time.sleep(0.1)


@pytest.mark.parametrize("answer", [endless, trickling, respond(200, b"x" * 10 * MOST_BYTES)])
def test_a_long_response_is_cut_off(answer: Answer) -> None:
    with server(answer) as (url, _):
        began_s = time.monotonic()
        response = BoundedSession().request("POST", url, data=b"spans", timeout=10)
        assert (response.status_code, response.content) == (200, b"")
        assert time.monotonic() - began_s < 15


def test_the_connection_of_a_short_response_is_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_session, "READ_S", 60.0)  # a busy machine may stall the server in its response
    with server(respond(200, b"{}")) as (url, seen), BoundedSession() as session:
        for _ in range(3):
            assert session.post(url, data=b"spans", timeout=10).ok
        assert len(seen) == 3
        assert len(set(seen)) == 1


@pytest.mark.parametrize("status", [301, 307, 308, 304])
def test_a_redirect_is_reported_and_not_followed(status: int, caplog: pytest.LogCaptureFixture) -> None:
    with server(respond(200)) as (other, followed), server(respond(status, Location=other)) as (url, _):
        with pytest.raises(requests.RequestException):
            BoundedSession().post(url, data=b"spans", timeout=10)
        exporter = ReportingExporter(OTLPSpanExporter(url, session=BoundedSession()), "http://collector")
        SdkLog(exporter).attach()
        assert exporter.export([]) is SpanExportResult.FAILURE
        assert followed == []
    (record,) = caplog.records
    assert f"it answers {status}, a redirect, which is not followed" in record.getMessage()
