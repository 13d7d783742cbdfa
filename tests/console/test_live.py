"""The page of a run that is still running: entries as they come, also across the death of a gateway."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

import httpx
from playwright.async_api import Page, expect

from iogate.gateway.console.pages.run_page_values import ENTRIES
from tests.cli.place import until
from tests.console.site import TOKENS, Site
from tests.console.visitor import Visitors
from tests.gateway.driver import until as come_true

NOTE_STATES: Final = """
const live = document.getElementById('live');
window.states = [];
new MutationObserver(() => window.states.push(live.textContent.trim()))
    .observe(live, {childList: true, characterData: true, subtree: true});
"""
"""Script that collects the states of the connection of a page: one may last for less than a stall."""

SET_HIDDEN: Final = """
hidden => {
    Object.defineProperty(document, 'hidden', {configurable: true, get: () => hidden});
    document.dispatchEvent(new Event('visibilitychange'));
}
"""
"""Function that hides or shows a page, as a browser does if another tab is chosen."""


async def numbers(page: Page) -> list[int]:
    """Return the numbers of the journal entries on a page, in their order."""
    found: list[str] = await page.evaluate(
        "[...document.querySelectorAll('#entries tr')].map(each => each.id.slice(1))"
    )
    return [int(each) for each in found]


def gateways(site: Site) -> list[int]:
    """Return the processes of the gateways of a site."""
    children = Path(f"/proc/{site.process.pid}/task/{site.process.pid}/children").read_text().split()
    found = []
    for pid in children:
        with suppress(FileNotFoundError, ProcessLookupError):  # it may have ended since
            if b"iogate.gateway" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(int(pid))
    return found


async def test_a_run_is_watched_to_its_end_while_its_gateway_is_killed(
    visitors: Visitors, site: Site
) -> None:
    visitors.expected = ("Failed to load resource", "net::")
    page = await visitors.page("rob")
    uid = site.call_api("steps", {"count": 300})
    await page.goto(f"/console/runs/{uid}")
    await page.evaluate("window.untouched = true")
    await expect(page.locator("#live")).to_have_text("live")
    await expect(page.locator("#entries tr").nth(8)).to_be_visible()
    await page.evaluate(NOTE_STATES)
    (gateway,) = gateways(site)
    os.kill(gateway, signal.SIGKILL)
    await page.wait_for_function("window.states.includes('reconnecting')")
    until(lambda: gateways(site) not in ([], [gateway]))
    await expect(page.locator("#live")).to_have_text("live")
    seen = await page.locator("#entries tr").count()
    await expect(page.locator("#entries tr").nth(seen + 5)).to_be_visible()
    # Without the page having been loaded again, it has followed the entries without a gap.
    before = await numbers(page)
    assert await page.evaluate("window.untouched")
    site.operate(f"/v1/runs/{uid}/cancel", {"reason": "seen enough"})
    await expect(page.locator("#status")).to_have_text("cancelled")
    await page.wait_for_load_state("load")
    entries = site.journal(uid)
    shown = [number for number, entry in enumerate(entries, 1) if entry["kind"] != "task.created"]
    # A page that a busy machine opens or continues late does not have the first entries.
    begins = shown.index(before[0])
    assert before == shown[begins : begins + len(before)]
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
    until(lambda: site.run(uid)["status"] == "waiting")
    page = await visitors.page("rob")
    await page.goto(f"/console/runs/{uid}")
    assert await page.locator("#tasks").get_attribute("data-axis") is not None
    stays = []
    for _ in range(3):  # the browser draws each second, and then the axis may be longer
        ticks = await page.locator("#axis span").all_text_contents()
        await page.evaluate("new Promise(done => setTimeout(done, 50))")
        stays.append(await page.locator("#axis span").all_text_contents() == ticks)
    assert any(stays)


async def test_a_list_shows_runs_as_they_come_and_keeps_the_focus(visitors: Visitors, site: Site) -> None:
    first = site.ended("break", {"title": "first"})
    page = await visitors.page("rob")
    await page.goto("/console/runs?api=orders/break")
    await expect(page.locator("#live-list")).to_be_visible()
    await page.evaluate("window.untouched = true")
    await page.get_by_role("link", name=first).focus()
    second = site.ended("break", {"title": "<b>second</b>"})
    await expect(page.locator("#runs tbody tr").first).to_contain_text(second)
    await expect(page.locator("#runs tbody tr").first).to_contain_text("<b>second</b>")
    assert await page.evaluate("document.activeElement.textContent") == first
    assert await page.evaluate("window.untouched")
    shown = await page.locator("#runs tbody time").first.text_content()
    assert shown == await page.evaluate(
        "new Date(document.querySelector('#runs tbody time').dateTime).toTimeString().slice(0, 8)"
    )


async def test_hidden_pages_leave_the_connections_of_the_browser_to_others(
    visitors: Visitors, site: Site
) -> None:
    """With HTTP/1.1, a browser has six connections for all pages of a gateway."""
    uid = site.call_api("approve", {"order": "A-3"})
    until(lambda: site.run(uid)["status"] == "waiting")
    run = await visitors.page("rob")
    runs, *others = [await run.context.new_page() for _ in range(5)]
    for page in (run, runs, *others):
        await page.goto("/console/runs?api=orders/approve" if page is runs else f"/console/runs/{uid}")
        await expect(page.locator("#live, #live-list")).to_be_visible()
        await page.evaluate(SET_HIDDEN, True)
    another = await run.context.new_page()
    await another.goto("/console")
    site.operate(f"/v1/runs/{uid}/cancel", {"reason": "seen enough"})
    await run.evaluate(SET_HIDDEN, False)
    await expect(run.locator("#status")).to_have_text("cancelled")
    await runs.evaluate(SET_HIDDEN, False)
    await expect(runs.locator("#runs tbody tr", has_text=uid)).to_contain_text("cancelled")


async def test_an_older_page_of_a_list_stays_as_it_is(visitors: Visitors, site: Site) -> None:
    for number in range(51):
        site.call_api("refund", {"order": str(number)})
    page = await visitors.page("rob")
    await page.goto("/console/runs?api=orders/refund")
    await page.get_by_role("link", name="Older").click()
    await page.wait_for_url("**cursor=**")
    await expect(page.locator("#live-list")).to_have_count(0)


async def test_a_followed_list_ends_with_its_session(visitors: Visitors, site: Site) -> None:
    async with httpx.AsyncClient(base_url=site.url, headers={"Origin": site.url}, timeout=60) as client:

        async def logged_in() -> bool:
            # The test of a replaced token may have restored the file a moment ago.
            return (await client.post("/console/login", data={"token": TOKENS["fay"]})).status_code == 303

        await come_true(logged_in)
        async with client.stream("GET", "/console/runs/changes") as stream:
            parts = stream.aiter_raw()
            assert (await anext(parts)).startswith(b": ")
            try:
                (site.root / "fay").write_text("another-token-0123456789")
                site.call_api("approve", {"order": "A-1"})
                async for part in parts:
                    assert b"event: changed" in part
                    site.call_api("approve", {"order": "A-1"})
            finally:
                (site.root / "fay").write_text(TOKENS["fay"])
