"""Meanings of the changes of one API.

Called by plan. Pure. Invariant: every changed property has at least one meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from iogate import json_values
from iogate.compiler.revision import Api, Record
from iogate.reconcile.document_form import size_text
from iogate.reconcile.meanings import (
    allow_ips,
    attributes,
    auth,
    idempotency,
    input_files,
    run_ends,
    traffic,
)
from iogate.reconcile.meanings.change_kinds import Meaning
from iogate.reconcile.meanings.schemas import comparison
from iogate.reconcile.plan_facts import CaseVerdicts, Facts
from iogate.store.revisions.gate_states import Gate
from iogate.timing.durations import format_seconds

_PROSE: Final = ("description", "tags", "metadata")
"""Properties that only people read."""
_RECORDS: Final[tuple[Record, ...]] = ("none", "errors", "all")
"""Values of `record`, the one that keeps least first."""
_HANDLED: Final = frozenset(
    {
        "id",
        "description",
        "verbs",
        "path",
        "mode",
        "workflow",
        "program",
        "enabled",
        "auth",
        "allow_ips",
        "input_from",
        "input_schema",
        "files",
        "raw",
        "limits",
        "idempotency",
        "coalesce",
        "attributes",
        "timeout_s",
        "retention_s",
        "record",
        "examples",
        "callback",
        "on_fault",
        "protect",
        "tags",
        "metadata",
        "source",
    }
)


def added(api: Api, facts: Facts) -> Iterator[Meaning]:
    """Yield the meanings of a new API."""
    verbs = " and ".join(api.verbs)
    accepts = "enabled" if api.enabled else "disabled" if api.enabled is False else "disabled until enabled"
    if (owner := facts.foreign.get(api.id)) is not None:
        text = f"API belongs to project {owner}: the apply is refused"
        yield Meaning(kind="api.foreign", text=text)
    elif api.id in facts.deleted:
        text = "API was deleted before and returns disabled, until `iogate enable` enables it"
        yield Meaning(kind="api.returns", text=text)
    else:
        yield Meaning(kind="api.added", text=f"API added: {verbs} /v1/api/{api.id}/async, {accepts}")
    if (own := api.own_path) is not None:
        yield _path_added(*own, api, facts)


def removed(api: Api, facts: Facts) -> Iterator[Meaning]:
    """Yield the meanings of a deleted API."""
    yield Meaning(kind="api.removed", text="API removed: callers get a 404")
    if api.protect:
        yield Meaning(kind="protect.removed", text="API is protected: the deletion is refused")
    gate = facts.gates.get(api.id)
    if gate is not None and gate.queued + gate.running:
        count = gate.queued + gate.running
        text = f"{_runs(count)} accepted and not ended; "
        text += "those on hold stay so" if gate.held else "accepted runs continue"
        yield Meaning(kind="runs.pinned", text=text)


def changed(before: Api, after: Api, facts: Facts) -> Iterator[Meaning]:
    """Yield the meanings of the differences between two forms of an API."""
    for verb in after.verbs:
        if verb not in before.verbs:
            yield Meaning(kind="verb.added", text=f"{verb} added", pointer="/verbs")
    for verb in before.verbs:
        if verb not in after.verbs:
            yield Meaning(kind="verb.removed", text=f"{verb} removed", pointer="/verbs")
    yield from _path(before, after, facts)
    yield from auth.meanings(before.auth, after.auth)
    yield from allow_ips.meanings(before.allow_ips, after.allow_ips)
    if before.workflow != after.workflow:
        text = f"workflow changed ({before.workflow} → {after.workflow})"
        yield Meaning(kind="target.changed", text=text, pointer="/workflow")
    yield from _input(before, after, facts)
    yield from _limits(before, after)
    yield from traffic.meanings(before, after)
    yield from idempotency.meanings(before.idempotency, after.idempotency)
    yield from attributes.meanings(before.indexed, after.indexed)
    yield from _times(before, after, facts)
    yield from run_ends.meanings(before, after)
    yield from _enabled(before, after, facts)
    if before.protect != after.protect:
        word = "added" if after.protect else "removed"
        yield Meaning(kind=f"protect.{word}", text=f"protection {word}", pointer="/protect")
    if not json_values.is_equal(_examples(before), _examples(after)):
        yield Meaning(kind="api.changed", text="examples in the documentation changed", pointer="/debug")
    for name in _PROSE:
        if not json_values.is_equal(getattr(before, name), getattr(after, name)):
            yield Meaning(kind="api.changed", text=f"{name} changed", pointer=f"/{name}")
    for name in before.__struct_fields__:
        if name not in _HANDLED and getattr(before, name) != getattr(after, name):
            yield Meaning(kind="api.changed", text=f"{name} changed", pointer=f"/{name}")


def _examples(api: Api) -> Any:
    """Return the examples of an API as JSON values, in which true is not 1."""
    return msgspec.to_builtins(api.examples or ())


def _path_added(path: str, mode: str, api: Api, facts: Facts) -> Meaning:
    if (taken := facts.taken_paths.get(api.id)) is not None:
        text = f"path {path} is that of {taken.holder} of project {taken.project}: the apply is refused"
        return Meaning(kind="path.foreign", text=text, pointer="/path")
    return Meaning(kind="path.added", text=f"path {path} added ({mode})", pointer="/path")


def _path(before: Api, after: Api, facts: Facts) -> Iterator[Meaning]:
    old, new = before.own_path, after.own_path
    if old == new:
        return
    if new is None or old is None:
        if old is not None:
            text = f"path {old[0]} removed: its callers get a 404"
            yield Meaning(kind="path.removed", text=text, pointer="/path")
        if new is not None:
            yield _path_added(*new, after, facts)
        return
    if old[0] != new[0]:
        text = f"path moved ({old[0]} → {new[0]}): callers of the old one get a 404"
        yield Meaning(kind="path.moved", text=text, pointer="/path")
        if after.id in facts.taken_paths:
            yield _path_added(*new, after, facts)
    if old[1] != new[1]:
        text = f"mode of path {new[0]} changed ({old[1]} → {new[1]})"
        yield Meaning(kind="path.mode", text=text, pointer="/mode")


def _input(before: Api, after: Api, facts: Facts) -> Iterator[Meaning]:
    if before.input_from != after.input_from:
        text = f"input comes from the {after.input_from}, no longer from the {before.input_from}"
        yield Meaning(kind="input.from", text=text, pointer="/input/from")
    yield from input_files.meanings(before, after)
    old, new = before.input_schema, after.input_schema
    if json_values.is_equal(old, new):
        return
    if comparison.accepts_all(new) and not comparison.accepts_all(old):
        text = (
            "input schema removed: the gateway accepts every input"
            if new is None
            else "input schema has no constraint any more: the gateway accepts every input"
        )
        yield Meaning(kind="input.unchecked", text=text, pointer="/input/schema")
        return
    yield input_meaning(comparison.compare(old, new), facts.cases.get(after.id), "/input/schema")


def input_meaning(found: comparison.Comparison, cases: CaseVerdicts | None, pointer: str) -> Meaning:
    """Return the meaning of an API's changed input schema, with the debug cases that are now refused."""
    direction = found.direction
    if cases is not None and cases.failing:
        direction = "narrowed"
    if direction is None:
        text = "input schema accepts the same inputs: only annotations or the order of its parts changed"
        return Meaning(kind="input.widened", text=text, pointer=pointer)
    text = f"input schema {direction}"
    detail = found.details()
    if cases is not None and cases.failing:
        text += f": {len(cases.failing)} of {cases.total} debug cases are now refused"
        text += f" ({detail})" if detail else ""
    elif detail:
        text += f": {detail}"
    return Meaning(kind=f"input.{direction}", text=text, pointer=pointer)


