"""Overview: live revisions, runs and queue, APIs, schedules, secrets, gateways and workers.

Used by `status` and by its route.
"""

from __future__ import annotations

import asyncio
from typing import Any

from iogate.operators.gates import gate_json
from iogate.operators.schedules import schedules_json
from iogate.operators.secrets import missing_secrets, secret_values
from iogate.operators.statistics import NO_RUNS, last_day
from iogate.settings import Settings
from iogate.store.maintenance.process_presence import CALLBACK, SECRETS, UNSET, Process
from iogate.store.revisions.convergence import compare
from iogate.store.runs.presentation import rfc3339
from iogate.store.store import Store


async def show(store: Store, settings: Settings) -> dict[str, Any]:
    """Return the status for operators: state of the store, live revisions, runs, APIs and processes.

    `settings` name the users of secrets: event senders, sinks, and workflows.
    """
    project = store.revisions.project
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
    refused = {kind: number for kind, number in (await store.refusals.counts()).items() if number}
    of_workflows, started = await missing_secrets.by_live_workflow(store, workers)
    left = await store.gates.held_of_deleted()
    recent = await last_day(store)
    found = lives.live.get(project)
    invalid = lives.invalid.get(project)
    users = await secret_values.users_of_live(store, found, settings)
    states = {name: compare(observed, number, name) for name, (number, _) in sorted(lives.live.items())}
    state = states.get(project)
    gone = {each.process.id for each in observed if each.connected is False}
    missing = missing_secrets.of_apis(gateways, workers)
    known = secret_values.compare([each for each in (*gateways, *workers) if each.id not in gone], users)
    return {
        "store": store.shown_url,
        "drainedS": drained_s,
        "project": project,
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
        "apis": [
            {
                "api": gate.api,
                "project": gate.project,
                **gate_json(gate),
                "overridden": gate.override is not None,
                "lastDay": recent.get(gate.api, NO_RUNS),
                "missing": [*missing.get(gate.api, []), *of_workflows.get(started.get(gate.api, ""), [])],
            }
            for gate in gates.values()
        ],
        "heldOfDeleted": [{"api": api, "held": number} for api, number in left.items()],
        "workflows": [
            {
                "workflow": name,
                "apis": [api for api, started_by in started.items() if started_by == name],
                "missing": texts,
            }
            for name, texts in of_workflows.items()
        ],
        "schedules": schedules_json(schedules.values()),
        "secrets": secret_values.to_json(known),
        "processes": None if state is None else {"total": state.total, "loaded": state.loaded},
        "gateways": [_process_json(each, gone=each.id in gone) for each in gateways],
        "workers": [_process_json(each, gone=each.id in gone) for each in workers],
    }


def _process_json(process: Process, *, gone: bool) -> dict[str, Any]:
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
