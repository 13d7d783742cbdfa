"""Properties of every page: nothing hostile runs, rules of accessibility hold, and it is small."""

from __future__ import annotations

import gzip
import html
import re
import shlex
from typing import Any, Final, Literal

import httpx
import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.async_api import Page, Response

from iogate.gateway.console.pages.table import PAGES
from tests import test_house
from tests.cli.place import until
from tests.console import hostile
from tests.console.site import Site
from tests.console.visitor import Visitors, cookie_name, log_in

TAGS: Final = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RULES: Final[dict[Literal["light", "dark"], Any]] = {
    "light": {"type": "tag", "values": TAGS},
    "dark": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]},
}
"""Rules of axe by theme; all others do not depend on colours."""
FIRST_LOAD: Final = 40 * 1024
MOST_REQUESTS: Final = 4
STRANGE: Final = (
    *("img", "iframe", "object", "embed", "base", "meta[http-equiv]", "body style", "body script"),
    *("[onload]", "[onerror]", "[onfocus]", "[style]"),
)
"""Elements and attributes that no page has."""


@pytest.fixture(scope="session")
def runs(site: Site) -> dict[str, str]:
    """Runs with hostile texts wherever a caller or a workflow can put one."""
    found = {
        "faulted": site.ended("break", {"title": hostile.ALL}),
        "process": site.ended("submit", {"order": hostile.ALL, "items": [], hostile.ALL: hostile.ALL}),
        "completed": site.ended("refund", {"order": hostile.ALL, "items": [hostile.ALL]}),
        "waiting": site.call_api("approve", {"order": hostile.ALL}),
        "parent": site.ended("parent", {"order": hostile.ALL}),
        "many": site.ended("many", {}),
        "cancelled": site.call_api("approve", {"order": "A-1"}),
    }
    site.operate(f"/v1/runs/{found['cancelled']}/cancel", {"reason": hostile.ALL[:500]})
    until(lambda: site.run(found["waiting"])["status"] == "waiting")
    until(lambda: site.run(found["cancelled"])["status"] == "cancelled")
    return found


def pages(runs: dict[str, str]) -> list[str]:
    """Return the URL of each page, with filters that are hostile where there are filters."""
    from urllib.parse import quote

    text = quote(hostile.ALL[:450])
    filters = [
        f"/console/runs?{name}={text}" for name in ("api", "workflow", "caller", "where", "cursor", "since")
    ]
    return [
        *(
            page.path
            for page in PAGES
            if page.method == "GET" and "{" not in page.path and not page.is_stream
        ),
        *(f"/console/runs/{uid}" for uid in runs.values()),
        f"/console/runs/{runs['process']}?journal=all",
        *filters,
        f"/console/activity?operator={text}",
        f"/console/activity?since={text}",
        f"/console/login?next={text}&once={text}",
        f"/console/{'x' * 50}",
        *("/console/apis/orders/submit", "/console/workflows/orders/fulfil:1.2.0", "/console/revisions/1"),
    ]


async def test_nothing_hostile_runs_nothing_is_reported_and_each_page_fits_a_narrow_window(
    visitors: Visitors, site: Site, runs: dict[str, str]
) -> None:
    visitors.expected = ("Failed to load resource: the server responded with a status of 4",)
    page = await visitors.page("ada", viewport={"width": 320, "height": 600})
    for url in pages(runs):
        await page.goto(url)
        width = await page.evaluate("document.documentElement.scrollWidth")
        assert width <= 320, (url, width)
        await page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
        assert await page.evaluate("window.hostile") is None, url
        assert await page.evaluate("window.reports") == [], url
        assert await page.locator(", ".join(STRANGE)).count() == 0, url
        targets = await page.evaluate(
            """[...document.querySelectorAll("[href], [action], [src]")]
                .map(each => each.href ?? each.action ?? each.src)"""
        )
        bad = [each for each in targets if not str(each).startswith((site.url, "data:image/svg+xml,"))]
        assert bad == [], url
        assert "49" not in await page.title()


