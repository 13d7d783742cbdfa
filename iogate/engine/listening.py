"""`listen`: which events a task takes, what becomes of each, and when it has heard enough.

Called by `kinds` and `steps`. The frame of the task is the subscription, written when it starts and again
only when a filter has its event or a correlation its key; each event taken is a small frame below it:

    event ── a filter takes it ──► item ── foreach.do, output.as, export.as ──► item, done
                │ a filter of `until`                one at a time, in order of arrival
                ▼
              enough? ── no ──► goes on listening
                │ yes
                ▼
              items left are worked off ──► output: the array of what the items came to

Invariant: whether an event is taken depends on the frame and the event alone. An event that breaks the
expression of a filter is not for this task: a stranger's event must not fault a run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from iogate.compiler.tasks import Filter, Listen, Strategy, Task
from iogate.engine import children, raising
from iogate.engine.events import fits, same_key
from iogate.engine.scope import Scope, truthy
from iogate.engine.state import Frame, changed
from iogate.engine.walk import Fault, Walk
from iogate.errors import ERROR_TYPES, WorkflowError
from iogate.expressions.templates import Literal

_EVERY: Mapping[str, Any] = {"match": {}, "correlate": []}


def begin(walk: Walk, scope: Frame, task: Task, body: Listen, arguments: Scope) -> int | None:
    """Subscribe, from now on."""
    terms = {"keys": _expected(body, arguments), "filled": []}
    frame = walk.open(scope, arguments, phase="event", wants=_wants(body, terms), terms=terms)
    walk.note("workflow.correlation-started", task)
    walk.note("task.waiting", task)
    if _enough(body, terms):  # all of no filters
        return _hushed(walk, frame, task, body)
    return None


def arrived(walk: Walk, frame: Frame, task: Task, event: Mapping[str, Any]) -> int | None:
    """Take the event if a filter wants it; gives the scope to go on in.

    Raises Fault where what follows from it fails.
    """
    body = task.body
    assert isinstance(body, Listen)
    try:
        return _arrived(walk, frame, task, body, event)
    except WorkflowError as error:
        raise _fault(walk, frame, task, error) from None


def leave(walk: Walk, scope: Frame, frame: Frame, task: Task, body: Listen) -> int | None:
    """`foreach.do` is through with an item."""
    walk.tree.take(scope)
    item = next(each for each in _items(walk, frame) if each.turn == scope.turn)
    try:
        return _work(walk, frame, task, body, item, scope.value)
    except WorkflowError as error:
        raise _fault(walk, frame, task, error) from None


def _arrived(walk: Walk, frame: Frame, task: Task, body: Listen, event: Mapping[str, Any]) -> int | None:
    arguments = walk.arguments(walk.tree.parent(frame), task, frame)
    taken = _taken(body, frame.terms, event, arguments)
    if taken is None:
        return None
    index, keys = taken
    frame = _agree(walk, frame, body, index, keys)
    if index < _main(body):
        items = _items(walk, frame)
        item = Frame(
            id=walk.tree.next_id,
            parent=frame.id,
            kind="item",
            pointer=frame.pointer,
            phase="inside" if body.each is not None else "done",
            turn=len(items),
            value=_read(event, body.read),
        )
        walk.tree.add(item)
        if body.each is None and body.to.until is not None:
            values = [each.value for each in (*items, item)]
            if truthy(body.to.until.evaluate(values, arguments)):
                return _finish(walk, frame, task, body)
    if _enough(body, frame.terms, index):
        return _hushed(walk, frame, task, body)
    return _next(walk, frame, task, body)


def again(walk: Walk, frame: Frame, task: Task) -> None:
    """Subscribe anew: the subscription ended with the attempt that faulted."""
    assert isinstance(task.body, Listen)
    walk.tree.put(changed(frame, wants=_wants(task.body, frame.terms)))


# foreach


def _next(walk: Walk, frame: Frame, task: Task, body: Listen) -> int | None:
    """Let the next item have its turn, where none has it."""
    each = body.each
    if each is None or any(child.kind == "scope" for child in walk.tree.children(frame)):
        return None
    item = next((item for item in _items(walk, frame) if item.phase != "done"), None)
    if item is None:
        return None
    if each.tasks is None:
        return _work(walk, frame, task, body, item, item.value)
    variables = {each.item: item.value, each.at: item.turn}
    return walk.enter(frame, each.tasks.pointer, value=item.value, turn=item.turn, variables=variables)


def _work(walk: Walk, frame: Frame, task: Task, body: Listen, item: Frame, output: Any) -> int | None:
    """An item has its raw output: transform it, export, and see whether it was the last."""
    each = body.each
    assert each is not None
    scope = walk.tree.parent(frame)
    arguments = walk.arguments(scope, task, frame, {each.item: item.value, each.at: item.turn})
    output = walk.export(scope, each.flow, arguments, output)
    walk.tree.put(changed(item, phase="done", value=output))
    if body.to.until is not None:
        # the scope anew: what was exported may have replaced its context
        arguments = walk.arguments(walk.tree.parent(frame), task, frame)
        values = [each.value for each in _items(walk, frame) if each.phase == "done"]
        if truthy(body.to.until.evaluate(values, arguments)):
            return _finish(walk, frame, task, body)
    if frame.phase == "inside" and all(each.phase == "done" for each in _items(walk, frame)):
        return _finish(walk, frame, task, body)
    return _next(walk, frame, task, body)


# the end


def _hushed(walk: Walk, frame: Frame, task: Task, body: Listen) -> int | None:
    """Enough was heard: take no more, and end once the items are worked off."""
    if all(each.phase == "done" for each in _items(walk, frame)):
        return _finish(walk, frame, task, body)
    frame = changed(frame, phase="inside", wants=None)
    walk.tree.put(frame)
    return _next(walk, frame, task, body)


def _finish(walk: Walk, frame: Frame, task: Task, body: Listen) -> int | None:
    values = [each.value for each in _items(walk, frame) if each.phase == "done"]
    keys = {name: value for known in frame.terms["keys"] for name, value in known.items()}
    walk.note("workflow.correlation-completed", task, {"correlationKeys": keys} if keys else {})
    walk.cancelled(walk.tree.remove_below(frame))
    if body.starts is None:
        return walk.complete_frame(walk.tree.take(frame), task, values)
    scope = walk.tree.parent(frame)
    arguments = walk.arguments(scope, task, frame)
    terms = {"keys": _expected(body, arguments), "filled": []}
    walk.tree.put(changed(frame, terms=terms, wants=_wants(body, terms)))
    given = body.starts.input.evaluate(values, arguments)
    children.start(walk, scope, task, body.starts, given, walk.tree.reserve())
    return None


def _enough(body: Listen, terms: Mapping[str, Any], index: int | None = None) -> bool:
    """Tell whether nothing more is to be waited for, the event that filter `index` took included."""
    strategy, first = body.to, 0
    if strategy.stop is not None:
        strategy, first = strategy.stop, _main(body)
    elif strategy.until is not None:
        return False
    if strategy.mode == "all":
        return all(first + place in terms["filled"] for place in range(len(strategy.filters)))
    return index is not None and index >= first


def _fault(walk: Walk, frame: Frame, task: Task, error: WorkflowError) -> Fault:
    scope = walk.tree.parent(frame)
    walk.cancelled(walk.tree.remove_below(frame))
    walk.tree.take(frame)
    return Fault(scope.id, task, raising.placed(error, task, scope))


def _items(walk: Walk, frame: Frame) -> tuple[Frame, ...]:
    """What was taken so far, in order."""
    return tuple(each for each in walk.tree.children(frame) if each.kind == "item")


# filters, numbered: those of the strategy, then those of the one in `until`


def _filters(strategy: Strategy | None) -> tuple[Filter | None, ...]:
    """The filters of a strategy; None stands for that of `any: []`, which takes every event."""
    if strategy is None:
        return ()
    return strategy.filters or ((None,) if strategy.mode == "any" else ())


def _main(body: Listen) -> int:
    """How many filters are the strategy's own; those after them are of `until`."""
    return len(_filters(body.to))


