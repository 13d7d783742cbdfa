"""The live workflows: list, definition, APIs that start them, and schedules.

Used by `workflow list` and `workflow show`, by `status`, and by the routes of workflows. Invariant: no
literal secret of a definition is shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from iogate.errors import NotFound
from iogate.messages import did_you_mean
from iogate.operators.live_revision import live_revision
from iogate.operators.schedules import schedules_json
from iogate.store.store import Store
from iogate.value_types.semantic_versions import version_precedence


async def list_all(store: Store) -> dict[str, Any]:
    """Return the live workflows with the APIs that start them, and their schedules.

    Raises NotFound if nothing was applied yet, NotAuthentic if the live revision is forged.
    """
    number, revision = await live_revision(store)
    scheduled = schedules_json((await store.schedules.upcoming()).values())
    users: dict[str, list[str]] = {}
    for api in revision.apis.values():
        users.setdefault(api.workflow, []).append(api.id)
    return {
        "revision": number,
        "workflows": [
            {
                "workflow": name,
                "title": workflow.title,
                "apis": sorted(users.get(name, ())),
                "schedule": scheduled.get(name),
                "source": workflow.source,
            }
            for name, workflow in sorted(revision.workflows.items())
        ],
    }


def workflow_not_found(workflow: str, known: Iterable[str]) -> NotFound:
    """Return the error of a name that is not one of the `known` live workflows."""
    plain = {name.partition(":")[0] for name in known}
    return NotFound(
        f"no live workflow {workflow}{did_you_mean(workflow, plain)}",
        hint='list them with "iogate workflow list"',
    )


async def show(store: Store, workflow: str) -> dict[str, Any]:
    """Return the definition of a live workflow, `namespace/name[:version]`, and its schedule.

    Without a version, the newest one is meant. Raises NotFound if no live workflow has this name,
    NotAuthentic if the live revision or the definition is forged.
    """
    # These two are not needed for a list.
    from iogate.compiler import resolved_references  # noqa: PLC0415
    from iogate.reconcile.shown_values import shown_definition  # noqa: PLC0415

    number, revision = await live_revision(store)
    found = [name for name in revision.workflows if name == workflow or name.startswith(workflow + ":")]
    if not found:
        raise workflow_not_found(workflow, revision.workflows)
    name = max(found, key=lambda each: version_precedence(each.partition(":")[2]))
    program = json.loads(await store.revisions.program(revision.workflows[name].program))
    schedule = schedules_json((await store.schedules.upcoming()).values()).get(name)
    stored, _ = resolved_references.split(program)
    # The stored definition is sorted by name: restore the order of documents, from the head to the tasks.
    head = {key: stored[key] for key in ("document", "input", "use") if key in stored}
    definition = head | {key: value for key, value in stored.items() if key not in {*head, "do"}}
    definition["do"] = stored["do"]
    return {
        "workflow": name,
        "revision": number,
        "schedule": schedule,
        "definition": shown_definition(definition),
    }
