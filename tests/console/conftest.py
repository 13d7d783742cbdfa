"""One Chromium and one served project for all tests of the console.

Playwright drives the Chromium of the machine, without a download: contexts with their own cookies, themes
and without JavaScript cost milliseconds, and it sees each request and each report of the policy. Where there
is no Chromium, these tests are skipped.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright, expect

from tests.console.site import Site, serving, write_project
from tests.console.visitor import EXPECT_MS, Visitors

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
CHROMIUM = next((found for name in NAMES if (found := shutil.which(name))), None)

# The 5 s of Playwright are too short on a busy machine, such as for a gateway that is started again.
expect.set_options(timeout=EXPECT_MS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run these tests in one event loop, that of the browser; skip them without a browser."""
    own = [item for item in items if Path(__file__).parent in item.path.parents]
    for item in own:
        if pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
        if CHROMIUM is None and "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.skip(reason=f"no Chromium on PATH ({', '.join(NAMES)})"))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """The Chromium of this machine."""
    async with async_playwright() as playwright:
        # Without the sandbox, since root may not use it; it visits only the pages of this project.
        started = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        await started.close()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A served project."""
    root = tmp_path_factory.mktemp("console")
    write_project(root)
    with serving(root) as found:
        yield found


@pytest_asyncio.fixture(loop_scope="session")
async def visitors(browser: Browser, site: Site) -> AsyncIterator[Visitors]:
    """Browsers of operators, which check after the test that no page had a fault."""
    found = Visitors(browser, site)
    yield found
    await found.close()
