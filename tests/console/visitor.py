"""Browsers of operators: contexts that are logged in, and that notice what no page may do."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final
from urllib.parse import urlsplit

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Request

from iogate.gateway.console.session import Sessions
from tests.console import hostile
from tests.console.site import TOKENS, Site
from tests.keys import LINK_KEY

EXPECT_MS: Final = 30_000
"""Longest wait for a page or a part of it, in milliseconds."""


class Visitors:
    """Opens contexts of a browser, and closes them after the test."""

    def __init__(self, browser: Browser, site: Site) -> None:
        self.browser, self.site = browser, site
        self._contexts: list[BrowserContext] = []
        self.messages: list[str] = []
        """Warnings and errors on the consoles of the browsers."""
        self.requests: list[str] = []
        self.expected: tuple[str, ...] = ()
        """Beginnings of messages that a test provokes."""

    async def context(self, **options: Any) -> BrowserContext:
        """Open a context without a session."""
        made = await self.browser.new_context(base_url=self.site.url, **options)
        made.set_default_timeout(EXPECT_MS)
        await made.add_init_script(hostile.WATCH)
        made.on("console", self._note)
        made.on("request", self._request)
        self._contexts.append(made)
        return made

    async def page(self, name: str | None = "ada", **options: Any) -> Page:
        """Open a page with a session of an operator."""
        context = await self.context(**options)
        if name is not None:
            await log_in(context, self.site, name)
        return await context.new_page()

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.messages.append(message.text)

    def _request(self, request: Request) -> None:
        self.requests.append(request.url)

    async def close(self) -> None:
        for context in self._contexts:
            for page in context.pages:
                if page.url.startswith(self.site.url):
                    assert await page.evaluate("window.hostile") is None, page.url
                    assert await page.evaluate("window.reports") == [], page.url
            await context.close()
        known = self.expected or "\0"
        strange = [each for each in self.messages if not each.startswith(known)]
        assert not strange, strange
        own = urlsplit(self.site.url).netloc
        away = [
            url
            for url in self.requests
            if urlsplit(url).scheme != "data" and urlsplit(url).netloc != own and not url.startswith(known)
        ]
        assert not away, away


async def log_in(context: BrowserContext, site: Site, name: str) -> None:
    """Give a browser a session, as the login form does, which tests of the login use."""
    deadline = time.monotonic() + EXPECT_MS / 1000
    while True:
        response = await context.request.post(
            f"{site.url}/console/login",
            form={"token": TOKENS[name]},
            headers={"Origin": site.url, "Sec-Fetch-Site": "same-origin"},
            max_redirects=0,
        )
        if response.status == 303:
            return
        # An earlier test may have restored the file of the token a moment ago.
        assert time.monotonic() < deadline, await response.text()
        await asyncio.sleep(0.2)


def cookie_name() -> str:
    """Return the name of the cookie of the served project."""
    return Sessions(LINK_KEY).cookie
