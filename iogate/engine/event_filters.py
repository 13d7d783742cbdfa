"""Matching of events with the filters of a listening task, and its correlation state.

Used by `listen` and `schedule_on`. Filters are numbered: those of the strategy, then those of the one in
`until`. The correlation state is called terms and is JSON in a frame:

    keys     a list with, for each filter, the values that its correlations expect, by their names
    filled   the filters of `all` that have their event
    asks     text of the page of each link whose event a filter names, by the type of the event

Invariant: the match depends on terms and event only. An event that makes the expression of a filter fail
does not match: an unrelated event must not fault a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from iogate.compiler.tasks import Filter, Listen, Strategy
from iogate.engine.event_prefilter import matches_text, same_key
from iogate.engine.expression_scope import Scope
from iogate.errors import ERROR_TYPES, WorkflowError
from iogate.expressions import Template
from iogate.expressions.templates import Literal
from iogate.json_values import is_same, to_text
from iogate.security.one_time_links import EVENT

Terms = Mapping[str, Any]

_EVERY: Mapping[str, Any] = {"match": {}, "correlate": []}


@dataclass(frozen=True, slots=True)
class Match:
    """Result of matching an event with a filter."""

    terms: Terms
    """The terms after this event; the same object if nothing changed."""
    ends: bool
    """True if the filter is one of `until`: the event is not an item."""
    enough: bool
    """True if the filters need no more events."""


def initial_terms(body: Listen, arguments: Scope) -> Terms:
    """Return the terms of the filters of a new subscription; `expect` is evaluated once, on the input."""
    keys: list[dict[str, Any]] = []
    for one in _filters(body):
        known = {} if one is None else {each.name: each.expect for each in one.correlations if each.expect}
        keys.append({name: each.evaluate(arguments.input, arguments) for name, each in known.items()})
    terms = {"keys": _shared(body, keys, keys), "filled": []}
    asks = _asks(body, arguments)
    return {**terms, "asks": asks} if asks else terms


def is_satisfied_initially(body: Listen, terms: Terms) -> bool:
    """Tell whether the event filters of a task need no event: `all` of no filters."""
    return _enough(body, terms, None)


def match(body: Listen, terms: Terms, event: Mapping[str, Any], arguments: Scope) -> Match | None:
    """Match an event with a listening task's filters, those of `until` first; return None if none matches.

    Raises WorkflowError if the cause is not the event but the run, such as a missing secret.
    """
    filters, own = _filters(body), _own(body)
    for index in (*range(own, len(filters)), *range(own)):
        if index in terms["filled"]:
            continue
        one = filters[index]
        found = {} if one is None else _keys_of(one, terms["keys"][index], event, arguments)
        if found is not None:
            terms = _agreed(body, terms, index, found)
            return Match(terms, ends=index >= own, enough=_enough(body, terms, index))
    return None


def subscription(body: Listen, terms: Terms) -> list[Mapping[str, Any]]:
    """Return the conditions, checkable without the run, of each event filter that has no event yet."""
    return [
        _EVERY if one is None else _want(one, terms["keys"][index], terms.get("asks"))
        for index, one in enumerate(_filters(body))
        if index not in terms["filled"]
    ]


def common_keys(terms: Terms) -> dict[str, Any]:
    """Return the correlation keys that the events of filters have in common, by their names."""
    return {name: value for known in terms["keys"] for name, value in known.items()}


def _asks(body: Listen, arguments: Scope) -> dict[str, str]:
    """Return the descriptions of the links that the event filters of a task wait for, by type of event."""
    links = arguments.program.links
    asks: dict[str, str] = {}
    for one in _filters(body) if links else ():
        kind = None if one is None else one.attributes.get("type")
        named = str(kind.value) if isinstance(kind, Literal) else ""
        link = links.get(named.removeprefix(EVENT)) if named.startswith(EVENT) else None
        if link is not None and link.description is not None:
            asks[named] = to_text(link.description.evaluate(arguments.input, arguments))
    return asks


def _want(one: Filter, known: Mapping[str, Any], asks: Mapping[str, str] | None) -> Mapping[str, Any]:
    wanted = _condition(one, known)
    text = asks.get(wanted["match"].get("type", "")) if asks else None
    return wanted if text is None else {**wanted, "asks": text}


def _condition(one: Filter, known: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "match": {
            name: wanted.value
            for name, wanted in one.attributes.items()
            if name != "data" and isinstance(wanted, Literal) and isinstance(wanted.value, str)
        },
        "correlate": [
            [each.text, known[each.name]] for each in one.correlations if known.get(each.name) is not None
        ],
    }


def _strategy(strategy: Strategy | None) -> tuple[Filter | None, ...]:
    """Return the event filters of a strategy; None is that of `any: []`, which matches every event."""
    if strategy is None:
        return ()
    return strategy.filters or ((None,) if strategy.mode == "any" else ())


def _filters(body: Listen) -> tuple[Filter | None, ...]:
    return (*_strategy(body.to), *_strategy(body.to.stop))


def _own(body: Listen) -> int:
    """Return the number of event filters of the strategy itself; the filters after them are of `until`."""
    return len(_strategy(body.to))


def _enough(body: Listen, terms: Terms, index: int | None) -> bool:
    strategy, first = body.to, 0
    if strategy.stop is not None:
        strategy, first = strategy.stop, _own(body)
    elif strategy.until is not None:
        return False
    if strategy.mode == "all":
        return all(first + place in terms["filled"] for place in range(len(strategy.filters)))
    return index is not None and index >= first


def _agreed(body: Listen, terms: Terms, index: int, found: Mapping[str, Any]) -> Terms:
    strategy = body.to if index < _own(body) else body.to.stop
    assert strategy is not None
    filled = [*terms["filled"], index] if strategy.mode == "all" else terms["filled"]
    keys = _shared(body, terms["keys"], [found]) if found else terms["keys"]
    same = filled == terms["filled"] and keys == terms["keys"]
    return terms if same else {**terms, "keys": keys, "filled": filled}


def _shared(
    body: Listen, keys: list[dict[str, Any]], found: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Merge correlation keys of event filters: keys of one name are shared unless they expect another."""
    common: dict[str, Any] = {}
    for each in found:
        for name, value in each.items():
            common.setdefault(name, value)
    made: list[dict[str, Any]] = []
    for one, known in zip(_filters(body), keys, strict=True):
        names = () if one is None else [each.name for each in one.correlations if each.name in common]
        made.append({**{name: common[name] for name in names}, **known})
    return made


