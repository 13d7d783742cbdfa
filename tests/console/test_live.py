"""The page of a run that is still running: entries as they come, also across the death of a gateway."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from playwright.async_api import Page, expect

from iogate.gateway.console.pages.run_view import ENTRIES
from tests.cli.place import until
from tests.console.site import Site
from tests.console.visitor import Visitors


async def numbers(page: Page) -> list[int]:
    """Return the numbers of the journal entries on a page, in their order."""
    found: list[str] = await page.evaluate(
        "[...document.querySelectorAll('#entries tr')].map(each => each.id.slice(1))"
    )
    return [int(each) for each in found]


def gateways(site: Site) -> list[int]:
    """Return the processes of the gateways of a site."""
    children = Path(f"/proc/{site.process.pid}/task/{site.process.pid}/children").read_text().split()
    commands = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children}
    return [pid for pid, command in commands.items() if b"iogate.gateway" in command]


async def test_a_run_is_watched_to_its_end_while_its_gateway_is_killed(
    visitors: Visitors, site: Site
) -> None:
    visitors.expected = ("Failed to load resource", "net::")
    uid = site.call_api("steps", {"count": 300})
    page = await visitors.page("rob")
    await page.goto(f"/console/runs/{uid}")
    await page.evaluate("window.untouched = true")
    await expect(page.locator("#live")).to_have_text("live")
    await expect(page.locator("#entries tr").nth(8)).to_be_visible()
    (gateway,) = gateways(site)
    os.kill(gateway, signal.SIGKILL)
    await expect(page.locator("#live")).to_have_text("reconnecting")
    until(lambda: gateways(site) not in ([], [gateway]))
    await expect(page.locator("#live")).to_have_text("live")
    seen = await page.locator("#entries tr").count()
    await expect(page.locator("#entries tr").nth(seen + 5)).to_be_visible()
    # Without the page having been loaded again, it has followed the entries without a gap.
    before = await numbers(page)
    assert await page.evaluate("window.untouched")
    site.operate(f"/v1/runs/{uid}/cancel", {"reason": "seen enough"})
    await expect(page.locator("#status")).to_have_text("cancelled")
    entries = site.journal(uid)
    shown = [number for number, entry in enumerate(entries, 1) if entry["kind"] != "task.created"]
    assert before == shown[: len(before)]
    assert await numbers(page) == shown[-ENTRIES:]


async def test_the_bars_of_a_live_run_grow(visitors: Visitors, site: Site) -> None:
    uid = site.call_api("approve", {"order": "A-1"})
    until(lambda: site.run(uid)["status"] == "waiting")
    page = await visitors.page("rob")
    await page.goto(f"/console/runs/{uid}")
    bar = page.locator("#task-do-0-ask rect:last-child")
    before = await bar.get_attribute("width")
    await page.wait_for_function(
        "before => document.querySelector('#task-do-0-ask rect:last-child').getAttribute('width') != before",
        arg=before,
    )


async def test_the_axis_in_a_browser_is_that_of_the_page(visitors: Visitors, site: Site) -> None:
    """Both compute the axis: the page when it is made, the browser while the run goes on."""
    uid = site.call_api("approve", {"order": "A-2"})
    page = await visitors.page("rob")
    await page.goto(f"/console/runs/{uid}")
    axis = await page.locator("#tasks").get_attribute("data-axis")
    ticks = await page.locator("#axis span").all_text_contents()
    await page.evaluate("new Promise(done => setTimeout(done, 50))")
    assert axis is not None
    assert await page.locator("#axis span").all_text_contents() == ticks
