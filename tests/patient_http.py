"""Requests to gateways that keep the deadlines of production, such as those of `iogate up`.

A busy machine may stall such a gateway or its store for 0.9 s: it then answers with 503, and says that the
store did not answer in time, or that it is out of reach, as when the stall is met before anything was sent to
the store. Both may be repeated.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import httpx

STALLED = ("The store did not answer in time", "The store is out of reach; nothing was accepted")
"""Beginnings of the messages of such responses."""
PAUSE_S = 0.05
LIMIT_S = 20.0
"""Longest time in which requests are repeated."""


def is_stalled(text: str) -> bool:
    """Return whether a response with this text is that of a gateway whose store was stalled."""
    return any(message in text for message in STALLED)


class PatientTransport(httpx.HTTPTransport):
    """Transport that repeats a request whose gateway did not hear from its store in time."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        until_s = time.monotonic() + LIMIT_S
        while True:
            response = super().handle_request(request)
            if response.status_code != 503:
                return response
            content = response.read()
            response.close()
            if not is_stalled(content.decode(errors="replace")) or time.monotonic() > until_s:
                return httpx.Response(503, headers=response.headers, content=content)
            time.sleep(PAUSE_S)


def fetched(url: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
    """Return the whole response to a GET, such as a stream that ends."""
    with httpx.Client(transport=PatientTransport(), timeout=60, headers=headers) as client:
        return client.get(url)
