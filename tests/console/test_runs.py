"""Lists of runs and pages of a run: filters, links, keys, and browsers without JavaScript."""

from __future__ import annotations

import asyncio
import re

import pytest
from playwright.async_api import expect

from tests import fork_server
from tests.cli.place import until
from tests.console.site import CALLER, Site
from tests.console.visitor import Visitors


async def test_filters_live_in_the_url_and_back_restores_them(visitors: Visitors, site: Site) -> None:
    uid = site.ended("break", {"title": "sold out"})
    site.ended("refund", {"order": "A-1"})
    page = await visitors.page("rob")
    await page.goto("/console/runs")
    await page.get_by_label("API").fill("orders/break")
    await page.get_by_role("button", name="Filter").click()
    await page.wait_for_url("**/console/runs?api=orders%2Fbreak")
    await page.get_by_role("button", name="faulted").click()
    await page.wait_for_url("**/console/runs?status=faulted&api=orders/break")
    await page.get_by_role("link", name=uid).click()
    await expect(page.get_by_role("heading", name="Faulted at stop")).to_be_visible()
    await page.get_by_role("link", name="Show in the timeline").click()
    assert page.url.endswith(f"/console/runs/{uid}#task-do-0-stop")
    await page.go_back()
    await page.go_back()
    assert page.url.endswith("/console/runs?status=faulted&api=orders/break")
    assert await page.get_by_label("API").input_value() == "orders/break"
    await expect(page.get_by_role("button", name="faulted")).to_have_attribute("aria-pressed", "true")
    await expect(page.get_by_role("link", name=uid)).to_be_visible()
    await expect(page.locator(".line code").first).to_have_text(
        "iogate runs list --status faulted --api orders/break"
    )


async def test_runs_are_found_by_an_attribute_of_their_input(visitors: Visitors, site: Site) -> None:
    uid = site.ended("refund", {"order": "A-77"})
    site.ended("refund", {"order": "A-78"})
    page = await visitors.page("rob")
    await page.goto("/console/runs")
    await page.get_by_text("More filters").click()
    await page.get_by_label("Attribute").fill("order=A-77")
    await page.get_by_label("API").fill("orders/refund")
    await page.get_by_role("button", name="Filter").click()
    await page.wait_for_url("**where=order%3DA-77")
    assert await page.locator("td a.mono").all_text_contents() == [uid]
    await expect(page.locator(".line code").first).to_have_text(
        "iogate runs list --api orders/refund --where order=A-77"
    )


async def test_the_cursor_leads_through_all_runs(visitors: Visitors, site: Site) -> None:
    wanted = {site.call_api("approve", {"order": str(number)}) for number in range(53)}
    page = await visitors.page("rob")
    await page.goto("/console/runs?api=orders/approve&since=1h")
    seen: list[str] = []
    while True:
        seen += await page.locator("td a.mono").all_text_contents()
        older = page.get_by_role("link", name="Older")
        if not await older.count():
            break
        await older.click()
        await page.wait_for_url("**cursor=**")
    assert len(seen) == len(set(seen))
    assert wanted <= set(seen)
    await page.go_back()
    assert await page.locator("td a.mono").all_text_contents() == seen[:50]


async def test_an_invalid_filter_is_explained(visitors: Visitors) -> None:
    visitors.expected = ("Failed to load resource: the server responded with a status of 400",)
    page = await visitors.page("rob")
    await page.goto("/console/runs?since=yesterday")
    await expect(page.get_by_role("alert")).to_contain_text("since must be how long ago")
    await expect(page.locator("#runs, .empty")).to_have_count(0)
    assert await page.get_by_label("Since").input_value() == "yesterday"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "/console/runs?status=broken",
            "The query parameter status must be one or more of pending, running,",
        ),
        ("/console/runs?status=faulted,broken", "The query parameter status must be one or more of pending,"),
        ("/console/runs?state=faulted", 'Unknown query parameter "state"; did you mean "status"?'),
        (
            "/console/runs?limit=5",
            'Unknown query parameter "limit"; expected status, project, api, workflow,',
        ),
        ("/console/runs?api=a/b&api=c/d", 'The query parameter "api" is given more than once'),
        ("/console/runs?where=order", "The query parameter where must be NAME:VALUE of an attribute"),
        ("/console/runs?where=customer=mira", 'o live API declares the attribute "customer"'),
        ("/console/activity?about=x", 'Unknown query parameter "about"; expected operator, action, target,'),
        ("/console/activity?since=yesterday", "The query parameter since must be how long ago"),
        (
            "/console/batches/new?status=broken",
            "The member filter.status of the body must be a list of one or more of",
        ),
        ("/console/batches/new?apis=a/b", 'Unknown query parameter "apis"; did you mean "api"?'),
        ("/console/batches?status=done", 'Unknown query parameter "status"; expected cursor'),
        ("/console/revisions?author=ada", 'Unknown query parameter "author"; expected cursor'),
    ],
)
async def test_a_wrong_filter_is_an_error_and_no_list_follows(
    visitors: Visitors, url: str, message: str
) -> None:
    visitors.expected = ("Failed to load resource: the server responded with a status of 400",)
    page = await visitors.page("olga")
    response = await page.goto(url)
    assert response is not None
    assert response.status == 400
    await expect(page.locator("main")).to_contain_text(message)
    await expect(page.locator("table, .empty, .pager")).to_have_count(0)


