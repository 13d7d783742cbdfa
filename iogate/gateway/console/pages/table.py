"""Table of all pages of the console, their navigation, and the messages after their forms.

Read by `console`. A new page adds its `PAGES` here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from iogate.gateway.console.page import Notice, Page
from iogate.gateway.console.pages import (
    activity_page,
    api_pages,
    batch_pages,
    overview_page,
    revision_pages,
    run_pages,
    status_page,
    workflow_pages,
)

PAGES: Final[tuple[Page, ...]] = (
    *overview_page.PAGES,
    *run_pages.PAGES,
    *batch_pages.PAGES,
    *api_pages.PAGES,
    *workflow_pages.PAGES,
    *revision_pages.PAGES,
    *status_page.PAGES,
    *activity_page.PAGES,
)
NAVIGATION: Final = (
    ("Overview", "/console"),
    ("Runs", "/console/runs"),
    ("APIs", "/console/apis"),
    ("Workflows", "/console/workflows"),
    ("Schedules", "/console/schedules"),
    ("Revisions", "/console/revisions"),
    ("System", "/console/system"),
    ("Activity", "/console/activity"),
)
"""Entries of the navigation, each with its page."""
OUTCOMES: Final[Mapping[str, Notice]] = {
    "retry": Notice(text="The run was retried: the page shows its new attempt."),
    "resume": Notice(text="The run was resumed."),
    "suspend": Notice(text="The suspension was requested: the run stops before its next task.", tone="hold"),
    "cancel": Notice(text="The cancellation was requested."),
    "redeliver": Notice(text="Another delivery of the callback was requested."),
    "batch": Notice(text="A worker retries the runs; reload the page for the progress."),
    "batch-stop": Notice(text="The batch stops before its next run.", tone="hold"),
    "batch-continue": Notice(text="The batch goes on with the runs that are left."),
    "enable": Notice(text="The API accepts calls."),
    "disable": Notice(text="No gateway accepts a call of this API any more.", tone="wait"),
    "hold": Notice(text="The API accepts calls, and starts no run until it is enabled.", tone="hold"),
    "restore": Notice(text="The override is removed: the state of git applies."),
    "rollback": Notice(text="This revision was published, with the content of the earlier one."),
    "schedule-enable": Notice(text="The ticks of the schedule start runs again."),
    "schedule-disable": Notice(text="The ticks of the schedule start no runs.", tone="wait"),
    "schedule-run": Notice(text="A run of the schedule was started."),
}
"""Messages by the outcome of a form. Each is true however far the run has got when the page is shown."""
