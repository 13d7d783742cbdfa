"""A real Chromium shows the form of a link, and its button uses the link; opening the page uses nothing.

Runs if a Chromium is installed; `tests/gateway/links` sends such requests without one.
"""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from iogate.store import keys
from iogate.store.store import Store
from tests.gateway.driver import announced, listening, spawn, until
from tests.gateway.links.pressing import events, listen, path, publish_links, start, wanting
from tests.security.test_browser import CHROMIUM, NAMES, visit

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=f"no browser on PATH: none of {', '.join(NAMES)}")

FILL = """
document.querySelector('[name=decision]').selectedIndex = 1;
document.querySelector('[name=amount]').value = '12';
document.querySelector('[name=urgent]').click();
document.querySelector('button').click();
"""


class Page:
    """The page that the browser shows, over its debugging protocol."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0

    async def evaluate(self, script: str) -> Any:
        """Return the value of a script; None while the page is replaced."""
        self._number += 1
        asked = {"id": self._number, "method": "Runtime.evaluate"}
        await self._socket.send_str(
            json.dumps(asked | {"params": {"expression": script, "returnByValue": True}})
        )
        while True:
            told = json.loads((await self._socket.receive(30)).data)
            if told.get("id") == self._number:
                return told.get("result", {}).get("result", {}).get("value")

    async def shows(self, text: str) -> bool:
        return text in str(await self.evaluate("document.body && document.body.innerText"))


@contextlib.asynccontextmanager
async def opened(url: str, folder: Path) -> Any:
    """Open a URL in a browser."""
    browser = await visit(url, folder, "")
    try:
        told = folder / "profile" / "DevToolsActivePort"

        async def port() -> str | None:
            return told.read_text().split("\n")[0] if told.exists() and "\n" in told.read_text() else None

        base = f"http://127.0.0.1:{await until(port, 60)}"
        async with aiohttp.ClientSession() as http:

            async def target() -> str | None:
                async with http.get(f"{base}/json") as reply:
                    pages = [each for each in await reply.json() if each["type"] == "page"]
                return pages[0]["webSocketDebuggerUrl"] if pages else None

            async with http.ws_connect(await until(target)) as socket:
                yield Page(socket)
    finally:
        if browser.returncode is None:
            browser.terminate()
            await browser.wait()


@pytest.mark.timeout(180)
async def test_the_button_of_the_page_uses_the_link(redis_url: str, store: Store, tmp_path: Path) -> None:
    (uid,) = await start(store, await publish_links(store))
    await listen(store, {1: wanting("approve")})
    link = path(store, uid, "approve", int(time.time()) + 600)
    with listening() as on:
        gateway = spawn(redis_url, on, tmp_path)
        try:
            await until(lambda: announced(store, gateway))
            async with opened(f"{gateway.url}{link}", tmp_path) as page:
                await until(lambda: page.shows("Refund <A-1>?"))
                assert await page.evaluate("document.scripts.length") == 0
                # The style sheet is allowed by its hash.
                assert (
                    await page.evaluate("getComputedStyle(document.querySelector('main')).maxWidth")
                    == "576px"
                )
                assert await store.call("EXISTS", f"{keys.LINK}{uid}:approve") == 0
                await page.evaluate(FILL)
                await until(lambda: page.shows("Your answer was received"))
                await page.evaluate("location.reload()")
        finally:
            gateway.stop()
    (event,) = await events(store, uid)
    assert event["data"] == {"decision": "approve", "amount": 12, "urgent": True}