@pytest.mark.parametrize("has_script", [True, False])
async def test_a_status_is_chosen_without_losing_a_typed_filter(
    visitors: Visitors, site: Site, *, has_script: bool
) -> None:
    page = await visitors.page("rob", java_script_enabled=has_script)
    await page.goto("/console/runs?since=2h")
    await page.get_by_label("API").fill("orders/break")
    await page.get_by_role("button", name="faulted").click()
    await page.wait_for_url("**/console/runs?status=faulted&api=orders/break&since=2h")
    assert await page.title() == "Runs of orders/break · iogate"
    await page.get_by_label("API").fill("orders/many")
    await page.get_by_role("button", name="completed").click()
    await page.wait_for_url("**/console/runs?status=completed,faulted&api=orders/many&since=2h")
    await page.get_by_label("Since").fill("1h")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**since=1h")
    await expect(page.locator(".pills [aria-pressed=true]")).to_have_count(2)
    await page.get_by_role("button", name="All").click()
    await page.wait_for_url("**/console/runs?api=orders/many&since=1h")


async def test_the_page_of_a_faulted_run_says_what_failed_where_and_why(
    visitors: Visitors, site: Site
) -> None:
    uid = site.ended("submit", {"order": "A-1007", "items": [{"price": 2}], "password": "hunter2"})
    page = await visitors.page("rob")
    await page.goto(f"/console/runs/{uid}")
    fault = page.locator(".fault")
    await expect(fault).to_contain_text("Faulted at charge")
    await expect(fault).to_contain_text("/do/3/charge")
    await expect(fault).to_contain_text("card declined: insufficient funds (code 51)")
    await expect(page.locator("#task-do-1-reserve .b-retry")).to_have_count(2)
    await expect(page.locator("#task-do-2-pack .b-wait")).to_have_count(1)
    await expect(page.locator("#task-do-1-reserve-try-0-stock")).to_contain_text("3, 3 failed")
    assert "hunter2" not in await page.content()
    await expect(page.locator(".line code").first).to_have_text(f"iogate runs show {uid}")
    async with page.expect_download() as downloading:
        await page.get_by_role("link", name="Download JSON").first.click()
    download = await downloading.value
    assert download.suggested_filename == f"run-{uid}-input.json"
    assert '"password": "[redacted]"' in (await download.path()).read_text()


async def test_a_run_of_many_tasks_shows_its_fault_first_and_all_on_demand(
    visitors: Visitors, site: Site
) -> None:
    uid = site.ended("many", {})
    page = await visitors.page("rob", java_script_enabled=False)
    await page.goto(f"/console/runs/{uid}?journal=all")
    rows = page.locator(".gantt tr[data-ref]")
    await expect(rows).to_have_count(100)
    await expect(rows.last).to_contain_text("stop")
    assert await page.locator("tr.gap").all_text_contents() == ["31 more tasks 31 completed"]
    await page.get_by_role("link", name="31 more tasks").click()
    await page.wait_for_url(f"**/{uid}?tasks=all&journal=all#task-do-0-step0")
    await expect(rows).to_have_count(131)
    await expect(page.locator("tr.gap")).to_have_count(0)


async def test_a_run_with_much_data_is_shown_without_its_secrets(visitors: Visitors, site: Site) -> None:
    """The gateway redacts so much in a process of its own."""
    rows = [{"sku": f"A-{number}", "password": "hunter2"} for number in range(12_000)]
    uid = site.ended("refund", {"order": "A-1", "rows": rows})
    page = await visitors.page("rob")
    response = await page.goto(f"/console/runs/{uid}")
    assert response is not None
    assert response.status == 200
    await expect(page.locator("main")).to_contain_text(uid)
    content = await page.content()
    assert "[redacted]" in content
    assert "hunter2" not in content


