"""Requests that pages of other origins make a browser send."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.async_api import expect

from tests.console.visitor import Visitors


@contextmanager
def serving_page(text: str) -> Iterator[int]:
    """Serve one page of another origin; yield its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"], ids=["other port", "other site"])
async def test_a_form_of_another_origin_is_refused(visitors: Visitors, host: str) -> None:
    """A page on another port of the same host is of the same site: its forms carry the cookie."""
    visitors.expected = ("Failed to load resource: the server responded with a status of 403", "http://")
    page = await visitors.page("ada")
    text = f"<form method=post action='{visitors.site.url}/console/logout'><button>go</button></form>"
    with serving_page(text) as port:
        await page.goto(f"http://{host}:{port}/")
        await page.get_by_role("button").click()
        await expect(page.get_by_role("heading", name="Not allowed")).to_be_visible()
        await page.goto("/console/activity")
        await expect(page.get_by_text("ada · admin")).to_be_visible()


async def test_a_page_of_the_console_is_shown_in_no_frame(visitors: Visitors) -> None:
    visitors.expected = ("Framing ", "Refused to frame", "Failed to load", "http://")
    page = await visitors.page("ada")
    with serving_page(f"<iframe src='{visitors.site.url}/console/activity'></iframe>") as port:
        async with page.expect_console_message(lambda message: "frame-ancestors" in message.text):
            await page.goto(f"http://127.0.0.1:{port}/")
        (frame,) = page.frames[1:]
        assert "activity" not in await frame.content()


async def test_a_link_on_another_site_opens_the_page_in_the_session(visitors: Visitors) -> None:
    """The browser keeps the cookie back from a link of another site, and sends it with the next request."""
    visitors.expected = ("http://localhost",)
    page = await visitors.page("ada")
    with serving_page(f"<a href='{visitors.site.url}/console/activity?action=runs'>run</a>") as port:
        await page.goto(f"http://localhost:{port}/")
        await page.get_by_role("link").click()
        await expect(page.get_by_text("ada · admin")).to_be_visible()
        assert page.url == f"{visitors.site.url}/console/activity?action=runs"


async def test_a_program_cannot_send_a_form(visitors: Visitors) -> None:
    """Without a header that names the origin, a request is not from a browser."""
    page = await visitors.page("ada")
    url = f"{visitors.site.url}/console/logout"
    assert (await page.context.request.post(url, headers={"Origin": ""})).status == 403
    assert (await page.context.request.post(url, headers={"Origin": "null"})).status == 403
