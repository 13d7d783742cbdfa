"""`iogate status`: overview of the live revision, runs, APIs and processes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from iogate.cli import panels
from iogate.cli.apis import workflow_commands
from iogate.cli.apis.gate_display import gate_json, state_text, with_overrides
from iogate.cli.messages import counted
from iogate.cli.render import Table
from iogate.cli.revisions import missing_secrets, secret_values
from iogate.cli.session import Session, command

if TYPE_CHECKING:
    from collections.abc import Mapping

    from iogate.store.maintenance.process_presence import Process

PLURALS = {"queue entry": "queue entries"}


def register(app: typer.Typer) -> None:
    command(app, "status", rich_help_panel=panels.PROCESSES)(status)


async def status(
    session: Session,
    secrets: Annotated[
        bool, typer.Option("--secrets", help="Show keyed fingerprints of all secrets, per process.")
    ] = False,
) -> None:
    """Show the live revision, runs and queue, APIs, gateways and workers."""
    from iogate.store.revisions.convergence import compare

    settings = session.settings()
    async with session.store(settings) as store:
        lives, counts, queue, gates, observed = await asyncio.gather(
            store.revisions.live_of_all(),
            store.runs.counts(),
            store.runs.queue(),
            store.gates.states(everywhere=True),
            store.presence.observe(),
        )
        gateways, workers = (
            [each.process for each in observed if each.process.kind == kind] for kind in ("gateway", "worker")
        )
        drained_s = await store.drains.left_s()
        schedules = await store.schedules.upcoming(everywhere=True)
        refused = await store.refusals.counts()
        of_workflows, started = await missing_secrets.by_live_workflow(store, workers)
        left = await store.gates.held_of_deleted()
        found = lives.live.get(settings.project)
        invalid = lives.invalid.get(settings.project)
        users = await secret_values.users_of_live(store, found, settings)
        address = store.shown_url
    states = {name: compare(observed, number, name) for name, (number, _) in sorted(lives.live.items())}
    state = states.get(settings.project)
    gone = {each.process.id for each in observed if each.connected is False}
    missing = missing_secrets.of_apis(gateways, workers)
    known = secret_values.compare([each for each in (*gateways, *workers) if each.id not in gone], users)
    apis = [
        {
            "api": gate.api,
            "project": gate.project,
            **gate_json(gate),
            "overridden": gate.override is not None,
            "missing": [*missing.get(gate.api, []), *of_workflows.get(started.get(gate.api, ""), [])],
        }
        for gate in gates.values()
    ]
    value = {
        "store": address,
        "drainedS": drained_s,
        "project": settings.project,
        "projects": [
            {
                "project": name,
                "revision": number,
                "digest": digest,
                "apis": sum(gate.project == name for gate in gates.values()),
                "processes": {"total": states[name].total, "loaded": states[name].loaded},
            }
            for name, (number, digest) in sorted(lives.live.items())
        ],
        "revision": found[0] if found is not None else None,
        "digest": found[1] if found is not None else None,
        "refusedRecord": None if invalid is None else invalid.why,
        "runs": counts,
        "queue": {"depth": queue.depth, "oldestS": round(queue.oldest_s, 3)},
        "refused": refused,
        "apis": apis,
        "heldOfDeleted": [{"api": api, "held": number} for api, number in left.items()],
        "workflows": [
            {
                "workflow": name,
                "apis": [api for api, started_by in started.items() if started_by == name],
                "missing": texts,
            }
            for name, texts in of_workflows.items()
        ],
        "schedules": workflow_commands.schedules_json(schedules.values()),
        "secrets": secret_values.to_json(known),
        "processes": None if state is None else {"total": state.total, "loaded": state.loaded},
        "gateways": [_process_json(each, gone=each.id in gone) for each in gateways],
        "workers": [_process_json(each, gone=each.id in gone) for each in workers],
    }
    shown = secret_values.tables(known, every=secrets)
    session.screen.data("status", value, [*_text(value), *(part for table in shown for part in ("", table))])


def describe_refusals(refused: Mapping[str, int]) -> str:
    """Format for `iogate status` how many objects of each kind failed verification."""
    return ", ".join(
        f"{number} {kind if number == 1 else PLURALS.get(kind, kind + 's')}"
        for kind, number in sorted(refused.items())
    )


def _process_json(process: Process, *, gone: bool) -> dict[str, Any]:
    from iogate.store.maintenance.process_presence import CALLBACK, SECRETS, UNSET
    from iogate.store.runs.presentation import rfc3339

    detail = {
        name: value
        for name, value in process.detail.items()
        if name != SECRETS and not name.startswith((UNSET, CALLBACK))
    }
    return {
        "id": process.id,
        "host": process.host,
        "pid": process.pid,
        "startedAt": rfc3339(process.started_at_ms),
        "revision": process.revision,
        "failed": [
            {"project": project, "revision": failure.revision, "reason": failure.reason}
            for project, failure in sorted(process.failed.items())
        ],
        "connected": not gone,
        **detail,
    }


def _text(value: dict[str, Any]) -> list[Table | str]:
    from iogate.store.revisions.origin import DEFAULT_PROJECT

    runs = ", ".join(f"{number} {name}" for name, number in value["runs"].items() if number)
    queue = value["queue"]
    loaded = value["processes"]
    head = [
        f"store     {value['store']}",
        f"revision  {_revision(value)}",
        *(
            [f"processes {loaded['loaded']}/{loaded['total']} on revision {value['revision']}"]
            if loaded is not None and loaded["total"]
            else []
        ),
        f"runs      {runs or 'none'}",
        f"queue     {queue['depth']}"
        + (f", the oldest for {queue['oldestS']:.1f}s" if queue["depth"] else ""),
    ]
    if (drained_s := value["drainedS"]) is not None:
        head.insert(1, f"drained   for another {drained_s:.0f}s: iogate store resume opens it")
    if value["refused"]:
        head.append(f"refused   {describe_refusals(value['refused'])}: not signed with the key, see the logs")
    head += [
        f"on hold   {counted(each['held'], 'run')} of the deleted {each['api']}: iogate enable releases them"
        for each in value["heldOfDeleted"]
    ]
    parts: list[Table | str] = ["\n".join(head)]
    several = any(each["project"] != DEFAULT_PROJECT for each in (value, *value["projects"]))
    if several:
        rows_ = [
            (
                each["project"],
                each["revision"],
                each["apis"],
                f"{each['processes']['loaded']}/{each['processes']['total']}",
            )
            for each in value["projects"]
        ]
        parts += ["", Table(columns=("project", "revision", "apis", "loaded by"), rows=rows_)]
    if value["apis"]:
        columns, rows = with_overrides(
            (*(("project",) if several else ()), "api", "state", "queued", "running"),
            [
                (
                    *((api["project"],) if several else ()),
                    api["api"],
                    state_text(api),
                    api["queued"],
                    api["running"],
                )
                for api in value["apis"]
            ],
            [api["override"] for api in value["apis"]],
        )
        table = Table(columns=columns, rows=rows, numbers=frozenset({"queued", "running"}))
        parts += ["", table]
    missing = [(api["api"], each) for api in value["apis"] for each in api["missing"]]
    missing += [
        (each["workflow"], text)
        for each in value["workflows"]
        if not each["apis"]
        for text in each["missing"]
    ]
    if missing:
        parts += ["", Table(columns=("needed by", "missing"), rows=missing)]
    if value["schedules"]:
        parts += ["", workflow_commands.schedule_table(value["schedules"])]
    rows = [
        (
            kind,
            each["id"],
            each["host"],
            each["pid"],
            each["startedAt"],
            each["revision"] or None,
            _reason(each) or None,
        )
        for kind in ("gateway", "worker")
        for each in value[f"{kind}s"]
    ]
    if rows:
        columns = ("process", "id", "host", "pid", "started", "revision", "reason")
        shown = len(columns) if any(row[-1] for row in rows) else -1
        parts += ["", Table(columns=columns[:shown], rows=[row[:shown] for row in rows])]
    else:
        parts += ["", 'no gateways or workers are running: start them with "iogate up"']
    return parts


def _revision(value: dict[str, Any]) -> str:
    """Return the live revision for `iogate status` as text, or why its record is refused."""
    if value["refusedRecord"] is not None:
        return f"refused: {value['refusedRecord']}: see iogate explain IOG673"
    return "none yet" if value["revision"] is None else str(value["revision"])


def _reason(process: dict[str, Any]) -> str:
    """Return why a process in `iogate status` does not use the newest revision."""
    if not process["connected"]:
        return "it has no connection to the store"
    return "; ".join(f"revision {each['revision']}: {each['reason']}" for each in process["failed"])