async def test_a_faulted_run_is_found_and_retried_with_the_keyboard(visitors: Visitors, site: Site) -> None:
    uid = site.ended("break", {"title": "by keyboard"})
    page = await visitors.page("olga")
    await page.goto("/console/runs")
    await page.keyboard.press("/")
    await page.keyboard.type("orders/break")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/console/runs?api=orders%2Fbreak")
    link = page.get_by_role("link", name=uid)
    for _ in range(60):
        await page.keyboard.press("Tab")
        if await link.evaluate("each => each === document.activeElement"):
            break
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"**/console/runs/{uid}")
    summary = page.locator("details.action summary", has_text="Retry")
    for _ in range(30):
        await page.keyboard.press("Tab")
        if await summary.evaluate("each => each === document.activeElement"):
            break
    await page.keyboard.press("Enter")
    await expect(page.get_by_label("Reason")).to_be_focused()
    await page.keyboard.type("the shop has it again")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("status").first).to_contain_text("The run was retried")
    await expect(page.locator(".facts")).to_contain_text("2")
    await page.goto("/console/activity")
    await expect(page.locator("tbody tr").first).to_contain_text("runs.retry")
    await expect(page.locator("tbody tr").first).to_contain_text("the shop has it again")


async def test_a_retried_run_tells_its_attempts_apart(visitors: Visitors, site: Site) -> None:
    mark = site.root / "mended"
    mark.unlink(missing_ok=True)
    uid = site.ended("mend", {"mark": str(mark)})
    mark.touch()
    site.operate(f"/v1/runs/{uid}/retry", {"reason": "the mark is there"})
    until(lambda: site.run(uid)["status"] == "completed")
    page = await visitors.page("rob")
    await page.goto(f"/console/runs/{uid}?journal=all")
    facts = page.locator(".facts")
    await expect(facts).to_contain_text("Took, last attempt")
    await expect(facts).to_contain_text("Since the first start")
    await expect(page.locator("#tasks .past")).to_contain_text("earlier attempt: ")
    assert await page.locator("#tasks .err, #entries .k-bad").count() == 0
    await expect(page.locator("#entries .past", has_text="workflow.faulted")).to_have_count(1)
    await page.get_by_role("link", name="Changes by operators").click()
    await expect(page.locator("tbody tr")).to_have_count(1)
    await expect(page.locator("tbody tr")).to_contain_text("the mark is there")
    await page.goto("/console/runs?api=orders/mend")
    await expect(page.locator("tbody tr", has_text=uid)).to_contain_text("in 2 attempts")
    await page.goto("/console/apis/orders/mend")
    await page.get_by_role("link", name="Changes by operators").click()
    await page.wait_for_url("**/console/activity?target=orders/mend")


async def test_a_page_that_does_not_exist_has_a_message_for_operators(visitors: Visitors) -> None:
    visitors.expected = ("Failed to load resource: the server responded with a status of 404",)
    page = await visitors.page("rob")
    for path, text in (
        ("runs/abc", "no run abc"),
        ("runs/123", "no run 123"),
        ("apis/orders/none", "orders/none"),
        ("nothing", "There is nothing at this path"),
    ):
        await page.goto(f"/console/{path}")
        await expect(page.locator("main h1")).to_have_text("Not found")
        await expect(page.locator("main")).to_contain_text(text)
        await expect(page.locator("main")).not_to_contain_text("signed link")
        await expect(page.get_by_role("navigation", name="Console")).to_be_visible()


async def test_without_javascript_runs_are_listed_shown_and_cancelled(visitors: Visitors, site: Site) -> None:
    uid = site.call_api("approve", {"order": "A-3"})
    # Without JavaScript, a page stays as it was made.
    until(lambda: site.run(uid)["status"] == "waiting")
    page = await visitors.page("olga", java_script_enabled=False)
    await page.goto("/console/runs?api=orders/approve")
    await page.get_by_role("link", name=uid).click()
    await expect(page.locator("#waiting")).to_contain_text("Waits for an event")
    await page.locator("summary", has_text="Cancel").click()
    await page.get_by_label("Reason").nth(1).fill("no longer wanted")
    await page.locator("form[action$='/cancel'] button").click()
    await expect(page.get_by_role("status")).to_contain_text("The cancellation was requested")
    until(lambda: site.run(uid)["status"] == "cancelled")
    await page.reload()
    await expect(page.locator("#status")).to_have_text("cancelled")
    await expect(page.locator("main")).to_contain_text("no longer wanted")


async def test_the_role_read_changes_nothing(visitors: Visitors, site: Site) -> None:
    visitors.expected = ("Failed to load resource: the server responded with a status of 403",)
    uid = site.call_api("approve", {"order": "A-4"})
    until(lambda: site.run(uid)["status"] == "waiting")
    page = await visitors.page("rob")
    await page.goto(f"/console/runs/{uid}")
    await expect(page.get_by_text("The role read cannot change runs.")).to_be_visible()
    assert await page.locator("details.action").count() == 0
    status = await page.evaluate(
        """async uid => (await fetch(`/console/runs/${uid}/cancel`, {
            method: "POST", body: new URLSearchParams({reason: "x"})})).status""",
        uid,
    )
    assert status == 403
    assert site.run(uid)["status"] == "waiting"


