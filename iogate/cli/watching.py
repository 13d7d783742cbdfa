"""A run's tasks as they go on, on a terminal; the same rows once, in a pipe.

Shows runs in the form that the HTTP API gives them, so that it serves the store and the gateway alike.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from iogate.cli.render import STYLES, Screen, Table, coloured, console

if TYPE_CHECKING:
    from rich.live import Live

ENDED = frozenset({"completed", "faulted", "cancelled"})

Run = Mapping[str, Any]


def task_table(tasks: Sequence[Run]) -> Table:
    """A row a task, in the order in which they started; one that ran several times took all of them."""
    return Table(
        columns=("task", "reference", "status", "times", "took"),
        rows=[(each["name"], each["reference"], each["status"], each["count"], took(each)) for each in tasks],
        numbers=frozenset({"times"}),
    )


def run_table(runs: Sequence[Run]) -> Table:
    """A row a run; who started it stands there where one of them is a child."""
    columns = ("uid", "api", "workflow", "status", "created", "took")
    rows = [
        (each["uid"], each["api"], each["workflow"], each["status"], each["createdAt"], took(each))
        for each in runs
    ]
    if not any(each["parent"] for each in runs):
        return Table(columns=columns, rows=rows)
    return Table(
        columns=(*columns, "parent"),
        rows=[(*row, each["parent"]) for row, each in zip(rows, runs, strict=True)],
    )


def took(timed: Run) -> str:
    """Time from start to end, as people read it."""
    start, end = timed.get("startedAt"), timed.get("endedAt")
    if not start or not end:
        return "-"
    spent = (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
    return f"{spent:.3f}s" if spent < 60 else f"{spent / 60:.1f}m"


def headline(run: Run) -> str:
    """`uid  status  what it waits for`."""
    waiting = run.get("waitingFor")
    suffix = ""
    if waiting:
        suffix = f"  waits for {waiting['kind']}"
        if waiting.get("task"):
            suffix += f" at {waiting['task']}"
        if waiting.get("until"):
            suffix += f" until {waiting['until']}"
    return f"{run['uid']}  {run['status']}{suffix}"


class Watching:
    """A live display on stderr while runs go on; silent where stderr is no terminal."""

    def __init__(self, screen: Screen) -> None:
        self._live: Live | None = None
        self._shown = coloured(sys.stderr) and not screen.quiet

    def __enter__(self) -> Self:
        if self._shown:
            from rich.live import Live

            self._live = Live(console=console(sys.stderr), transient=True, refresh_per_second=8)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    @property
    def active(self) -> bool:
        """Whether someone watches, so that frequent looks are worth it."""
        return self._live is not None

    def show(self, run: Run, title: str = "") -> None:
        if self._live is None:
            return
        from rich.console import Group
        from rich.spinner import Spinner
        from rich.text import Text

        status = str(run["status"])
        lines: list[Any] = [
            Spinner("dots", Text(f"{title}{headline(run)}", style=STYLES.get(status, "")))
            if status not in ENDED
            else Text(f"{title}{headline(run)}", style=STYLES.get(status, ""))
        ]
        for task in run.get("tasks") or ():
            mark = {"completed": "✓", "faulted": "✗", "skipped": "·", "cancelled": "✗"}.get(
                task["status"], "…"
            )
            text = f"  {mark} {task['reference']}  {took(task)}"
            lines.append(Text(text, style=STYLES.get(str(task["status"]), "")))
        self._live.update(Group(*lines))
