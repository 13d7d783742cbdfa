"""Check of expressions: they compile and name only variables of their scope."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from iogate import expressions as language
from iogate.compiler import outline
from iogate.compiler.faults import Placed, Surroundings, did_you_mean, fault
from iogate.compiler.outline import Pointer
from iogate.compiler.stages import BEFORE, EXPORT, INSIDE, WORKFLOW_INPUT, WORKFLOW_OUTPUT
from iogate.documents.problems import Problem, nearest
from iogate.expressions.templates import whole

_LONGEST_EXAMPLE = 60
_NO_FUNCTION = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)/(\d+) is not defined")
_UNKNOWN = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*) is not defined")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An expression without its `${ }`."""

    pointer: Pointer
    text: str
    variables: frozenset[str]
    inside: str = ""
    """The whole string where the expression is only a part of it."""


def check(document: Placed, surroundings: Surroundings) -> Iterator[Problem]:
    del surroundings
    if (document.data.get("evaluate") or {}).get("language", "jq") != "jq" or is_loose(document.data):
        return  # not ours to judge; in mode `loose` what does not compile is text
    unclosed = dict(_unclosed(document.data))
    for found in expressions(document.data):
        why = _verdict(found.text, found.variables)
        if why is not None and found.pointer not in unclosed:
            yield fault(
                document,
                found.pointer,
                "IOG314",
                f"the expression does not compile: {why}",
                hint=_hint(found, why),
            )
    for pointer, text in unclosed.items():
        yield fault(
            document,
            pointer,
            "IOG314",
            'the expression does not compile: "${" is never closed by "}"',
            hint=f"{text!r} would be plain text" if len(text) <= 40 else "",
        )


@lru_cache(maxsize=8192)
def _verdict(text: str, variables: frozenset[str]) -> str | None:
    # Compiling in jq costs milliseconds; `up --watch` judges the same texts at every change.
    return language.check(text, variables)


def expressions(definition: Mapping[str, Any]) -> Iterator[Found]:
    """Every expression of the definition, in typed properties also without `${ }`."""
    for pointer, value, typed, variables in _places(definition):
        yield from _within(pointer, value, variables, typed=typed)


def literals(definition: Mapping[str, Any]) -> Iterator[tuple[Pointer, str, frozenset[str]]]:
    """Yield each string without an expression where one may stand, and the variables that it may name."""
    for pointer, value, typed, variables in _places(definition):
        for place, text in _strings(pointer, value):
            evaluated = typed and place == pointer
            if not evaluated and whole(text) is None and not language.embedded(text):
                yield place, text, variables


def _hint(found: Found, why: str) -> str:
    if found.pointer[-2:] == ("shell", "command"):
        return "a shell variable without braces, $NAME, is left to the shell"
    if found.text.startswith("{") and found.text.rstrip().endswith("}"):
        inner = found.text.strip()[1:-1].strip()
        example = inner if language.compiles(inner) and len(inner) <= _LONGEST_EXAMPLE else ".name"
        return f"an expression is jq in single braces: write ${{ {example} }}"
    if unknown := _UNKNOWN.match(why):
        near = nearest(unknown[1], found.variables)
        return did_you_mean(f"${near}" if near else None)
    if function := _NO_FUNCTION.match(why):
        known = language.functions()
        fitting = [name for name, arity in known if arity == int(function[2])]
        return did_you_mean(
            nearest(function[1], fitting) or nearest(function[1], [name for name, _ in known])
        )
    return ""


def _within(
    pointer: Pointer, value: Any, variables: frozenset[str], *, typed: bool = False
) -> Iterator[Found]:
    match value:
        case str():
            inner = whole(value)
            if inner is not None:
                yield Found(pointer=pointer, text=inner, variables=variables)
            elif typed:
                yield Found(pointer=pointer, text=value, variables=variables)
            else:
                for text in language.embedded(value):
                    yield Found(pointer=pointer, text=text, variables=variables, inside=value)
        case Mapping():
            for name, member in value.items():
                yield from _within((*pointer, name), member, variables)
        case list():
            for index, element in enumerate(value):
                yield from _within((*pointer, index), element, variables)


def _unclosed(definition: Mapping[str, Any]) -> Iterator[tuple[Pointer, str]]:
    for pointer, value, _, _ in _places(definition):
        for place, text in _strings(pointer, value):
            if text.lstrip().startswith("${") and whole(text) is None and not language.embedded(text):
                yield place, text


def _strings(pointer: Pointer, value: Any) -> Iterator[tuple[Pointer, str]]:
    match value:
        case str():
            yield pointer, value
        case Mapping():
            for name, member in value.items():
                yield from _strings((*pointer, name), member)
        case list():
            for index, element in enumerate(value):
                yield from _strings((*pointer, index), element)


_Place = tuple[Pointer, Any, bool, frozenset[str]]
"""Pointer, value, whether a string there is an expression by its type, and what it may name."""