async def test_without_javascript_an_api_is_disabled_and_enabled(visitors: Visitors, site: Site) -> None:
    page = await visitors.page("olga", java_script_enabled=False)
    await page.goto("/console/apis/orders/parent")
    await page.locator("summary", has_text="Disable").click()
    await page.get_by_label("Reason").fill("the warehouse is closed")
    await page.locator("form[action$='/disable'] button").click()
    await expect(page.get_by_role("status")).to_contain_text("No gateway accepts a call")
    await expect(page.locator("main")).to_contain_text("by an override of olga: the warehouse is closed")
    status, _ = site.call("/v1/api/orders/parent/async", {}, {"token": CALLER})
    assert status == 403
    await page.locator("summary", has_text="Clear override").click()
    await page.get_by_label("Reason").last.fill("open again")
    await page.locator("form[action$='/restore'] button").click()
    await expect(page.locator("main")).to_contain_text("Accepts calls, as in git.")
    assert site.call("/v1/api/orders/parent/async", {}, {"token": CALLER})[0] == 202


async def test_two_operators_do_not_overwrite_the_switch_of_each_other(
    visitors: Visitors, site: Site
) -> None:
    visitors.expected = ("Failed to load resource: the server responded with a status of 4",)
    first, second = await visitors.page("olga"), await visitors.page("ada")
    for page in (first, second):
        await page.goto("/console/apis/orders/steps")
        await page.locator("summary", has_text="Disable").click()
        await page.get_by_label("Reason").fill("maintenance")
    await first.locator("form[action$='/disable'] button").click()
    await expect(first.get_by_role("status")).to_contain_text("No gateway accepts a call")
    await second.locator("form[action$='/disable'] button").click()
    await expect(second.get_by_role("status")).to_have_count(0)
    await first.locator("summary", has_text="Clear override").click()
    await first.get_by_label("Reason").last.fill("done")
    await first.locator("form[action$='/restore'] button").click()
    await expect(first.locator("main")).to_contain_text("as in git")


async def test_an_api_shows_its_contract_and_a_command_that_calls_it(visitors: Visitors) -> None:
    page = await visitors.page("rob")
    await page.goto("/console/apis/orders/refund")
    await expect(page.locator("#call + .body code")).to_have_text(
        re.compile(r"""^curl -H "[Tt]oken: \$TOKEN" .*/v1/api/orders/refund/async$""")
    )
    await expect(page.locator("details.action")).to_have_count(0)
    await page.get_by_role("link", name="orders/refund:1.2.0").click()
    await expect(page.get_by_role("heading", name="orders/refund:1.2.0")).to_be_visible()
    await expect(page.locator("#task-do-1-each")).to_contain_text("for each")


async def test_a_debug_case_is_replayed_and_compared(visitors: Visitors) -> None:
    page = await visitors.page("olga")
    cases = (("three items", "passed"), ("wrong on purpose", "failed"))
    for number, (name, word) in enumerate(cases):
        for _ in range(3):  # a busy machine may stall the run for longer than the 5 s of a replay
            await page.goto("/console/apis/orders/refund")
            await page.locator("summary", has_text="Replay").nth(number).click()
            await page.get_by_label("Reason").nth(number + 1).fill("does it still work")
            await page.locator("form[action$='/replay'] button").nth(number).click()
            await expect(page.get_by_role("heading", name=name)).to_be_visible()
            if await page.locator(".title .st").inner_text() != "still running":
                break
        await expect(page.locator(".title .st")).to_have_text(word)
    await expect(page.locator(".fault")).to_contain_text("expected 4, got 3")


async def test_an_administrator_rolls_back_to_an_earlier_revision(visitors: Visitors, site: Site) -> None:
    page = await visitors.page("ada")
    await page.goto("/console/revisions/1")
    await change_description(site)
    await page.reload()
    await page.locator("summary", has_text="Roll back").click()
    await page.get_by_label("Reason").fill("the text was right before")
    await page.get_by_role("button", name="Roll back to revision 1").click()
    await expect(page.get_by_role("status")).to_contain_text("was published")
    await expect(page.locator("main")).to_contain_text("the text was right before")
    await page.get_by_role("link", name="Revisions").first.click()
    await expect(page.locator("tbody tr").first).to_contain_text("restores 1")


async def change_description(site: Site) -> None:
    """Publish a second revision."""
    file = site.root / "apis.d/orders.yaml"
    file.write_text(file.read_text().replace("Pays an order back.", "Pays back an order."))
    applied = await asyncio.to_thread(
        fork_server.run, "iogate", "apply", "--yes", folder=site.root, environment=site.environment
    )
    assert applied.returncode == 0, applied.stderr
