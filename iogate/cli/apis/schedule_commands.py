"""`iogate schedule`: list the live schedules, disable and enable them, and start a run now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from iogate.cli import completion, panels
from iogate.cli.apis.workflow_commands import schedules_json
from iogate.cli.live_revision import live_revision
from iogate.cli.messages import counted
from iogate.cli.options import parse_seconds
from iogate.cli.render import Table
from iogate.cli.session import Session, author, command
from iogate.errors import Refused

if TYPE_CHECKING:
    from iogate.store.revisions.due_schedules import Upcoming
    from iogate.store.revisions.schedule_states import ScheduleState
    from iogate.store.store import Store

group = typer.Typer(help="List, enable, disable and run the live schedules.", no_args_is_help=True)

NamesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="NAMESPACE/NAME", help="Workflows with a schedule.", autocompletion=completion.workflows
    ),
]
NOT_STARTED = "IOG723"
TICKS = 3
"""Next ticks that `list` computes."""


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="schedule", rich_help_panel=panels.LIVE)


@command(group, "list")
async def list_(session: Session) -> None:
    """List the live schedules with next ticks, last run, skipped ticks and overrides."""
    async with session.store(session.settings()) as store:
        upcoming = await store.schedules.upcoming()
        states = await store.schedule_states.read(sorted(upcoming), await store.now_ms())
        rows = [await _row(store, name, upcoming[name], states[name]) for name in sorted(upcoming)]
    table = Table(
        columns=("schedule", "when", "overlap", "state", "next", "last run", "status", "skipped"),
        rows=[
            (
                each["schedule"],
                each["when"],
                each["overlap"],
                _state_text(each),
                each["nextTicks"][0] if each["nextTicks"] else None,
                each["lastRun"],
                each["lastStatus"],
                each["skipped"],
            )
            for each in rows
        ],
        numbers=frozenset({"skipped"}),
    )
    session.screen.data("schedule.list", {"schedules": rows}, [table if rows else "no live schedules"])


async def _row(store: Store, name: str, each: Upcoming, state: ScheduleState) -> dict[str, Any]:
    from iogate.store.runs.presentation import rfc3339

    described = schedules_json([each])[each.workflow]
    run = state.run or each.run
    last = None if run is None else await store.runs.show(run)
    return {
        "schedule": name,
        "workflow": each.workflow,
        **{key: value for key, value in described.items() if key not in ("nextAt", "run")},
        "nextTicks": [rfc3339(moment) for moment in _next_ticks(each, state)],
        "waiting": state.waits,
        "lastRun": run,
        "lastStatus": None if last is None else last.status,
        "lastStartedAt": rfc3339(state.started_ms),
        "skipped": state.skipped,
        "lastSkippedAt": rfc3339(state.skipped_at_ms),
        "lastSkipReason": state.skipped_reason or None,
        "disabled": None
        if state.pause is None
        else {
            "author": state.pause.author,
            "reason": state.pause.reason or None,
            "since": rfc3339(state.pause.since_ms),
            "until": rfc3339(state.pause.until_ms),
        },
    }


def _next_ticks(each: Upcoming, state: ScheduleState) -> list[int]:
    """Return the times of the next ticks that start runs; empty if they follow a run or events.

    A disabled schedule has none, or those after the time at which it is enabled again.
    """
    pause = state.pause
    if each.next_ms is None or (pause is not None and (each.schedule.chained or pause.until_ms is None)):
        return []
    if each.schedule.chained:
        return [each.next_ms]
    moments = [each.next_ms]
    if pause is not None and pause.until_ms is not None and pause.until_ms > each.next_ms:
        moments = [each.schedule.due(each.next_ms, pause.until_ms)[1] or each.next_ms]
    while len(moments) < TICKS:
        moments.append(each.schedule.next_ms(moments[-1]))
    return moments


def _state_text(row: dict[str, Any]) -> str:
    pause = row["disabled"]
    if pause is None:
        return "one tick waits" if row["waiting"] else "enabled"
    until = f" until {pause['until']}" if pause["until"] else ""
    reason = f": {pause['reason']}" if pause["reason"] else ""
    return f"disabled by {pause['author']}{until}{reason}"


@command(group, "disable")
async def disable(
    session: Session,
    names: NamesArgument,
    reason: Annotated[str, typer.Option(help="Reason, shown to other users.")] = "",
    ttl: Annotated[
        str | None, typer.Option(metavar="TIME", help="Enable the schedules again after this time: 30m, 2h.")
    ] = None,
) -> None:
    """Disable schedules: their ticks start no runs, also after an apply, until `enable`; runs continue.

    Raises NotFound for an unknown schedule, and Foreign if another project owns one.
    """
    ttl_s = parse_seconds(ttl, "--ttl")
    async with session.store(session.settings(), changes=True) as store:
        await store.schedule_states.switch(names, enabled=False, author=author(), reason=reason, ttl_s=ttl_s)
    value = {"schedules": names, "enabled": False, "reason": reason, "ttlS": ttl_s}
    ends = f" for {ttl}" if ttl else ""
    session.screen.data("schedule.disable", value, [f"disabled {name}{ends}" for name in names])
    if not reason:
        session.screen.note("no reason given: --reason TEXT tells others why")


@command(group, "enable")
async def enable(session: Session, names: NamesArgument) -> None:
    """Enable schedules from their next tick on; ticks that were skipped meanwhile are not made up for.

    Raises NotFound for an unknown schedule, and Foreign if another project owns one.
    """
    async with session.store(session.settings(), changes=True) as store:
        await store.schedule_states.switch(names, enabled=True, author=author(), reason="", ttl_s=None)
    session.screen.data(
        "schedule.enable", {"schedules": names, "enabled": True}, [f"enabled {name}" for name in names]
    )


@command(group, "run")
async def run(session: Session, names: NamesArgument) -> None:
    """Start a run of each schedule now, also of a disabled one; its ticks stay as they are.

    Raises NotFound for an unknown schedule, and Refused for one on events or if the store starts no runs.
    """
    from iogate.store.revisions.schedule_states import unknown_schedule
    from iogate.store.runs.uids import UidSource

    uids: dict[str, str] = {}
    started: list[str] = []
    source = UidSource()
    async with session.store(session.settings(), changes=True) as store:
        found = {name: await store.schedules.find(name) for name in names}
        missing = [name for name, tick in found.items() if tick is None]
        if missing:
            raise unknown_schedule(missing)
        ticks = {name: tick for name, tick in found.items() if tick is not None}
        _, revision = await live_revision(store)
        for name, tick in ticks.items():
            # As workers do: the run that is signed here must be one of the verified revision.
            if revision.scheduled.get(name) != (tick.scheduled.workflow, tick.scheduled.schedule):
                raise Refused(
                    f"no run of {name}: its schedule in the store is not that of the live revision",
                    code=NOT_STARTED,
                    hint="`iogate drift` shows what differs; `iogate apply` restores it",
                )
            if tick.scheduled.schedule.kind == "on":
                raise Refused(
                    f"{name} starts on events, and not by a tick",
                    code=NOT_STARTED,
                    hint="send an event: POST /v1/events",
                )
        for name, tick in ticks.items():
            uid = source.next()
            outcome, stored, _ = await store.schedules.take(tick, [uid], None, caller=author())
            if outcome != "ok" or not stored:
                why = "the store is nearly full" if outcome == "memory" else "too many of its runs wait"
                if outcome in ("gone", "taken"):
                    why = "the schedule changed meanwhile"
                done = f"; {counted(len(started), 'run')} started" if started else ""
                raise Refused(f"no run of {name}: {why}{done}", code=NOT_STARTED, hint="try again later")
            uids[name] = uid
            started.append(f"{uid}  {name}")
    session.screen.data("schedule.run", {"runs": uids}, started)
