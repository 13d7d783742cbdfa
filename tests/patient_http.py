"""Requests to gateways that keep the deadlines of production, such as those of `iogate up`.

A busy machine may stall such a gateway or its store for 0.9 s: it then answers with 503, and says that the
request may be repeated.
"""

from __future__ import annotations

import time

import httpx

STALLED = "The store did not answer in time"
"""Beginning of the message of such a response."""
LIMIT_S = 20.0
"""Longest time in which requests are repeated."""


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
            if STALLED.encode() not in content or time.monotonic() > until_s:
                return httpx.Response(503, headers=response.headers, content=content)
