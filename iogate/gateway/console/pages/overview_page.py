"""Overview page: problems, current numbers, numbers of the last day, and the last errors."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from iogate.gateway.console.formatting import NOTHING, clock, count, duration
from iogate.gateway.console.page import Page, Visit
from iogate.gateway.console.shell_lines import line
from iogate.operators import statistics

Json = Mapping[str, Any]

LISTED: Final = 8
_HEIGHT: Final = 96


async def show(visit: Visit) -> Any:
    """Show the overview."""
    state, stats, errors, faulted = await asyncio.gather(
        visit.call("status.show"),
        visit.ask(statistics.run_statistics),
        visit.ask(statistics.error_groups),
        visit.call("runs.list", given={"status": "faulted", "limit": str(LISTED)}),
    )
    return await visit.show(
        "overview.html",
        {
            "title": "Overview",
            "state": state,
            "attention": list(attention(state, stats)),
            "tiles": tiles(state, stats["total"]),
            **_chart(stats["hours"], visit.now_ms),
            "groups": errors["errors"][:LISTED],
            "faulted": faulted["runs"],
        },
        here="Overview",
        line=line("status"),
    )


def _sign(subject: str, text: str, url: str, tone: str) -> dict[str, str]:
    return {"subject": subject, "text": text, "url": url, "tone": tone}


def attention(state: Json, stats: Json) -> Iterator[dict[str, str]]:
    """Yield problems for the overview page, the most severe first."""
    if state["refusedRecord"]:
        yield _sign("Live revision", state["refusedRecord"], "/console/system", "bad")
    if state["drainedS"]:
        yield _sign("Store", "is drained: calls are refused", "/console/system", "wait")
    for each in [*state["gateways"], *state["workers"]]:
        for fault in each["failed"]:
            text = f"cannot load revision {fault['revision']}: {fault['reason']}"
            yield _sign(each["id"], text, "/console/system", "bad")
    if not state["workers"]:
        yield _sign("Workers", "none is connected: no run starts", "/console/system", "bad")
    failing = sorted((each for each in stats["apis"] if each["faulted"]), key=lambda each: -each["faulted"])
    for each in failing[:LISTED]:
        rate = each["faultRate"] or 0
        text = f"{each['faulted']:,} of {each['faulted'] + each['completed']:,} attempts faulted in 24 h"
        query = urlencode({"api": each["api"], "status": "faulted", "since": "24h"}, safe="/")
        yield _sign(each["api"], text, f"/console/runs?{query}", "bad" if rate > 0.1 else "wait")
    for each in state["apis"]:
        url = f"/console/apis/{each['api']}"
        if each["missing"]:
            yield _sign(each["api"], "; ".join(each["missing"]), url, "bad")
        if each["held"]:
            word = "on hold" if each["enabled"] else "disabled, and on hold"
            yield _sign(each["api"], f"is {word} with {each['queued']:,} queued runs", url, "hold")
        elif each["overridden"] and not each["enabled"]:
            yield _sign(each["api"], "is disabled by an override", url, "wait")
    if suspended := state["runs"]["suspended"]:
        noun = "run is" if suspended == 1 else "runs are"
        yield _sign("Suspended", f"{suspended:,} {noun} suspended", "/console/runs?status=suspended", "hold")


def tiles(state: Json, total: Json) -> list[dict[str, str]]:
    runs, queue = state["runs"], state["queue"]
    oldest = duration(queue["oldestS"] * 1000)
    rate = total["faultRate"]
    took = total["durationS"]
    return [
        _tile(
            "In the queue",
            f"{queue['depth']:,}",
            f"oldest {oldest}" if queue["depth"] else "empty",
            "status=pending",
        ),
        _tile("Running", f"{runs['running']:,}", count(len(state["workers"]), "worker"), "status=running"),
        _tile("Waiting", f"{runs['waiting']:,}", "for a time, event or child", "status=waiting"),
        _tile("Accepted, 24 h", f"{total['accepted']:,}", "calls, events, schedules", "since=24h"),
        _tile(
            "Faults, 24 h",
            f"{total['faulted']:,}",
            "of the attempts that ended"
            if rate is None
            else f"{100 * rate:.1f} % of the attempts that ended",
            "status=faulted&since=24h",
            "bad-text" if total["faulted"] else "",
        ),
        _tile(
            "Took, p95",
            NOTHING if took is None else duration(took["p95"] * 1000),
            "" if took is None else f"half take {duration(took['p50'] * 1000)}",
            "status=completed&since=24h",
        ),
    ]


def _tile(name: str, value: str, note: str, query: str, tone: str = "") -> dict[str, str]:
    return {"name": name, "value": value, "note": note, "url": f"/console/runs?{query}", "tone": tone}


def _chart(hours: Sequence[Json], now_ms: int) -> dict[str, Any]:
    """Return the columns of the overview's chart of attempts that ended, by hour."""
    kinds = (("completed", "ok"), ("cancelled", "idle"), ("faulted", "bad"))
    most = max([1, *(sum(each[name] for name, _ in kinds) for each in hours)])
    columns = []
    for number, each in enumerate(hours):
        bars, below = [], 0.0
        for name, kind in kinds:
            if each[name]:
                height = max(1.5, _HEIGHT * each[name] / most)
                below += height
                bars.append(
                    {
                        "kind": kind,
                        "x": number * 10 + 1.5,
                        "y": f"{100 - below:.2f}",
                        "height": f"{height:.2f}",
                    }
                )
        counts = ", ".join(f"{each[name]:,} {name}" for name, _ in kinds)
        columns.append(
            {"at": each["hour"], "title": f"{clock(each['hour'], now_ms)} UTC: {counts}", "bars": bars}
        )
    totals = ", ".join(f"{sum(each[name] for each in hours):,} {name}" for name, _ in kinds)
    return {
        "hours": columns,
        "most": f"{most:,}",
        "chart_text": f"Attempts that ended in the last {len(hours)} hours: {totals}",
    }


PAGES: Final = (Page(path="/console", handler=show),)
