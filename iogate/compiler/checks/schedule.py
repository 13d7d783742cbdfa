"""Check of schedules: the cron text and time zone are known, the interval has a length."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

import jsonschema_rs

from iogate.compiler import schedules
from iogate.compiler.checked_definition import Definition
from iogate.compiler.checks.schemas import first_error
from iogate.compiler.diagnostics import CheckContext, Document, did_you_mean, problem_at, warning_at
from iogate.documents.problems import Problem
from iogate.json_values import JsonObject
from iogate.messages import listed, nearest, quoted
from iogate.timing import crontab
from iogate.timing.durations import format_duration, read_duration

_KINDS = get_args(schedules.Kind)
_MISSED = get_args(schedules.Missed)
_METADATA = ("document", "metadata", "iogate")


def check(definition: Definition, context: CheckContext) -> Iterator[Problem]:
    document = definition.document
    given = document.data.get("schedule")
    settings = schedules.settings_of(document.data).get("schedule") or {}
    if given is None:
        if settings:
            message = "the settings of a schedule have no effect: this workflow has no schedule"
            yield problem_at(document, (*_METADATA, "schedule"), "IOG348", message, key=True)
        return
    kinds = [kind for kind in _KINDS if given.get(kind) is not None]
    if len(kinds) != 1:
        has = f"this one has {' and '.join(kinds)}" if kinds else "this one has none of them"
        message = f"a schedule has one of every, cron, after or on; {has}"
        yield problem_at(document, ("schedule",), "IOG334", message, key=True)
        return
    yield from _length(document, kinds[0], given[kinds[0]])
    yield from _missed(document)
    yield from _ticks(document, kinds[0], given[kinds[0]], settings)
    zone, faults = _zone(document)
    yield from faults
    if kinds == ["cron"] and not faults:
        try:
            crontab.Cron(given["cron"], zone)
        except crontab.InvalidCron as invalid:
            yield problem_at(document, ("schedule", "cron"), "IOG330", str(invalid))
    if context.purpose == "run":
        return  # once, here and now, with the input that is given
    if kinds != ["on"]:
        yield from _input(definition)
    if "timeout" not in document.data:
        message = "the runs of this schedule may last for ever"
        yield warning_at(
            document, ("schedule",), "IOG502", message, key=True, hint="add timeout: {after: PT5M}"
        )


def _length(document: Document, kind: str, value: object) -> Iterator[Problem]:
    if kind not in ("every", "after"):
        return
    pointer = ("schedule", kind)
    if isinstance(value, str) and "${" in value:
        message = f'"{kind}" of a schedule is no expression: there is no run yet that has data'
        yield problem_at(document, pointer, "IOG331", message)
    elif schedules.is_endless(value):
        message = f'"{kind}" of a schedule is longer than every calendar, which ends in 9999'
        yield problem_at(document, pointer, "IOG331", message)
    elif kind == "every" and schedules.is_zero(value):
        yield problem_at(document, pointer, "IOG331", '"every" of a schedule is longer than nothing')


def _missed(document: Document) -> Iterator[Problem]:
    policy = schedules.settings_of(document.data).get("missed", "once")
    if policy in _MISSED and isinstance(policy, str):
        return
    message = f"no policy {quoted(str(policy))} for missed ticks; there is {listed(_MISSED)}"
    hint = did_you_mean(nearest(str(policy), _MISSED))
    yield problem_at(document, (*_METADATA, "missed"), "IOG333", message, hint=hint)


def _ticks(document: Document, kind: str, value: object, settings: JsonObject) -> Iterator[Problem]:
    """Report an overlap of runs of a schedule that never overlap, and a jitter that reorders its ticks."""
    pointer = (*_METADATA, "schedule")
    for key in settings:
        if kind in ("after", "on"):
            why = "its runs follow one another" if kind == "after" else "events start its runs, and no ticks"
            message = f'"{key}" needs a schedule with every or cron; this one has {kind}: {why}'
            yield problem_at(document, (*pointer, key), "IOG348", message, key=True, hint="remove it")
    jitter = settings.get("jitter")
    if jitter is None or kind in ("after", "on"):
        return
    if (isinstance(jitter, str) and "${" in jitter) or schedules.is_endless(jitter):
        message = '"jitter" must be a duration such as PT30S: there is no run yet that has data'
        yield problem_at(document, (*pointer, "jitter"), "IOG349", message)
    elif kind == "every" and not schedules.is_endless(value) and not schedules.is_zero(value):
        longest, interval = (read_duration(each).after_ms(0) for each in (jitter, value))
        if longest >= interval:
            message = f'"jitter" must be shorter than the interval, {format_duration(read_duration(value))}'
            yield problem_at(document, (*pointer, "jitter"), "IOG349", message)


def _zone(document: Document) -> tuple[str, list[Problem]]:
    pointer, name = schedules.zone_of(document.data)
    try:
        crontab.zone(name if isinstance(name, str) else str(name))
    except crontab.UnknownZone as unknown:
        return "UTC", [problem_at(document, pointer, "IOG332", str(unknown))]
    return str(name), []


def _input(definition: Definition) -> Iterator[Problem]:
    """Report required inputs of a scheduled workflow: a tick has no input."""
    accepted = definition.program.flow.input_schema
    schema = None if accepted is None else accepted.document
    if not isinstance(schema, dict) or first_error(schema) is not None:
        return
    refused = next(iter(jsonschema_rs.validator_for(schema, validate_formats=True).iter_errors({})), None)
    if refused is not None:
        yield warning_at(
            definition.document,
            ("input", "schema"),
            "IOG510",
            f"each tick starts the workflow with {{}}, and its schema refuses that: {refused.message}",
            key=True,
        )


def replaced(document: Document, name: str, newest: str) -> Iterator[Problem]:
    """Warn that a schedule has no effect: another version of its workflow is the scheduled one."""
    if document.data.get("schedule") and name != newest:
        message = f"this schedule has no effect: {newest} is the version that is scheduled, if it says so"
        yield warning_at(document, ("schedule",), "IOG511", message, key=True)
