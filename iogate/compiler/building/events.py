"""Tasks that live by events and other runs: `listen`, `emit`, `run: workflow`; and `schedule.on`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

from iogate.compiler.building.draft import Draft
from iogate.compiler.tasks import Child, Correlation, Emit, Filter, Iterator, Listen, Strategy
from iogate.expressions.templates import whole

_EMPTY: Mapping[str, Any] = {}


def emit(draft: Draft, source: Mapping[str, Any]) -> Emit:
    return Emit(draft.value(source["event"].get("with") or {}))


def child(draft: Draft, run: Mapping[str, Any]) -> Child:
    """The workflow of `run: workflow`."""
    source = run["workflow"]
    return Child(
        namespace=source["namespace"],
        name=source["name"],
        version=source["version"],
        input=draft.value(source.get("input") or {}),
        awaits=run.get("await") is not False,
    )


def listen(draft: Draft, pointer: str, definition: Mapping[str, Any]) -> Listen:
    source, each = definition["listen"], definition.get("foreach")
    return Listen(
        to=strategy(draft, source["to"]),
        read=_read(source.get("read"), "data"),
        each=None if each is None else _iterator(draft, pointer, each),
    )


def trigger(draft: Draft, schedule: Mapping[str, Any]) -> Listen:
    """Return the listening task of `schedule.on`, which starts a run at each match."""
    head = draft.definition["document"]
    started = Child(
        namespace=head["namespace"],
        name=head["name"],
        version=str(head["version"]),
        input=draft.expression("."),
        awaits=False,
    )
    # The standard's default is `data`, but all its examples read `[0].data`.
    read = _read(schedule.get("read"), "envelope")
    return Listen(to=strategy(draft, schedule["on"]), read=read, starts=started)


def strategy(draft: Draft, source: Mapping[str, Any]) -> Strategy:
    until = source.get("until")
    if "one" in source:
        return Strategy("one", (_filter(draft, source["one"]),))
    if "all" in source:
        return Strategy("all", tuple(_filter(draft, each) for each in source["all"]))
    return Strategy(
        "any",
        tuple(_filter(draft, each) for each in source["any"]),
        until=draft.expression(until) if isinstance(until, str) else None,
        stop=strategy(draft, until) if isinstance(until, Mapping) else None,
    )


def _filter(draft: Draft, source: Mapping[str, Any]) -> Filter:
    return Filter(
        attributes={name: draft.pattern(value) for name, value in source["with"].items()},
        correlations=tuple(
            Correlation(
                name=name,
                source=draft.expression(each["from"]),
                text=(whole(each["from"]) or each["from"]).strip(),
                expect=draft.optional_value(each.get("expect")),
            )
            for name, each in (source.get("correlate") or _EMPTY).items()
        ),
    )


def _iterator(draft: Draft, pointer: str, source: Mapping[str, Any]) -> Iterator:
    return Iterator(
        item=source.get("item") or "item",
        at=source.get("at") or "index",
        tasks=draft.list(f"{pointer}/foreach/do", source["do"]) if source.get("do") else None,
        flow=draft.flow(source),
    )


def _read(source: Any, default: Literal["data", "envelope"]) -> Literal["data", "envelope", "raw"]:
    return cast("Literal['data', 'envelope', 'raw']", source or default)
