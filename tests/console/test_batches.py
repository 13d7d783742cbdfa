"""Batches in the browser: all faulted runs of a list are retried, without JavaScript, too."""

from __future__ import annotations

import asyncio
import re

from playwright.async_api import expect

from tests.console.site import Site
from tests.console.visitor import Visitors


async def test_all_faulted_runs_of_a_list_are_retried(visitors: Visitors, site: Site) -> None:
    uids = [site.ended("break", {"title": f"batch {number}"}) for number in range(2)]
    since = site.run(uids[0])["createdAt"]
    page = await visitors.page("ada")
    await page.goto(f"/console/runs?status=faulted&api=orders/break&since={since}")
    await page.get_by_role("link", name="Retry all").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Retry all faulted runs of orders/break")
    await expect(page.locator("p", has_text="2 faulted runs accepted since")).to_have_count(1)
    assert await page.locator("td a.mono").all_text_contents() == uids[::-1]
    await page.get_by_label("Reason").fill("the cause is gone")
    await page.get_by_role("button", name="Retry 2 runs").click()
    await page.wait_for_url(re.compile("/console/batches/[0-9a-f]{12}"))
    changed = page.locator("[data-l=changed]")
    async with asyncio.timeout(60):
        while await changed.text_content() != "2":
            await page.get_by_role("link", name="Reload").click()
    assert {site.run(uid)["attempt"] for uid in uids} == {2}
    await page.goto("/console/batches")
    await expect(page.locator("tbody tr").first).to_contain_text("the cause is gone")
