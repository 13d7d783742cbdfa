"""HTTP session of the exporter: reads little of each response, and reports redirects.

Created by `tracing`; its methods are called in the thread of the batch processor. Invariant: the body of a
response costs bounded memory and time, whatever the server at the address of the collector sends.
"""

from __future__ import annotations

import time
from typing import Any, Final

import requests

MOST_BYTES: Final = 16 * 1024
"""Longest body that is read to its end, so that its connection is used again; longer ones are cut off."""
READ_S: Final = 1.0
"""Longest time that a body is read for, while bytes arrive."""


class BoundedSession(requests.Session):
    """Session whose responses have a status and headers, but no body: the exporter needs none."""

    def request(self, *args: Any, **options: Any) -> requests.Response:
        """Send a request of the exporter in this HTTP session and return its response.

        Raises RequestException, also for a redirect, which the exporter would take for success.
        """
        response = super().request(*args, **{**options, "stream": True, "allow_redirects": False})
        _drop_body(response)
        if 300 <= response.status_code < 400:
            raise requests.TooManyRedirects(
                f"it answers {response.status_code}, a redirect, which is not followed: set its final URL"
            )
        return response


def _drop_body(response: requests.Response) -> None:
    end_s = time.monotonic() + READ_S
    try:
        for _ in range(MOST_BYTES):
            # A longer read would wait for all of its bytes.
            if not response.raw.read(1) or time.monotonic() > end_s:
                return
    finally:
        response._content = b""  # noqa: SLF001 - else the exporter would read the rest
        response.close()
