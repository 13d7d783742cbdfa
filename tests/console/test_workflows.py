"""The page of a workflow: the tree of its tasks, with counts of its last runs."""

from __future__ import annotations

from playwright.async_api import expect

from iogate.operators.runs.task_statistics import TaskStatistics
from iogate.store.runs.views import TaskView
from tests.console.site import Site
from tests.console.visitor import Visitors


def task(took_ms: int | None, status: str = "completed", count: int = 1) -> TaskView:
    return TaskView(
        reference="/do/0/a",
        name="a",
        status=status,
        started_at_ms=1_000,
        ended_at_ms=None if took_ms is None else 1_000 + took_ms,
        attempt=1,
        count=count,
    )


def test_a_task_is_counted_in_each_run_that_executed_it() -> None:
    found = TaskStatistics()
    for took_ms in range(1, 101):
        found.add(task(took_ms, count=2))
    found.add(task(7, "faulted"))
    found.add(task(None, "running"))
    found.add(task(0, "skipped"))
    assert (found.runs, found.executions, found.faulted, found.p95_ms) == (102, 202, 1, 95)


async def test_each_task_shows_its_counts_and_times(visitors: Visitors, site: Site) -> None:
    for number in range(3):
        site.ended("refund", {"order": f"A-{number}"})
    site.ended("break", {"title": "sold out"})
    page = await visitors.page("rob")
    await page.goto("/console/workflows/orders/refund:1.2.0")
    await expect(page.locator("#tasks + span")).to_contain_text("counts of the last")
    for reference in ("do-0-look", "do-1-each", "do-1-each-for-do-0-one"):
        step = page.locator(f"#task-{reference} > .step")
        await expect(step).to_contain_text("times, p95 ")
        await expect(step).not_to_contain_text("faulted")
    await page.goto("/console/workflows/orders/break:1.2.0")
    await expect(page.locator("#task-do-0-stop > .step")).to_contain_text("100 % faulted")