def _limits(before: Api, after: Api) -> Iterator[Meaning]:
    yield from traffic.rate_meanings(before.limits, after.limits)
    shown: tuple[tuple[str, Callable[[Any], object]], ...] = (
        ("body", size_text),
        ("burst", str),
        ("queued", str),
        ("running", str),
    )
    for name, form in shown:
        old, new = getattr(before.limits, name), getattr(after.limits, name)
        if old != new:
            texts = (None if each is None else str(form(each)) for each in (old, new))
            raised = old is not None and new is not None and new > old
            yield traffic.limit_meaning(name, *texts, raised=raised)


def _times(before: Api, after: Api, facts: Facts) -> Iterator[Meaning]:
    if before.timeout_s != after.timeout_s:
        yield timeout_meaning(before.timeout_s, after.timeout_s)
    old_s, new_s = before.retention_s, after.retention_s
    if old_s < new_s:
        text = f"retention lengthened ({format_seconds(old_s)} → {format_seconds(new_s)}), of new runs"
        yield Meaning(kind="retention.lengthened", text=text, pointer="/retention")
    elif new_s < old_s:
        text = f"retention shortened ({format_seconds(old_s)} → {format_seconds(new_s)}), of new runs"
        aged = facts.aged.get(after.id)
        if aged is not None and aged.number:
            verb = "is" if aged.number == 1 else "are"
            kept = "keeps its" if aged.number == 1 else "keep their"
            text += f": {aged} finished {'run' if aged.number == 1 else 'runs'} {verb} older than that"
            text += f" and {kept} {format_seconds(old_s)}"
        yield Meaning(kind="retention.shortened", text=text, pointer="/retention")
    old, new = before.records, after.records
    if old != new:
        word = "extended" if _RECORDS.index(new) > _RECORDS.index(old) else "reduced"
        text = f"recording {word} ({old} → {new}), of new runs"
        yield Meaning(kind=f"record.{word}", text=text, pointer="/record")