def _keys_of(
    one: Filter, expected: Mapping[str, Any], event: Mapping[str, Any], arguments: Scope
) -> dict[str, Any] | None:
    """Return the correlation keys of an event that the filter matches; None if it does not match."""
    try:
        for name, wanted in one.attributes.items():
            if event.get(name) is None or not _matches(name, wanted, event[name], arguments):
                return None
        keys: dict[str, Any] = {}
        for each in one.correlations:
            found = each.source.evaluate(event, arguments)
            if not same_key(expected.get(each.name, found), found):
                return None
            keys[each.name] = found
    except WorkflowError as error:
        if error.type == f"{ERROR_TYPES}expression":
            return None
        raise
    except RecursionError:  # nested as deep as JSON can be
        return None
    return keys


def _matches(name: str, wanted: Template, value: Any, arguments: Scope) -> bool:
    """Tell whether an event's attribute passes a filter: text or a pattern, a condition, or equal data."""
    constant = isinstance(wanted, Literal)
    result = wanted.value if isinstance(wanted, Literal) else wanted.evaluate(value, arguments)
    if constant and isinstance(result, str):
        return matches_text(result, value)
    if not constant and isinstance(result, bool):
        return result
    # In binary mode every attribute is text: 3 equals "3", as for correlations.
    return _includes(result, value) if name == "data" else same_key(result, value)


def _includes(wanted: Any, value: Any) -> bool:
    """Tell whether event data passes a filter of data; of objects only its members are compared."""
    if isinstance(wanted, Mapping):
        return isinstance(value, Mapping) and all(
            name in value and _includes(member, value[name]) for name, member in wanted.items()
        )
    if _is_number(wanted) and _is_number(value):
        return bool(wanted == value)
    return is_same(wanted, value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