def _places(definition: Mapping[str, Any]) -> Iterator[_Place]:
    yield from _flows((), definition, WORKFLOW_INPUT, WORKFLOW_OUTPUT, EXPORT)
    for name, error in ((definition.get("use") or {}).get("errors") or {}).items():
        yield ("use", "errors", name), error, False, INSIDE
    for name, policy in ((definition.get("use") or {}).get("authentications") or {}).items():
        yield ("use", "authentications", name), policy, False, INSIDE
    for name, retry in ((definition.get("use") or {}).get("retries") or {}).items():
        yield from _of_retry(("use", "retries", name), retry, INSIDE | {"error"})
    for name, timeout in ((definition.get("use") or {}).get("timeouts") or {}).items():
        yield ("use", "timeouts", name), timeout, False, INSIDE
    for index, entry in enumerate((definition.get("use") or {}).get("extensions") or ()):
        for name, extension in entry.items():
            if "when" in extension:
                yield ("use", "extensions", index, name, "when"), extension["when"], True, BEFORE
    if isinstance(definition.get("timeout"), Mapping):
        yield ("timeout",), definition["timeout"], False, WORKFLOW_INPUT
    if isinstance((definition.get("schedule") or {}).get("on"), Mapping):
        yield from _of_events(("schedule", "on"), definition["schedule"]["on"], INSIDE)
    for task in outline.tasks(definition):
        yield from _of_task(task)


def _flows(
    pointer: Pointer,
    holder: Mapping[str, Any],
    before: frozenset[str],
    after: frozenset[str],
    export: frozenset[str],
) -> Iterator[_Place]:
    for flow, key, known in (("input", "from", before), ("output", "as", after), ("export", "as", export)):
        value = holder.get(flow)
        if isinstance(value, Mapping) and key in value:
            yield (*pointer, flow, key), value[key], True, known


def _of_task(task: outline.Task) -> Iterator[_Place]:
    data, at, known = task.data, task.pointer, task.variables | INSIDE
    yield from _flows(at, data, task.variables | BEFORE, known, task.variables | EXPORT)
    if "if" in data:
        yield (*at, "if"), data["if"], True, task.variables | BEFORE
    if isinstance(data.get("timeout"), Mapping):
        yield (*at, "timeout"), data["timeout"], False, known
    match task.kind:
        case "call":
            for key, value in (data.get("with") or {}).items():
                # A subscription holds tasks, and they are visited on their own.
                if key != "subscription":
                    yield (*at, "with", key), value, False, known
        case "set":
            yield (*at, "set"), data["set"], True, known
        case "for":
            yield (*at, "for", "in"), data["for"].get("in"), True, known
            if "while" in data:
                yield (*at, "while"), data["while"], True, known | outline.loop_variables(data)
        case "switch":
            for index, item in enumerate(data["switch"]):
                for name, case in item.items():
                    if "when" in case:
                        yield (*at, "switch", index, name, "when"), case["when"], True, known
        case "raise":
            yield (*at, "raise", "error"), data["raise"].get("error"), False, known
        case "wait":
            yield (*at, "wait"), data["wait"], False, known
        case "emit":
            yield (*at, "emit"), data["emit"], False, known
        case "run":
            yield from _of_run(data["run"], at, known)
        case "try":
            catch = data.get("catch") or {}
            inside = known | {outline.caught(data)}
            yield from _conditions((*at, "catch"), catch, inside)
            if isinstance(catch.get("retry"), Mapping):
                yield from _of_retry((*at, "catch", "retry"), catch["retry"], inside)
        case "listen":
            yield from _of_events((*at, "listen", "to"), data["listen"].get("to") or {}, known)
            each, names = data.get("foreach") or {}, outline.item_variables(data.get("foreach") or {})
            yield from _flows((*at, "foreach"), each, known, known | names, names | task.variables | EXPORT)
        case _:
            pass


def _conditions(at: Pointer, holder: Mapping[str, Any], known: frozenset[str]) -> Iterator[_Place]:
    for key in ("when", "exceptWhen"):
        if key in holder:
            yield (*at, key), holder[key], True, known


def _of_retry(at: Pointer, retry: Mapping[str, Any], known: frozenset[str]) -> Iterator[_Place]:
    yield from _conditions(at, retry, known)
    for key in ("delay", "backoff", "limit", "jitter"):
        if key in retry:
            yield (*at, key), retry[key], False, known


def _of_events(at: Pointer, strategy: Mapping[str, Any], known: frozenset[str]) -> Iterator[_Place]:
    filters: list[tuple[Pointer, Mapping[str, Any]]] = []
    for key, value in strategy.items():
        match key, value:
            case (("all" | "any"), list()):
                filters += [((*at, key, index), one) for index, one in enumerate(value)]
            case "one", Mapping():
                filters.append(((*at, key), value))
            case "until", str():
                yield (*at, key), value, True, known
            case "until", Mapping():
                yield from _of_events((*at, key), value, known)
    for place, one in filters:
        yield (*place, "with"), one.get("with"), False, known
        for name, correlation in (one.get("correlate") or {}).items():
            for key in ("from", "expect"):
                if key in correlation:
                    yield (*place, "correlate", name, key), correlation[key], key == "from", known


def _of_run(run: Mapping[str, Any], at: Pointer, known: frozenset[str]) -> Iterator[_Place]:
    for kind in ("script", "shell", "container", "workflow"):
        process = run.get(kind)
        if isinstance(process, Mapping):
            for key, value in process.items():
                # A script's text is in its own language: `${…}` there is not ours.
                if key not in ("code", "source"):
                    yield (*at, "run", kind, key), value, False, known


def is_loose(definition: Mapping[str, Any]) -> bool:
    """Whether every string of the definition may be an expression: `evaluate.mode: loose`."""
    return (definition.get("evaluate") or {}).get("mode") == "loose"


def holds_expression(value: Any, *, loose: bool = False) -> bool:
    """Tell whether evaluating `value` may give something other than itself."""
    places = _strings((), value) if loose else _within((), value, frozenset())
    return any(True for _ in places)
