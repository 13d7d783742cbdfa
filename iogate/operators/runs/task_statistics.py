"""Counts, fault rates and times of the tasks of a workflow, from its last runs.

Used by the page of a workflow. The runs are read when somebody looks, so that no commit counts anything for
it.
Invariant: at most `RUNS` runs are read, and about `ROWS` rows of tasks.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from iogate.store.runs.run_index import RunFilter

if TYPE_CHECKING:
    from iogate.store.runs.views import TaskView
    from iogate.store.store import Store

RUNS: Final = 100
ROWS: Final = 5_000
AT_ONCE: Final = 20
SINCE_MS: Final = 7 * 86_400_000
_ENDED: Final = ("completed", "faulted")


@dataclass(kw_only=True)
class TaskStatistics:
    """Counts of one task in the runs that were read."""

    runs: int = 0
    """Runs in which it was executed."""
    executions: int = 0
    faulted: int = 0
    """Runs in which it faulted, and nothing caught its error."""
    _times_ms: list[int] = field(default_factory=list)

    @property
    def p95_ms(self) -> int | None:
        """Time in which 95 % of the runs were done with the task, with all of its executions."""
        if not self._times_ms:
            return None
        ordered = sorted(self._times_ms)
        return ordered[math.ceil(0.95 * len(ordered)) - 1]

    def add(self, task: TaskView) -> None:
        """Count a task of one more run in its statistics."""
        if task.status == "skipped":
            return
        self.runs += 1
        self.executions += task.count
        self.faulted += task.status == "faulted"
        if task.ended_at_ms is not None:
            self._times_ms.append(max(0, task.ended_at_ms - task.started_at_ms))


@dataclass(frozen=True, kw_only=True)
class WorkflowTasks:
    """Statistics of the tasks of a workflow."""

    runs: int
    """Runs that were read."""
    tasks: dict[str, TaskStatistics]
    """By reference."""


async def of_workflow(store: Store, workflow: str) -> WorkflowTasks:
    """Return the statistics of the tasks of a workflow, `namespace/name:version`, in its last ended runs."""
    wanted = RunFilter(workflow=workflow, statuses=_ENDED, since_ms=await store.now_ms() - SINCE_MS)
    uids = [each.uid for each in (await store.runs.page(wanted, limit=RUNS)).runs]
    found: dict[str, TaskStatistics] = {}
    runs = rows = 0
    for first in range(0, len(uids), AT_ONCE):
        views = await asyncio.gather(*(store.runs.show(uid, most=0) for uid in uids[first : first + AT_ONCE]))
        for view in views:
            if view is not None:
                runs += 1
                rows += len(view.tasks)
                _count(found, view.tasks)
        if rows >= ROWS:
            break
    return WorkflowTasks(runs=runs, tasks=found)


def _count(found: dict[str, TaskStatistics], tasks: Iterable[TaskView]) -> None:
    for task in tasks:
        found.setdefault(task.reference, TaskStatistics()).add(task)
