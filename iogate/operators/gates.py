"""Gates of the live APIs: their state as JSON, switches, overrides and holds.

Used by `api list`, `enable`, `disable`, `override`, and by the routes of overrides. Invariant: a selection is
switched in one step, by the revision that it was resolved with.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from iogate.compiler.revision import canonical
from iogate.errors import Misused, Refused, Stale
from iogate.operators.activity import clean_reason
from iogate.operators.live_revision import ApiSelection, find_api, live_revision
from iogate.store.revisions.gate_states import Gate, Override, Switch, Switched, state_of
from iogate.store.runs.presentation import rfc3339
from iogate.store.store import Store

ATTEMPTS: Final = 10
"""Maximum number of attempts to switch a selection while others change the live revision."""
MOVED: Final = "IOG643"
STALE: Final = "IOG800"


class SelectionMoved(Refused):
    """Error of a switch: the selected APIs are no longer those that the operator confirmed."""

    def __init__(self, apis: Sequence[str]) -> None:
        super().__init__(
            "the selected APIs changed meanwhile: nothing was switched",
            code=MOVED,
            hint="repeat the command",
        )
        self.apis = list(apis)
        """Ids of the APIs that the selection has now."""


def gate_json(gate: Gate | None) -> dict[str, Any]:
    """Return the JSON form of a gate; without a gate, an API is disabled."""
    if gate is None:
        return {
            "enabled": False,
            "held": False,
            "releasePerS": None,
            "override": None,
            "queued": 0,
            "running": 0,
        }
    return {
        "enabled": gate.enabled,
        "held": gate.held,
        "releasePerS": gate.release_per_s,
        "override": None if gate.override is None else override_json(gate.override),
        "queued": gate.queued,
        "running": gate.running,
    }


def override_json(override: Override) -> dict[str, Any]:
    """Return the JSON form of an override of a gate."""
    return {
        "enabled": override.enabled,
        "held": override.held,
        "author": override.author,
        "reason": override.reason,
        "setAt": rfc3339(override.set_at_ms),
        "expiresAt": rfc3339(override.expires_at_ms),
    }


def switch_json(switch: Switch) -> dict[str, Any]:
    """Return the JSON form of the switch in a gate, of an API that git leaves to the commands."""
    return {"author": switch.author, "reason": switch.reason, "setAt": rfc3339(switch.set_at_ms)}


def state_json(api: str, gate: Gate | None) -> dict[str, Any]:
    """Return the gate of an API as JSON: its state, that in git, and the author of the last switch."""
    return {
        "api": api,
        **gate_json(gate),
        "enabledInGit": gate.git if gate is not None else None,
        "switched": None if gate is None or gate.switched is None else switch_json(gate.switched),
    }


def version_of(state: Mapping[str, Any]) -> str:
    """Return the version of a gate from its state as JSON, which each switch and override changes."""
    parts = [state[name] for name in ("enabled", "held", "override", "enabledInGit", "switched")]
    return hashlib.sha256(canonical(parts)).hexdigest()[:16]


async def selected(store: Store, selection: ApiSelection, *, enabled: bool) -> list[str]:
    """Return the ids of the selected APIs, for `switch`.

    Raises NotFound for a criterion that selects nothing, Foreign for an API of another project.
    """
    await store.gates.check_owner(selection.apis)
    return await _resolve(store, selection, enabled=enabled)


async def _resolve(store: Store, selection: ApiSelection, *, enabled: bool) -> list[str]:
    _, revision = await live_revision(store)
    return selection.resolve(revision, await store.gates.held_of_deleted() if enabled else ())


async def switch(  # noqa: PLR0913 - the options of one operation
    store: Store,
    selection: ApiSelection,
    *,
    enabled: bool,
    author: str,
    reason: str = "",
    ttl_s: float | None = None,
    hold: bool = False,
    rate: float | None = None,
    confirmed: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Enable or disable the gates of selected APIs in one step, on all gateways before it returns.

    `hold`: start no new run; with `enabled`, accept calls, otherwise accept them as before. `rate`: number of
    runs on hold to release per second; None: all at once. `confirmed`: ids that `selected` has returned.

    Raises NotFound and Foreign as `selected` does, SelectionMoved if the selection is not `confirmed`, and
    Refused if the live revision changes all the time.
    """
    reason = clean_reason(reason)
    await store.gates.check_owner(selection.apis)
    for _ in range(ATTEMPTS):
        changes = await store.gates.changes()
        wanted = await _resolve(store, selection, enabled=enabled)
        if confirmed is not None and wanted != list(confirmed):
            raise SelectionMoved(wanted)
        changed = await store.gates.set_enabled(
            wanted,
            enabled,
            author=author,
            reason=reason,
            ttl_s=ttl_s,
            hold=hold,
            rate=rate,
            by_override=selection.by_criteria,
            expected=changes if selection.by_criteria else None,
        )
        if changed is not None:
            break
    else:
        raise _busy()
    gates = await store.gates.states()
    return {
        "apis": wanted,
        "enabled": enabled,
        "held": hold,
        "reason": reason,
        "ttlS": ttl_s,
        "releasePerS": rate,
        "changes": [_switched_json(each, gates.get(each.api)) for each in changed],
    }