def _all_filters(body: Listen) -> tuple[Filter | None, ...]:
    return (*_filters(body.to), *_filters(body.to.stop))


def _taken(
    body: Listen, terms: Mapping[str, Any], event: Mapping[str, Any], arguments: Scope
) -> tuple[int, dict[str, Any]] | None:
    """Find the filter that takes the event, and its correlation keys; those that end the waiting go first."""
    filters, main = _all_filters(body), _main(body)
    for index in (*range(main, len(filters)), *range(main)):
        if index in terms["filled"]:
            continue
        one = filters[index]
        keys = {} if one is None else _keys_of(one, terms["keys"][index], event, arguments)
        if keys is not None:
            return index, keys
    return None


def _keys_of(
    one: Filter, expected: Mapping[str, Any], event: Mapping[str, Any], arguments: Scope
) -> dict[str, Any] | None:
    """The correlation keys of an event that the filter takes; None where it does not."""
    try:
        for name, wanted in one.attributes.items():
            if event.get(name) is None or not _matches(wanted, event[name], arguments):
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
    return keys


def _matches(wanted: Any, value: Any, arguments: Scope) -> bool:
    """Tell whether an attribute fits: text as it is or as a pattern, a condition on it, or equal data."""
    if isinstance(wanted, Literal):
        if isinstance(wanted.value, str):
            return fits(wanted.value, value)
        return _includes(wanted.value, value)
    result = wanted.evaluate(value, arguments)
    return result if isinstance(result, bool) else _includes(result, value)


