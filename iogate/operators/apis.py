"""The live APIs: list, and the whole contract of one.

Used by `api list` and `api show`, by `show`, and by the routes of APIs. Invariants: a key of API documents
cannot be missing, since `export` writes files by the same form; no secret is shown, only where it comes from.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec

from iogate.auth.description import describe
from iogate.compiler.revision import Api, Example
from iogate.errors import NotFound
from iogate.json_values import differences
from iogate.messages import did_you_mean, listed, quoted
from iogate.operators.gates import gate_json, state_json
from iogate.operators.live_revision import find_api, live_revision
from iogate.operators.statistics import NO_RUNS, error_groups, last_day
from iogate.security.redaction_patterns import redact
from iogate.store.revisions.gate_states import Gate
from iogate.store.runs import presentation
from iogate.store.runs.views import RunView
from iogate.store.store import Store
from iogate.url_paths import api_path

ERRORS: Final = 5
"""Number of distinct errors of an API that `show` has, the last ones."""

NO_CASE: Final = "IOG801"


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
    """Return the details of an API that a list leaves out."""
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


def examples(api: Api) -> tuple[Example, ...]:
    """Return the debug cases that the revision keeps of an API: those without secrets, files and headers."""
    return () if isinstance(api.examples, msgspec.UnsetType) else api.examples


def find_case(api: Api, name: str) -> Example:
    """Return a debug case of an API by its name.

    Raises NotFound if the revision keeps no such case.
    """
    known = {each.name: each for each in examples(api)}
    if name not in known:
        raise case_not_found(api.id, name, known)
    return known[name]


def case_not_found(api: str, name: str, known: Collection[str]) -> NotFound:
    """Return the error for a debug case that the revision does not keep; `known` are those that it keeps."""
    return NotFound(
        f"the live revision keeps no debug case {quoted(name)} of {api}{did_you_mean(name, known)}",
        code=NO_CASE,
        hint=f"it keeps {listed(map(quoted, known))}" if known else "it keeps none of this API",
    )


def case_failures(status: str, output: Any, error: Any, expect: Mapping[str, Any]) -> list[str]:
    """Return how an ended run of a debug case differs from its expectation; empty if it does not.

    `expect` has the expected `output`, if any is expected.
    """
    if status != "completed":
        detail = f": {error['message']}" if error else ""
        return [f"status: expected completed, got {status}{detail}"]
    return list(differences(expect["output"], output)) if "output" in expect else []


def case_result(
    api: Api, case: Example, *, http: int, message: str = "", run: RunView | None = None, took_s: float = 0.0
) -> dict[str, Any]:
    """Compare the response to a debug case, and its run, with the expectation, as `iogate debug` does.

    `passed` is None as long as the run has not ended. Secrets are redacted on both sides.
    """
    failures: list[str] = []
    output, error = None, None
    expect = {} if case.output is msgspec.UNSET else {"output": case.output}
    if run is None:
        failures = [f"http: the request was refused with {http}: {message}"]
    elif run.ended:
        output = None if run.output is None else redact(json.loads(run.output))
        error = redact(presentation.error(run, operator=True))
        failures = case_failures(run.status, output, error, expect)
    is_open = run is not None and not run.ended
    return {
        "api": api.id,
        "name": case.name,
        "passed": None if is_open else not failures,
        "skipped": None,
        "http": http,
        "message": message or None,
        "uid": None if run is None else run.uid,
        "status": None if run is None else run.status,
        "output": output,
        "error": error,
        "expect": expect,
        "failures": failures,
        "tookS": round(took_s, 3),
    }


def document(api: Api) -> dict[str, Any]:
    """Return the contract of an API in the form of API documents, without debug cases and hashes."""
    # These two are not needed for a list.
    from iogate.reconcile.document_form import api_form  # noqa: PLC0415
    from iogate.reconcile.shown_values import shown  # noqa: PLC0415

    return {name: shown((name,), value) for name, value in api_form(api).items() if name != "debug"}
