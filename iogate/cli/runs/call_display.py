"""Display of concurrency keys, merged calls and failed iterations in `runs show`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from iogate import json_pointer
from iogate.errors import IogateError
from iogate.messages import counted

if TYPE_CHECKING:
    from iogate.compiler.revision import Api
    from iogate.store.runs.operations import RunView
    from iogate.store.store import Store


async def keys_json(store: Store, view: RunView, shown_input: Any) -> dict[str, Any]:
    """Return `concurrencyKey`, `coalesceKey` and `mergedCalls` of a run.

    The values of the keys are read from the redacted input, with the pointers of the revision of the run.
    """
    api = await _api(store, view)
    concurrency, coalesce = (None, None) if api is None else (api.limits.of_key, api.coalesces)
    return {
        "concurrencyKey": None if concurrency is None else _key(concurrency.key, shown_input),
        "coalesceKey": None if coalesce is None else _key(coalesce.key, shown_input),
        "mergedCalls": view.merged,
    }


async def _api(store: Store, view: RunView) -> Api | None:
    with suppress(IogateError):  # an older revision may be gone
        return (await store.revisions.load(view.revision)).apis.get(view.api)
    return None


def _key(pointer: str, shown_input: Any) -> dict[str, str] | None:
    try:
        value = json_pointer.find(shown_input, json_pointer.parse(pointer))
    except LookupError:
        return None
    return None if value is None else {"pointer": pointer, "value": str(value)}


def key_lines(run: Mapping[str, Any]) -> list[str]:
    """Return the lines of `runs show` about the keys and the merged calls of a run."""
    lines: list[str] = []
    if key := run.get("concurrencyKey"):
        lines.append(f"{'key':<10} {key['value']}  (concurrency by {key['pointer']})")
    if run.get("mergedCalls"):
        key = run.get("coalesceKey")
        of_key = f", with {key['value']} at {key['pointer']}" if key else ""
        lines.append(f"{'coalesced':<10} with {counted(run['mergedCalls'], 'further call')}{of_key}")
    return lines


def count_failures(tasks: Sequence[dict[str, Any]], journal: Sequence[Mapping[str, Any]]) -> None:
    """Add `failed` to each displayed task: how many of its executions have faulted, by the journal."""
    failed = Counter(entry.get("reference") for entry in journal if entry["kind"] == "task.faulted")
    for task in tasks:
        task["failed"] = failed[task["reference"]]
