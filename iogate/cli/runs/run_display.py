"""Display of runs: in a list, in full, and live on a terminal.

Works on the JSON form of the HTTP API, so that runs can come from the store or from a gateway.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from iogate import messages
from iogate.cli.render import STYLES, Screen, Table, console, is_capable_terminal, result_stream
from iogate.cli.runs.call_display import key_lines
from iogate.cli.runs.end_display import end_lines
from iogate.operators.runs.task_records import SIDES, is_recorded
from iogate.store.keys import ENDED
from iogate.timing.durations import format_seconds

if TYPE_CHECKING:
    from rich.live import Live

TIMES = ("createdAt", "startedAt", "endedAt")
MAX_MESSAGE_LENGTH = 100
"""Most characters of an error message in a table; JSON has all of it."""
MAX_FAILED = 3
"""Most failed tasks whose input is shown; with `--data` it is shown of all."""
ATTEMPTS: Final = {"attempt": "attempt", "runAttempt": "of run attempt"}
"""Members of a recorded execution, and their labels."""
MAX_VALUE_LENGTH = 64 * 1024
"""Most characters of a value on a terminal."""

Run = Mapping[str, Any]


def task_table(tasks: Sequence[Run]) -> Table:
    """Return a table with a row per task, in order of start; `took` is the total of all its executions."""
    fails = any(each.get("failed") and each["count"] > 1 for each in tasks)
    return Table(
        columns=("task", "reference", "status", "times", *(["failed"] if fails else []), "took"),
        rows=[
            (
                each["name"],
                each["reference"],
                each["status"],
                each["count"],
                *([each["failed"]] if fails else []),
                format_duration(each),
            )
            for each in tasks
        ],
        numbers=frozenset({"times", "failed"}),
    )


def run_table(runs: Sequence[Run]) -> Table:
    """Return a table with a row per run; some columns only if a run has them."""
    columns = ["uid", "api", "workflow", "status", "created", "took"]
    rows: list[list[Any]] = [
        [each["uid"], each["api"], each["workflow"], _status(each), each["createdAt"], _took(each)]
        for each in runs
    ]
    for name, cells in (
        ("attributes", [_attributes(each) for each in runs]),
        ("parent", [each["parent"] for each in runs]),
        ("error", [_message(each["error"]) for each in runs]),
    ):
        if any(cells):
            columns.append(name)
            for row, cell in zip(rows, cells, strict=True):
                row.append(cell)
    return Table(columns=tuple(columns), rows=rows)


def _took(run: Run) -> str:
    """Format the time since the first start of a run, with the number of its attempts if it was retried."""
    took = format_duration(run)
    return f"{took} in {run['attempt']} attempts" if run["attempt"] > 1 and took != "-" else took


def _attributes(run: Run) -> str | None:
    """Return the attributes of a run on one line, shortened; None without any."""
    text = " ".join(f"{name}={value}" for name, value in (run.get("attributes") or {}).items())
    return messages.shorten(" ".join(text.split()), MAX_MESSAGE_LENGTH) if text else None


def _status(run: Run) -> str:
    return f"{run['status']} (held)" if run.get("held") else str(run["status"])


def _message(error: Run | None) -> str | None:
    """Return the message of a run's error on one line, shortened."""
    if error is None:
        return None
    text = " ".join(str(error["message"]).split())
    return messages.shorten(text, MAX_MESSAGE_LENGTH)