def wrong_words(line: str) -> list[str]:
    """Return the words of a line for the shell that are no command or option of iogate."""
    words = shlex.split(line)
    assert words[0] in ("iogate", "curl"), line
    return test_house.faults(shlex.join(words[1:])) if words[0] == "iogate" else []


async def test_the_policy_of_each_page_confines_it(
    site: Site, runs: dict[str, str], visitors: Visitors
) -> None:
    context = await visitors.context()
    await log_in(context, site, "ada")
    jar = {each["name"]: each["value"] for each in await context.cookies()}
    cookies = {cookie_name(): jar[cookie_name()]}
    async with httpx.AsyncClient(
        base_url=site.url, cookies=cookies, follow_redirects=True, timeout=30
    ) as client:
        for url in pages(runs):
            response = await client.get(url)
            lines = re.findall(r'<div class="line">.*?<code>(.*?)</code>', response.text)
            wrong = [each for line in lines for each in wrong_words(html.unescape(line))]
            assert wrong == [], url
            headers = response.headers
            policy = headers.get("content-security-policy", "")
            assert policy.startswith("default-src 'none'; style-src 'self'; script-src 'self';"), url
            assert "unsafe" not in policy
            assert "require-trusted-types-for 'script'; trusted-types 'none'" in policy
            assert headers["cache-control"] == "no-store"
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert headers["referrer-policy"] == "same-origin"
            assert headers["cross-origin-opener-policy"] == "same-origin"


async def faults(page: Page, theme: Literal["light", "dark"]) -> list[dict[str, Any]]:
    """Return what axe finds wrong with a page."""
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(AXE_SCRIPT)
    found: dict[str, Any] = await page.evaluate(
        "rules => axe.run(document, {runOnly: rules, resultTypes: ['violations']})", RULES[theme]
    )
    return [
        {
            "rule": each["id"],
            "nodes": [node["html"][:200] + node["failureSummary"][:300] for node in each["nodes"][:3]],
        }
        for each in found["violations"]
    ]


@pytest.mark.timeout(400)
async def test_each_page_can_be_used_by_everyone(visitors: Visitors, runs: dict[str, str]) -> None:
    visitors.expected = ("Failed to load resource: the server responded with a status of 4",)
    # axe adds a style of its own, which the policy of a page would refuse.
    page = await visitors.page("ada", bypass_csp=True)
    ordinary = [url for url in pages(runs) if "%" not in url]
    for url in [*ordinary, "/console/login"]:
        await page.goto(url)
        for theme in RULES:
            await page.emulate_media(color_scheme=theme)
            assert await faults(page, theme) == [], (url, theme)


async def first_load(page: Page, url: str) -> list[Response]:
    """Open a page in a browser that has stored nothing, and return the responses."""
    found: list[Response] = []

    def note(response: Response) -> None:
        is_stream = response.url.endswith("/changes") or "/events" in response.url
        if not is_stream and not response.url.startswith("data:"):
            found.append(response)

    page.on("response", note)
    await page.goto(url)
    await page.wait_for_load_state("load")
    return found


async def test_the_first_load_is_small(visitors: Visitors, runs: dict[str, str]) -> None:
    for url in (
        "/console",
        "/console/runs",
        *(f"/console/runs/{runs[each]}" for each in ("process", "waiting")),
    ):
        loaded = await first_load(await visitors.page("ada"), url)
        assert len(loaded) <= MOST_REQUESTS, [each.url for each in loaded]
        size = 0
        for each in loaded:
            size += len(gzip.compress(await each.body()))
            assert (await each.all_headers()).get("content-encoding") == "gzip", each.url
        assert size <= FIRST_LOAD, size


async def test_a_list_of_runs_has_few_elements(visitors: Visitors, runs: dict[str, str]) -> None:
    page = await visitors.page("ada")
    await page.goto("/console/runs")
    assert await page.locator("tbody tr").count() > 0
    assert await page.evaluate("document.querySelectorAll('*').length") < 1_500