def _switched_json(change: Switched, gate: Gate | None) -> dict[str, Any]:
    return {
        "api": change.api,
        "before": change.before,
        "after": change.after,
        "heldBefore": change.held_before,
        "held": change.held,
        "queued": 0 if gate is None else gate.queued,
    }


async def set_override(  # noqa: PLR0913 - the options of one operation
    store: Store,
    api: str,
    *,
    enabled: bool,
    author: str,
    reason: str = "",
    ttl_s: float | None = None,
    hold: bool = False,
    rate: float | None = None,
    version: str | None = None,
) -> dict[str, Any]:
    """Enable or disable the gate of one API, on all gateways before it returns; return state and change.

    `hold`, `rate`: as in `switch`. `version`: that of the state to replace, as `version_of` returns it; None:
    any. An API whose state git leaves to people has a switch afterwards, and an override only for a hold or
    with a ttl. Raises NotFound if there is no such API, Foreign if another project owns it, Stale if its
    state has another version, Misused for a hold with a rate.
    """
    if hold and rate is not None:
        raise Misused("a hold has no rate: a rate releases the runs on hold")
    reason = clean_reason(reason)
    selection = ApiSelection(apis=(api,), modules=(), tags=(), all_=False)
    await store.gates.check_owner([api])
    for _ in range(ATTEMPTS):
        changes = await store.gates.changes()
        await _resolve(store, selection, enabled=enabled)
        await _check_version(store, api, version)
        changed = await store.gates.set_enabled(
            [api],
            enabled,
            author=author,
            reason=reason,
            ttl_s=ttl_s,
            hold=hold,
            rate=rate,
            expected=changes,
        )
        if changed is not None:
            gate = (await store.gates.states()).get(api)
            return {**state_json(api, gate), "change": _switched_json(changed[0], gate)}
    raise _busy()


async def clear_override(
    store: Store, api: str, *, rate: float | None = None, version: str | None = None
) -> dict[str, Any]:
    """End the override of the gate of one API, if it has one, and return its state.

    `rate`, `version`: as in `set_override`. Raises NotFound if there is no such API, Foreign if another
    project owns it, Stale if its state has another version.
    """
    await store.gates.check_owner([api])
    for _ in range(ATTEMPTS):
        changes = await store.gates.changes()
        _, revision = await live_revision(store)
        find_api(revision, api)
        await _check_version(store, api, version)
        if await store.gates.clear_overrides([api], rate=rate, expected=changes):
            return state_json(api, (await store.gates.states()).get(api))
    raise _busy()


async def _check_version(store: Store, api: str, version: str | None) -> None:
    """Raise Stale if the gate of an API has another version than the expected one."""
    if version is None:
        return
    state = state_json(api, (await store.gates.states()).get(api))
    if version_of(state) != version:
        by = state["override"] or state["switched"]
        who = f" by {by['author']}" if by else ""
        raise Stale(
            f"{api} was switched{who} since you have read it: it is "
            f"{state_of(enabled=state['enabled'], held=state['held'])}",
            code=STALE,
            hint="read it again, and repeat the change if it is still right",
        )


def _busy() -> Refused:
    return Refused(
        f"the live revision or a switch changed {ATTEMPTS} times meanwhile: nothing was switched",
        code=MOVED,
        hint="repeat the command",
    )


def describe_changes(changes: Sequence[Mapping[str, Any]]) -> str:
    """Return the changes of gates by `switch` as one line for the activity: `2 enabled → disabled`."""
    counts = Counter(f"{each['before']} → {each['after']}" for each in changes)
    if len(changes) == 1:
        return next(iter(counts))
    return ", ".join(f"{number} {text}" for text, number in counts.items())


async def list_overrides(store: Store) -> dict[str, Any]:
    """Return the current overrides of gates as JSON, with their APIs."""
    found = await store.gates.overrides()
    return {"overrides": [{"api": api, **override_json(each)} for api, each in sorted(found.items())]}


async def clear_overrides(
    store: Store, apis: Sequence[str] | None, *, rate: float | None = None
) -> dict[str, Any]:
    """End the overrides of gates, so that the state in git applies again; None: those of all APIs.

    `rate`: as in `switch`. Raises NotFound if there is no such API, Foreign if another project owns one.
    """
    found = await store.gates.overrides()
    if apis is not None:
        await store.gates.check_owner(apis)
        _, revision = await live_revision(store)
        for api in apis:
            find_api(revision, api)
    chosen = sorted(found) if apis is None else [api for api in dict.fromkeys(apis) if api in found]
    await store.gates.clear_overrides(chosen, rate=rate)
    return {"cleared": chosen}
