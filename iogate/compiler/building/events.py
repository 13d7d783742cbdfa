"""Tasks that live by events and other runs: `listen`, `emit`, `run: workflow`; and `schedule.on`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, cast

from iogate.compiler.tasks import Child, Correlation, Emit, Filter, Iterator, Listen, Strategy
from iogate.expressions.templates import whole

if TYPE_CHECKING:
    from iogate.compiler.building.builder import Builder

_EMPTY: Mapping[str, Any] = {}


def emit(builder: Builder, source: Mapping[str, Any]) -> Emit:
    return Emit(builder.value(source["event"]["with"]))


def child(builder: Builder, run: Mapping[str, Any]) -> Child:
    """The workflow of `run: workflow`."""
    source = run["workflow"]
    return Child(
        namespace=source["namespace"],
        name=source["name"],
        version=source["version"],
        input=builder.value(source.get("input") or {}),
        awaits=run.get("await") is not False,
    )


def listen(builder: Builder, pointer: str, definition: Mapping[str, Any]) -> Listen:
    source, each = definition["listen"], definition.get("foreach")
    return Listen(
        to=strategy(builder, source["to"]),
        read=_read(source.get("read"), "data"),
        each=None if each is None else _iterator(builder, pointer, each),
    )


def trigger(builder: Builder, schedule: Mapping[str, Any]) -> Listen:
    """What `schedule.on` waits for: time and again, each time a run of the workflow is started."""
    head = builder.definition["document"]
    started = Child(
        namespace=head["namespace"],
        name=head["name"],
        version=str(head["version"]),
        input=builder.expression("."),
        awaits=False,
    )
    # The standard's default is `data`, but all its examples read `[0].data`.
    read = _read(schedule.get("read"), "envelope")
    return Listen(to=strategy(builder, schedule["on"]), read=read, starts=started)


def strategy(builder: Builder, source: Mapping[str, Any]) -> Strategy:
    until = source.get("until")
    if "one" in source:
        return Strategy("one", (_filter(builder, source["one"]),))
    if "all" in source:
        return Strategy("all", tuple(_filter(builder, each) for each in source["all"]))
    return Strategy(
        "any",
        tuple(_filter(builder, each) for each in source["any"]),
        until=builder.expression(until) if isinstance(until, str) else None,
        stop=strategy(builder, until) if isinstance(until, Mapping) else None,
    )


def _filter(builder: Builder, source: Mapping[str, Any]) -> Filter:
    return Filter(
        attributes={name: builder.pattern(value) for name, value in source["with"].items()},
        correlations=tuple(
            Correlation(
                name=name,
                source=builder.expression(each["from"]),
                text=(whole(each["from"]) or each["from"]).strip(),
                expect=builder.optional_value(each.get("expect")),
            )
            for name, each in (source.get("correlate") or _EMPTY).items()
        ),
    )


def _iterator(builder: Builder, pointer: str, source: Mapping[str, Any]) -> Iterator:
    return Iterator(
        item=source.get("item") or "item",
        at=source.get("at") or "index",
        tasks=builder.list(f"{pointer}/foreach/do", source["do"]) if source.get("do") else None,
        flow=builder.flow(source),
    )


def _read(source: Any, default: Literal["data", "envelope"]) -> Literal["data", "envelope", "raw"]:
    return cast("Literal['data', 'envelope', 'raw']", source or default)