def timeout_meaning(old_s: float | None, new_s: float | None, pointer: str = "/timeout") -> Meaning:
    """Return the meaning of an API's changed timeout of a run; None: no timeout."""
    if new_s is None:
        text = f"timeout removed (was {format_seconds(old_s or 0)}): a run may last indefinitely"
        return Meaning(kind="timeout.lengthened", text=text, pointer=pointer)
    if old_s is None:
        text = f"timeout added ({format_seconds(new_s)})"
        return Meaning(kind="timeout.shortened", text=text, pointer=pointer)
    word = "shortened" if new_s < old_s else "lengthened"
    text = f"timeout {word} ({format_seconds(old_s)} → {format_seconds(new_s)})"
    return Meaning(kind=f"timeout.{word}", text=text, pointer=pointer)


def _enabled(before: Api, after: Api, facts: Facts) -> Iterator[Meaning]:
    if before.enabled == after.enabled:
        return
    gate = facts.gates.get(after.id)
    override = gate.override if gate is not None else None
    if after.enabled is None:
        yield _released(gate)
        return
    was = before.enabled if before.enabled is not None else (gate.enabled if gate is not None else None)
    state = "enabled" if after.enabled else "disabled"
    keeps = ""
    if override is not None:
        keeps = f"; an override keeps it {override.state}"
    elif before.enabled is None and after.enabled and gate is not None and gate.switched and not gate.enabled:
        keeps = f"; it stays disabled, because {gate.switched.author} has disabled it"
    if before.enabled is None:
        taken = f"git takes over whether it is enabled: {state}"
        if was == after.enabled:
            yield Meaning(kind="enabled.git", text=f"{taken}, as it is now{keeps}", pointer="/enabled")
            return
        since = "" if was is None else f" (it is {'enabled' if was else 'disabled'} now)"
        text = f"{taken}{since}{keeps}"
    else:
        text = f"{state} by git{keeps}"
    kind = "enabled.on" if after.enabled else "enabled.off"
    yield Meaning(kind=kind, text=text, pointer="/enabled")


def _released(gate: Gate | None) -> Meaning:
    """Return the meaning of an API's `enabled` that git no longer has: the switch stays as it is."""
    text = "git no longer says whether it is enabled: `iogate enable` decides"
    if gate is not None:
        text += f", and it stays {gate.state}"
    return Meaning(kind="enabled.released", text=text, pointer="/enabled")


def _runs(count: int) -> str:
    return f"{count:,} {'run is' if count == 1 else 'runs are'}"
