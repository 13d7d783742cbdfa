"""Login, sessions and roles, in a browser."""

from __future__ import annotations

import time
from urllib.parse import quote

from playwright.async_api import BrowserContext, Route, expect

from iogate.gateway.console.session import LONGEST_S, Sessions
from iogate.operators.operator_tokens import OperatorTokens
from iogate.security.secrets import hash_token
from iogate.settings.operators import declared
from tests.console.site import TOKENS, Site
from tests.console.visitor import Visitors, cookie_name
from tests.keys import LINK_KEY

HOME = "/console/activity"


def generation(name: str) -> str:
    """Return the generation of an operator's token, as the served project computes it."""
    found = {each: {"token": {"hash": hash_token(token)}, "role": "read"} for each, token in TOKENS.items()}
    return OperatorTokens(declared(found)).generation(name)


async def give_cookie(context: BrowserContext, site: Site, value: str) -> None:
    await context.add_cookies([{"name": cookie_name(), "value": value, "url": f"{site.url}/console"}])


async def test_a_token_opens_the_page_that_was_asked_for(visitors: Visitors) -> None:
    page = await visitors.page(None)
    target = f"{HOME}?operator=ada"
    await page.goto(target)
    assert page.url.endswith(f"/console/login?next={quote(target, safe='/')}")
    await page.get_by_label("Token").fill(TOKENS["ada"])
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_text("ada · admin")).to_be_visible()
    assert page.url.endswith(target)
    cookie = next(each for each in await page.context.cookies() if each["name"] == cookie_name())
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/console")
    assert cookie["expires"] - time.time() <= LONGEST_S


async def test_a_wrong_token_is_refused_and_not_shown(visitors: Visitors) -> None:
    visitors.expected = ("Failed to load resource: the server responded with a status of 401",)
    page = await visitors.page(None)
    await page.goto("/console/login")
    await page.get_by_label("Token").fill("not-a-token-0123456789")
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("alert")).to_have_text("The token is invalid.")
    assert "not-a-token" not in await page.content()
    assert await page.context.cookies() == []


async def test_a_session_ends_after_eight_hours_and_with_its_token(visitors: Visitors, site: Site) -> None:
    sessions, now = Sessions(LINK_KEY), time.time()
    page = await visitors.page(None)
    await give_cookie(page.context, site, sessions.sign("ada", generation("ada"), now))
    await page.goto(HOME)
    await expect(page.get_by_text("ada · admin")).to_be_visible()
    ended = {
        "after its time": sessions.sign("ada", generation("ada"), now - LONGEST_S - 5),
        "with its token": sessions.sign("ada", "another generation", now),
        "with its operator": sessions.sign("eve", generation("eve"), now),
        "of another key": Sessions("x" * 40).sign("ada", generation("ada"), now),
    }
    for why, value in ended.items():
        await give_cookie(page.context, site, value)
        await page.goto(HOME)
        assert "/console/login" in page.url, why


async def test_logging_out_ends_the_session(visitors: Visitors) -> None:
    page = await visitors.page("rob")
    await page.goto(HOME)
    await page.get_by_role("button", name="Log out").click()
    await expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    await page.goto(HOME)
    assert "/console/login" in page.url


async def test_a_replaced_token_ends_the_sessions_of_its_operator(visitors: Visitors, site: Site) -> None:
    page = await visitors.page("fay")
    await page.goto(HOME)
    await expect(page.get_by_text("fay · read")).to_be_visible()
    try:
        (site.root / "fay").write_text("another-token-0123456789")
        deadline = time.monotonic() + 60
        while "/console/login" not in page.url:
            assert time.monotonic() < deadline
            await page.goto(HOME)
    finally:
        (site.root / "fay").write_text(TOKENS["fay"])


async def test_a_form_of_an_ended_session_changes_nothing(visitors: Visitors, site: Site) -> None:
    visitors.expected = ("Failed to load resource: the server responded with a status of 401",)
    uid = site.call_api("approve", {"order": "A-9"})
    page = await visitors.page("olga")
    await page.goto(f"/console/runs/{uid}")
    await page.context.clear_cookies()
    await page.locator("summary", has_text="Cancel").click()
    await page.locator("form[action$='/cancel'] input[name=reason]").fill("too late")
    await page.locator("form[action$='/cancel'] button").click()
    await expect(page.get_by_role("alert")).to_contain_text("Your session has ended.")
    assert site.run(uid)["endedAt"] is None


async def test_a_page_that_follows_a_run_says_that_its_session_has_ended(
    visitors: Visitors, site: Site
) -> None:
    visitors.expected = ("Failed to load resource: the server responded with a status of 401",)
    uid = site.call_api("approve", {"order": "A-9"})
    page = await visitors.page("rob")

    async def end_session(route: Route) -> None:
        await page.context.clear_cookies()
        await route.continue_(headers={**route.request.headers, "cookie": ""})

    await page.route("**/events?*", end_session)
    await page.goto(f"/console/runs/{uid}")
    await expect(page.locator("#live")).to_have_text("Your session has ended. Reload the page to log in.")


async def test_a_login_link_works_once_and_needs_a_click(visitors: Visitors) -> None:
    visitors.expected = ("Failed to load resource: the server responded with a status of 410",)
    link = f"/console/login?once={Sessions(LINK_KEY).sign_link('ada', generation('ada'), time.time())}"
    page = await visitors.page(None)
    for _ in range(2):  # opening it has no effect
        await page.goto(link)
        assert await page.context.cookies() == []
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_text("ada · admin")).to_be_visible()
    other = await visitors.page(None)
    await other.goto(link)
    await other.get_by_role("button", name="Log in").click()
    await expect(other.get_by_role("alert")).to_contain_text("was used")
    assert await other.context.cookies() == []


async def test_a_login_leads_to_no_other_site(visitors: Visitors) -> None:
    page = await visitors.page(None)
    await page.goto(f"/console/login?next={quote('//evil.example/console')}")
    await page.get_by_label("Token").fill(TOKENS["rob"])
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_text("rob · read")).to_be_visible()
    assert page.url.startswith(f"{visitors.site.url}/console")
