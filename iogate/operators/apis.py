"""The live APIs: list, and the whole contract of one.

Used by `api list` and `api show`, by `show`, and by the routes of APIs. Invariants: a key of API documents
cannot be missing, since `export` writes files by the same form; no secret is shown, only where it comes from.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from iogate.auth.description import describe
from iogate.compiler.revision import Api
from iogate.operators.debug_cases import examples
from iogate.operators.gates import gate_json, state_json
from iogate.operators.live_revision import find_api, live_revision
from iogate.operators.statistics import NO_RUNS, error_groups, last_day
from iogate.store.revisions.gate_states import Gate
from iogate.store.store import Store
from iogate.url_paths import api_path

ERRORS: Final = 5
"""Number of distinct errors of an API that `show` has, the last ones."""


async def list_all(store: Store) -> dict[str, Any]:
    """Return the live APIs with their verbs, authentication, state and number of runs.

    Raises NotFound if nothing was applied yet, NotAuthentic if the live revision is forged.
    """
    number, revision = await live_revision(store)
    gates = await store.gates.states()
    return {
        "revision": number,
        "apis": [_summary(api, gates.get(api.id)) for _, api in sorted(revision.apis.items())],
    }


async def show(store: Store, api: str) -> dict[str, Any]:
    """Return all details of one live API.

    Raises NotFound if there is no such API, NotAuthentic if the live revision is forged.
    """
    number, revision = await live_revision(store)
    gates = await store.gates.states()
    known = find_api(revision, api)
    gate = gates.get(api)
    recent = await last_day(store, api=api)
    errors = await error_groups(store, api=api)
    return {
        "revision": number,
        **_summary(known, gate),
        "lastDay": recent.get(api, NO_RUNS),
        "errors": errors["errors"][:ERRORS],
        **state_json(api, gate),
        **details(known),
    }


def _summary(api: Api, gate: Gate | None) -> dict[str, Any]:
    return {
        "api": api.id,
        "verbs": list(api.verbs),
        "path": api_path(api.id),
        "ownPath": api.own_path[0] if api.own_path is not None else None,
        "auth": describe(api.auth),
        **gate_json(gate),
        "workflow": api.workflow,
        "description": api.description,
        "tags": list(api.tags),
    }


def details(api: Api) -> dict[str, Any]:
    """Return the details of a live API that the list of APIs leaves out."""
    from iogate.reconcile.document_form import addresses_form  # noqa: PLC0415 - not needed for a list

    key, coalesce = api.limits.of_key, api.coalesces
    return {
        "allowIps": addresses_form(api.allow_ips),
        "ownPathMode": api.own_path[1] if api.own_path is not None else None,
        "inputFrom": api.input_from,
        "inputSchema": api.input_schema,
        "limits": {
            "body": api.limits.body,
            "rate": api.limits.rate,
            "burst": api.limits.burst,
            "per": api.limits.counted_by,
            "queued": api.limits.queued,
            "running": api.limits.running,
            "concurrency": None if key is None else {"key": key.key, "limit": key.limit},
            "onFull": "replace" if api.limits.replaces else "reject",
            "priority": api.limits.rank,
        },
        "coalesce": None
        if coalesce is None
        else {"key": coalesce.key, "windowS": coalesce.window_s, "maxS": coalesce.max_s},
        "idempotency": {
            "header": api.idempotency.header,
            "pointer": api.idempotency.key_pointer,
            "ttlS": api.idempotency.ttl_s,
            "required": api.idempotency.is_required,
        },
        "timeoutS": api.timeout_s,
        "retentionS": api.retention_s,
        "record": api.records,
        "protect": api.protect,
        "metadata": api.metadata,
        "source": api.source,
        "program": api.program,
        "debugCases": [msgspec.to_builtins(each) for each in examples(api)],
        "document": document(api),
    }


def document(api: Api) -> dict[str, Any]:
    """Return the contract of a live API, in the form of API documents without debug cases and hashes."""
    # These two are not needed for a list.
    from iogate.reconcile.document_form import api_form  # noqa: PLC0415
    from iogate.reconcile.shown_values import shown  # noqa: PLC0415

    return {name: shown((name,), value) for name, value in api_form(api).items() if name != "debug"}
