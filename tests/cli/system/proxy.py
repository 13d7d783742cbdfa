"""A proxy between a command and its gateway, which changes or loses responses."""

from __future__ import annotations

import http.client
import http.server
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from tests.cli.place import Place
from tests.patient_http import LIMIT_S, PAUSE_S, is_stalled

KEPT = ("Content-Type", "Retry-After")
"""Headers of a response that the proxy forwards."""


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """A request, and the response of the gateway to it."""

    method: str
    path: str
    """Without the query."""
    asked: Mapping[str, str]
    """Headers of the request, by names in lower case."""
    status: int
    headers: Mapping[str, str]
    content: bytes


Change = Callable[[Exchange], Exchange | None]
"""Returns the exchange with the response to send; None closes the connection without one."""


@contextmanager
def forwarding(place: Place, change: Change) -> Iterator[str]:
    """Forward requests to the gateway, and change their responses; yield the URL of the proxy."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            until_s = time.monotonic() + LIMIT_S
            while True:
                connection = http.client.HTTPConnection("127.0.0.1", place.port, timeout=60)
                connection.request(self.command, self.path, body or None, dict(self.headers))
                response = connection.getresponse()
                content = response.read()
                connection.close()
                stalled = response.status == 503 and is_stalled(content.decode(errors="replace"))
                if not stalled or time.monotonic() > until_s:
                    break
                time.sleep(PAUSE_S)
            found = change(
                Exchange(
                    method=self.command,
                    path=self.path.partition("?")[0],
                    asked={name.lower(): value for name, value in self.headers.items()},
                    status=response.status,
                    headers={name: response.headers[name] for name in KEPT if response.headers[name]},
                    content=content,
                )
            )
            if found is None:
                self.close_connection = True
                return
            self.send_response(found.status)
            for name, value in {**found.headers, "Content-Length": str(len(found.content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(found.content)

        def do_GET(self) -> None:
            self.forward()

        def do_POST(self) -> None:
            self.forward()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
