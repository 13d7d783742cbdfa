"""Report of the replays of a plan: JSON, text and Markdown.

Used by `iogate plan --replay`. Pure. Invariant: a report contains names, pointers, counts and ids of runs,
and no data of a run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from iogate.cli.plans.plan_markdown import escape

if TYPE_CHECKING:
    from iogate.testing.behaviour.replay_comparison import Finding, FindingKind
    from iogate.testing.behaviour.replays import WorkflowReplay

SHOWN: Final = 50
"""Findings of one workflow in text and Markdown; JSON has all of them."""
_TEXTS: Final[dict[FindingKind, tuple[str, str]]] = {
    # for one run, for several runs
    "branch": ("takes another branch at {at}", "take another branch at {at}"),
    "fault": ("now faults at {at} ({detail})", "now fault at {at} ({detail})"),
    "recovery": ("no longer faults at {at}", "no longer fault at {at}"),
    "request": ("sends another request ({detail}) at {at}", "send another request ({detail}) at {at}"),
    "unrecorded": (
        "reaches a task that was never recorded at {at}",
        "reach a task that was never recorded at {at}",
    ),
    "missing": ("no longer makes its request at {at}", "no longer make their request at {at}"),
    "order": (
        "makes requests in another order, first at {at}",
        "make requests in another order, first at {at}",
    ),
    "wait": ("waits for another time at {at}", "wait for another time at {at}"),
    "stuck": ("no longer ends: it waits at {at}", "no longer end: they wait at {at}"),
    "output": ("ends with another output, because of {at}", "end with another output, because of {at}"),
}


@dataclass(frozen=True, kw_only=True)
class Replays:
    """Results of the replays of all changed workflows."""

    count: int
    """Requested number of runs per workflow."""
    workflows: tuple[WorkflowReplay, ...]

    def to_json(self) -> dict[str, Any]:
        return {"runs": self.count, "workflows": [_to_json(each) for each in self.workflows]}

    def lines(self) -> list[str]:
        """Return the report of replays as lines of text."""
        if not self.workflows:
            return ["Replay: no workflow of an earlier revision has changed"]
        return [
            line
            for each in self.workflows
            for line in (f"Replay of {_title(each)}", *(f"    {text}" for text in _details(each)))
        ]

    def markdown(self) -> str:
        """Return the report of replays as a section of a comment."""
        parts = ["", "", "#### Replay", ""]
        if not self.workflows:
            parts.append("No workflow of an earlier revision has changed.")
        for each in self.workflows:
            parts += [f"**{escape(_title(each))}**", ""]
            parts += [f"- {escape(text)}" for text in _details(each)]
            parts.append("")
        return "\n".join(parts).rstrip("\n") + "\n"


def _title(replay: WorkflowReplay) -> str:
    change = replay.change
    name = change.workflow if change.before == change.workflow else f"{change.before} as {change.workflow}"
    total = replay.replayed + sum(replay.skipped.values())
    if replay.problem or not total:
        return name
    runs = "1 run" if total == 1 else f"{total:,} runs"
    return f"{name}: {replay.unchanged:,} of {runs} unchanged"


def _details(replay: WorkflowReplay) -> Iterator[str]:
    if replay.problem:
        yield f"not replayed: {replay.problem}"
        return
    if not replay.replayed and not replay.skipped and not replay.timed_out:
        yield "there are no ended runs"
    for counted in replay.findings[:SHOWN]:
        yield f"{counted.count:,} of {replay.replayed:,} {_text(counted.finding, counted.count)}"
    if len(replay.findings) > SHOWN:
        yield f"… and {len(replay.findings) - SHOWN} more findings; -o json shows all"
    if replay.skipped:
        reasons = sorted(replay.skipped.items(), key=lambda each: (-each[1], each[0]))
        total = sum(replay.skipped.values())
        yield f"{total:,} not replayed: " + ", ".join(f"{count:,} {reason}" for reason, count in reasons)
    if "no record" in replay.skipped:
        yield "`record: all` in the API document keeps what replays of later runs need"
    if replay.timed_out:
        yield "stopped at the time limit; --replay-limit sets another one"


def _text(finding: Finding, count: int) -> str:
    at = f"{finding.pointer} (before: {finding.before})" if finding.before else finding.pointer
    return _TEXTS[finding.kind][count > 1].format(at=at, detail=finding.detail)


def _to_json(replay: WorkflowReplay) -> dict[str, Any]:
    return {
        "workflow": replay.change.workflow,
        "before": replay.change.before,
        "apis": list(replay.change.apis),
        "replayed": replay.replayed,
        "unchanged": replay.unchanged,
        "findings": [
            {
                "kind": each.finding.kind,
                "pointer": each.finding.pointer,
                "before": each.finding.before or None,
                "detail": each.finding.detail or None,
                "count": each.count,
                "runs": list(each.runs),
            }
            for each in replay.findings
        ],
        "skipped": [{"reason": reason, "count": count} for reason, count in sorted(replay.skipped.items())],
        "timedOut": replay.timed_out,
        "problem": replay.problem or None,
    }
