"""Forms of pages: a missing reason, and the outcome that the next page shows once."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from iogate.gateway.console import form_outcome
from iogate.gateway.console.form_outcome import NONE, FormOutcome
from tests.cli.place import until
from tests.console.site import Site
from tests.console.visitor import Visitors


async def refuse_a_blank_reason(page: Page, verb: str, button: str) -> None:
    """Send the form of an action with blanks as the reason, and check that it is open again."""
    url = page.url
    form = page.locator("details.action", has=page.locator(f"form[action$='/{verb}']")).first
    if await form.get_attribute("open") is None:
        await form.locator("summary").click()
    await form.get_by_label("Reason").fill("   ")
    await form.get_by_role("button", name=button, exact=True).click()
    await expect(form.get_by_role("alert")).to_have_text("Give a reason")
    assert page.url == url
    await expect(form).to_have_attribute("open", "")
    await expect(page.locator("details.action[open]")).to_have_count(1)
    await expect(page.get_by_role("status")).to_have_count(0)


@pytest.mark.parametrize("has_script", [True, False])
async def test_a_blank_reason_opens_the_form_again_with_its_fields(
    visitors: Visitors, site: Site, *, has_script: bool
) -> None:
    uid = site.ended("break", {"title": "sold out"})
    page = await visitors.page("olga", java_script_enabled=has_script)
    await page.goto(f"/console/runs/{uid}")
    await page.locator("summary", has_text="Retry").click()
    await page.get_by_label("From task").select_option("/do/0/stop")
    await page.get_by_label("with the live workflow").check()
    await refuse_a_blank_reason(page, "retry", "Retry")
    assert site.run(uid)["attempt"] == 1
    assert await page.get_by_label("From task").input_value() == "/do/0/stop"
    assert await page.get_by_label("with the live workflow").is_checked()
    await page.get_by_label("Reason").fill("it is there again")
    await page.get_by_role("button", name="Retry").click()
    await expect(page.get_by_role("status").first).to_contain_text("The run was retried")
    assert site.run(uid)["attempt"] == 2


async def test_each_form_asks_for_its_reason_on_its_page(visitors: Visitors, site: Site) -> None:
    uid = site.call_api("approve", {"order": "A-9"})
    until(lambda: site.run(uid)["status"] == "waiting")
    page = await visitors.page("olga", java_script_enabled=False)
    for url, verb, button in (
        (f"/console/runs/{uid}", "cancel", "Cancel"),
        ("/console/apis/orders/many", "disable", "Disable"),
        ("/console/apis/orders/refund", "replay", "Replay"),
    ):
        await page.goto(url)
        await refuse_a_blank_reason(page, verb, button)
    site.ended("break", {"title": "sold out"})
    await page.goto("/console/batches/new?api=orders/break")
    await page.get_by_label("Reason").fill("   ")
    await page.get_by_role("button", name="Retry").click()
    await expect(page.get_by_role("alert")).to_have_text("Give a reason")
    assert "/console/batches/new?status=faulted&api=orders/break" in page.url
    assert site.run(uid)["status"] == "waiting"


async def test_the_outcome_of_a_form_is_shown_once_and_is_not_in_the_url(
    visitors: Visitors, site: Site
) -> None:
    page = await visitors.page("olga")
    await page.goto("/console/apis/orders/many")
    await page.locator("summary", has_text="Disable").click()
    await page.get_by_label("Reason").fill("maintenance")
    await page.locator("form[action$='/disable'] button").click()
    await expect(page.get_by_role("status")).to_contain_text("No gateway accepts a call")
    assert page.url == f"{site.url}/console/apis/orders/many"
    await page.reload()
    await expect(page.get_by_role("heading", name="orders/many", exact=True)).to_be_visible()
    await expect(page.get_by_role("status")).to_have_count(0)
    await page.locator("summary", has_text="Clear override").click()
    await page.get_by_label("Reason").last.fill("done")
    await page.locator("form[action$='/restore'] button").click()
    await expect(page.get_by_role("status")).to_contain_text("The override is removed")
    await page.goto("/console/apis/orders/many?done=disable")
    await expect(page.get_by_role("status")).to_have_count(0)


def test_the_cookie_of_an_outcome_reaches_its_page_only_and_ends_soon() -> None:
    outcome = FormOutcome(done="retry")
    name, value = form_outcome.header("iogate_1_outcome", "/console/runs/1?x=y", outcome, secure=True)
    text, *rest = value.decode().split("; ")
    assert name == b"set-cookie"
    assert rest == ["Path=/console/runs/1", "HttpOnly", "SameSite=Strict", "Max-Age=10", "Secure"]
    assert form_outcome.read(text.partition("=")[2]) == outcome
    _, value = form_outcome.header("c", "/console/a;b x", NONE, secure=False)
    assert value == b"c=; Path=/console/a%3Bb%20x; HttpOnly; SameSite=Strict; Max-Age=0"
    assert all(form_outcome.read(each) == NONE for each in ("", "!", "AAAA", "é"))


def test_a_form_keeps_only_its_own_fields() -> None:
    form = {"form": "reason-retry", "from": "/do/0/a" * 200, "x": "y", "reason": "", "on": ""}
    assert form_outcome.without_reason(form) == FormOutcome(
        form="reason-retry", fields={"from": ("/do/0/a" * 200)[:500]}
    )
    assert form_outcome.without_reason({"form": "<b>"}) == NONE