def format_duration(timed: Run) -> str:
    """Format the time from start to end; on a terminal, of one in progress the time until now: `12s…`."""
    start, end = timed.get("startedAt"), timed.get("endedAt")
    if not start:
        return "-"
    if not end:
        if not is_capable_terminal(result_stream()):
            return "-"
        elapsed_s = max(0.0, (datetime.now(UTC) - datetime.fromisoformat(start)).total_seconds())
        return f"{format_seconds(int(elapsed_s) or 1)}…"
    spent = (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
    return f"{spent:.3f}s" if spent < 60 else f"{spent / 60:.1f}m"


def headline(run: Run) -> str:
    """Format the uid and the status of a run, and the event or time that it waits for."""
    waits = waiting_text(run)
    return f"{run['uid']}  {run['status']}" + (f"  {waits}" if waits else "")


def waiting_text(run: Run) -> str:
    """Describe the wait of a run, such as `waits for an event at /do/1`; empty if it does not wait."""
    waiting = run.get("waitingFor")
    if not waiting:
        return ""
    text = f"waits for {_WAITS.get(waiting['kind'], waiting['kind'])}"
    if waiting.get("task"):
        text += f" at {waiting['task']}"
    if waiting.get("runs"):
        text += f", which {' '.join(waiting['runs'])} {'has' if len(waiting['runs']) == 1 else 'have'}"
    if waiting.get("until"):
        text += f" until {waiting['until']}"
    return text


_WAITS: Final = {
    "queue": "a worker",
    "limit": "its turn: limits.running",
    "hold": "the release of the hold",
    "key": "its concurrency key",
    "coalesce": "further calls to coalesce with",
    "timer": "its time",
    "event": "an event",
    "retry": "its next attempt",
    "child": "a child run",
}
"""Words for the kinds of waits."""


def shorten(text: str) -> str:
    """Cut a long text of a displayed run if stdout is a terminal; a pipe gets all of it."""
    if len(text) <= MAX_VALUE_LENGTH or not sys.stdout.isatty():
        return text
    return f"{text[:MAX_VALUE_LENGTH]}… ({len(text) - MAX_VALUE_LENGTH:,} characters more: -o json shows all)"


def run_details(run: dict[str, Any]) -> list[Table | str]:
    """Return a run as text and a table of its tasks."""
    lines = [headline(run)]
    fields = ("api", "workflow", "revision", "caller", "parent", "attempt", *TIMES)
    lines += [f"{name:<10} {run[name]}" for name in fields if run.get(name) is not None]
    if run.get("children"):
        lines.append(f"{'children':<10} {' '.join(run['children'])}")
    attributes = run.get("attributes") or {}
    lines += [f"{'attribute':<10} {name}={shorten(json.dumps(attributes[name]))}" for name in attributes]
    lines += [*key_lines(run), *end_lines(run)]
    lines += [
        f"{name:<10} {shorten(json.dumps(run[name], ensure_ascii=False))}"
        for name in ("input", "output")
        if run.get(name) is not None
    ]
    if run.get("error"):
        lines.append(format_error(run["error"]))
    text: list[Table | str] = ["\n".join(lines)]
    if run.get("tasks"):
        text += ["", task_table(run["tasks"])]
        failed = [task for task in run["tasks"] if task["status"] == "faulted" and "input" in task]
        given = [task for task in failed if task["input"] is not None or task["truncated"]]
        for task in given[-MAX_FAILED:]:
            # Its error is that of the run, which is shown above.
            text += ["", "\n".join([str(task["iteration"] or task["reference"]), *_sides(task, ("input",))])]
    return text


def format_record(record: Mapping[str, Any]) -> str:
    """Format a recorded execution of a task: a line about it, and one for each side."""
    attempts = [f"{label} {record[name]}" for name, label in ATTEMPTS.items() if name in record]
    reference = str(record.get("iteration") or record["reference"])
    return "\n".join(["  ".join([str(record["at"]), reference, *attempts]), *_sides(record, SIDES)])


def format_error(error: dict[str, Any]) -> str:
    """Format the error of a run: message, details for operators, status, type and location."""
    where = f" at {error['instance']}" if error.get("instance") else ""
    # Indent further lines, so that a message cannot imitate another field.
    message = shorten(str(error["message"])).replace("\n", f"\n{'':<11}")
    lines = [f"{'error':<10} {message}"]
    if error.get("sentTo"):
        lines.append(f"{'':<10} sent to {error['sentTo']}")
    answered = str(error.get("responseExcerpt") or "")
    lines += [f"{'':<10} response | {each}" for each in answered.split("\n") if each]
    for stream in ("stderr", "stdout"):
        written = str((error.get("process") or {}).get(stream, ""))
        lines += [f"{'':<10} {stream} | {each}" for each in written.split("\n") if written]
    return "\n".join([*lines, f"{'':<10} {error['status']} {error['type']}{where}"])


def format_entry(entry: dict[str, Any]) -> str:
    """Format a journal entry of a run on one line, with the output of a process on further lines."""
    detail, reference = entry.get("detail"), str(entry.get("reference", ""))
    if isinstance(detail, dict) and "iteration" in detail and not is_recorded(entry):
        reference = str(detail["iteration"])
        detail = {name: each for name, each in detail.items() if name not in ("iteration", "turn")}
    parts = [str(entry["at"]), str(entry["kind"]).ljust(18), reference]
    if entry["kind"] == "process.output" and detail:
        # Mark each line, so that output cannot imitate a journal entry.
        shown = str(detail["text"]).rstrip("\n").split("\n")
        if detail.get("omitted"):
            shown.insert(0, f"({detail['omitted']} characters omitted)")
        return "\n".join(["  ".join(parts), *(f"  {detail['stream']} | {each}" for each in shown)])
    if is_recorded(entry) and detail:
        return "\n".join(_recorded(parts, detail))
    if entry["kind"] == "task.interrupted" and detail:
        return "  ".join([*parts, f"its worker {detail['worker']} ended; the task runs at most once"])
    if entry["kind"] == "task.restarted" and detail:
        return "  ".join([*parts, f"restarted: its worker {detail['worker']} ended"])
    if detail:
        parts.append(json.dumps(detail, ensure_ascii=False))
    return "  ".join(part for part in parts if part).rstrip()


_COUNTED = 64 * 1024
"""The size of larger data is not known."""


def _recorded(parts: list[str], detail: Mapping[str, Any]) -> Iterator[str]:
    attempts = [f"{label} {detail[name]}" for name, label in ATTEMPTS.items() if name in detail]
    yield "  ".join([*parts, str(detail.get("iteration", "")), *attempts]).rstrip()
    yield from _sides(detail, SIDES)


def _sides(detail: Mapping[str, Any], sides: Sequence[str]) -> Iterator[str]:
    truncated = detail.get("truncated") or {}
    for side in sides:
        size = truncated.get(side)
        if side in detail or size is not None:
            value = detail.get(side, "")
            cut = "" if size is None else "…" if size > _COUNTED else f"… ({size:,} bytes)"
            text = (
                value
                if size is not None and isinstance(value, str)
                else json.dumps(value, ensure_ascii=False)
            )
            # JSON has no line breaks, so that data cannot imitate a journal entry.
            yield f"  {side:<6} | {text}{cut}"


class LiveDisplay:
    """Live display of a run on stderr; does nothing if stderr is not a terminal."""

    def __init__(self, screen: Screen) -> None:
        self._live: Live | None = None
        self._shown = is_capable_terminal(sys.stderr) and not screen.quiet

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
        """Tell whether the live display of a run is on, so that frequent refreshes are useful."""
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
            text = f"  {mark} {task['reference']}  {format_duration(task)}"
            lines.append(Text(text, style=STYLES.get(str(task["status"]), "")))
        self._live.update(Group(*lines))