def _includes(wanted: Any, value: Any) -> bool:
    """Equality of JSON values; of objects only the members that are wanted count."""
    if isinstance(wanted, Mapping):
        return isinstance(value, Mapping) and all(
            name in value and _includes(member, value[name]) for name, member in wanted.items()
        )
    return json.dumps(wanted, sort_keys=True) == json.dumps(value, sort_keys=True)


def _expected(body: Listen, arguments: Scope) -> list[dict[str, Any]]:
    """The keys that correlations expect from the start, by filter."""
    keys: list[dict[str, Any]] = []
    for one in _all_filters(body):
        known = {} if one is None else {each.name: each.expect for each in one.correlations if each.expect}
        keys.append({name: each.evaluate(arguments.input, arguments) for name, each in known.items()})
    return _shared(body, keys, keys)


def _shared(
    body: Listen, keys: list[dict[str, Any]], found: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The keys with those that were found: correlations of one name have one, unless they expect another."""
    common: dict[str, Any] = {}
    for each in found:
        for name, value in each.items():
            common.setdefault(name, value)
    made: list[dict[str, Any]] = []
    for one, known in zip(_all_filters(body), keys, strict=True):
        names = () if one is None else [each.name for each in one.correlations if each.name in common]
        made.append({**{name: common[name] for name in names}, **known})
    return made


def _agree(walk: Walk, frame: Frame, body: Listen, index: int, found: Mapping[str, Any]) -> Frame:
    """Note what an event has settled: the filter that has it, and keys that none had before."""
    terms = frame.terms
    strategy = body.to if index < _main(body) else body.to.stop
    assert strategy is not None
    filled = [*terms["filled"], index] if strategy.mode == "all" else terms["filled"]
    keys = _shared(body, terms["keys"], [found])
    if filled == terms["filled"] and keys == terms["keys"]:
        return frame
    terms = {"keys": keys, "filled": filled}
    frame = changed(frame, terms=terms, wants=_wants(body, terms))
    walk.tree.put(frame)
    return frame


def _wants(body: Listen, terms: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The subscription: of each filter that has no event yet what can be told without the run."""
    return [
        _EVERY
        if one is None
        else {
            "match": {
                name: wanted.value
                for name, wanted in one.attributes.items()
                if name != "data" and isinstance(wanted, Literal) and isinstance(wanted.value, str)
            },
            "correlate": [
                [each.text, terms["keys"][index][each.name]]
                for each in one.correlations
                if each.name in terms["keys"][index]
            ],
        }
        for index, one in enumerate(_all_filters(body))
        if index not in terms["filled"]
    ]


def _read(event: Mapping[str, Any], how: str) -> Any:
    """The event as the task reads it.

    `raw` is the data as it travels: text, JSON or base64 where it is no text.
    """
    if how == "envelope":
        return event
    if "data_base64" in event:
        return event["data_base64"]
    data = event.get("data")
    if how == "data" or isinstance(data, str):
        return data
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))
