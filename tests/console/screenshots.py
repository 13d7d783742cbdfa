"""Pictures of the console for the documentation: `python -m tests.console.screenshots [FOLDER]`.

They show a real project with real runs, served by `iogate up`, in the Chromium of this machine.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Final

from playwright.async_api import ViewportSize, async_playwright

from tests.cli.place import until
from tests.console.conftest import CHROMIUM
from tests.console.site import Site, serving, write_project
from tests.console.visitor import log_in

FOLDER: Final = Path(__file__).parents[2] / "docs/images"
SIZE: Final[ViewportSize] = {"width": 1180, "height": 820}
ORDERS: Final = 14


def make_runs(site: Site) -> str:
    """Start runs of all kinds; return the uid of one that has faulted."""
    items = [{"sku": "tea-green", "price": 12.5}, {"sku": "cup-blue", "price": 8}]
    uids = []
    for number in range(ORDERS):
        order = f"A-{1007 + number}"
        uids.append(
            site.call_api("submit" if number % 5 == 0 else "refund", {"order": order, "items": items})
        )
        if number % 4 == 1:
            site.call_api("approve", {"order": order})
        if number % 6 == 2:
            site.call_api("break", {"title": f"tea-green is sold out: order {order} cannot be packed"})
    uid = site.call_api("submit", {"order": "A-1021", "items": items, "cardToken": "tok_1"})
    for each in [*uids, uid]:
        until(lambda each=each: site.run(each)["endedAt"])  # type: ignore[misc]  # bound at once
    return uid


async def take(site: Site, folder: Path, uid: str) -> None:
    """Take a picture of each page."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = await browser.new_context(base_url=site.url, viewport=SIZE, color_scheme="light")
        await log_in(context, site, "ada")
        page = await context.new_page()
        for name, url in (
            ("console-overview", "/console"),
            ("console-runs", "/console/runs"),
            ("console-run", f"/console/runs/{uid}"),
        ):
            await page.goto(url)
            await page.screenshot(path=folder / f"{name}.png")
        await browser.close()


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as root:
        write_project(Path(root), "Takes an order: reserves the goods, packs them, and charges the card.")
        with serving(Path(root)) as site:
            asyncio.run(take(site, folder, make_runs(site)))
    for file in sorted(folder.glob("console-*.png")):
        print(f"{file.name}  {file.stat().st_size // 1024} kB")


if __name__ == "__main__":
    main()
