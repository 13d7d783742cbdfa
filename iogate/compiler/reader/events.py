"""Tasks that live by events and other runs: `listen`, `emit`, `run: workflow`; and `schedule.on`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, cast

from iogate.compiler.reader.data_flow import flow
from iogate.compiler.reader.index import Located, Place
from iogate.compiler.reader.reader import EMPTY, Reader
from iogate.compiler.tasks import Child, Correlation, Emit, Filter, Iterator, Listen, Strategy
from iogate.expressions.templates import whole
from iogate.json_values import JsonObject

_Read = Literal["data", "envelope", "raw"]


def emit(reader: Reader, place: Place, source: JsonObject) -> Emit:
    """Read the body of an `emit`."""
    attributes: JsonObject = source["event"].get("with") or {}
    reader.note(place, source)
    reader.index.events.append(Located(place.at("event", "with").pointer, attributes))
    return Emit(reader.value(attributes))


def listen(reader: Reader, place: Place, pointer: str, source: JsonObject) -> Listen:
    """Read the body of a `listen`."""
    given, each = source["listen"], source.get("foreach")
    return Listen(
        to=strategy(reader, place.at("listen", "to"), given["to"]),
        read=cast("_Read", given.get("read") or "data"),
        each=None if each is None else iterator(reader, place.at("foreach"), pointer, each),
    )


def listen_of_schedule(reader: Reader, place: Place, schedule: JsonObject) -> Listen:
    """Read `schedule.on` as a listening task, which starts a run at each match."""
    head = reader.definition["document"]
    started = Child(
        namespace=head["namespace"],
        name=head["name"],
        version=str(head["version"]),
        input=reader.value("${ . }"),
        awaits=False,
    )
    # The standard's default is `data`, but all its examples read `[0].data`.
    read = cast("_Read", schedule.get("read") or "envelope")
    return Listen(to=strategy(reader, place.at("on"), schedule["on"]), read=read, starts=started)


def strategy(reader: Reader, place: Place, source: JsonObject) -> Strategy:
    """Read the strategy of a task or schedule, which selects the events that it waits for."""
    if "one" in source:
        return Strategy("one", (_filter(reader, place.at("one"), source["one"]),))
    mode: Literal["all", "any"] = "all" if "all" in source else "any"
    filters = tuple(_filter(reader, place.at(mode, index), each) for index, each in enumerate(source[mode]))
    if mode == "all":
        return Strategy("all", filters)
    until, at = source.get("until"), place.at("until")
    return Strategy(
        "any",
        filters,
        until=reader.expression(at, until) if isinstance(until, str) else None,
        stop=strategy(reader, at, until) if isinstance(until, Mapping) else None,
    )


def _filter(reader: Reader, place: Place, source: JsonObject) -> Filter:
    attributes: JsonObject = source["with"]
    reader.note(place.at("with"), attributes)
    reader.index.events.append(Located(place.at("with").pointer, attributes))
    return Filter(
        attributes={name: reader.pattern(value) for name, value in attributes.items()},
        correlations=tuple(
            _correlation(reader, place.at("correlate", name), name, each)
            for name, each in (source.get("correlate") or EMPTY).items()
        ),
    )


def _correlation(reader: Reader, place: Place, name: str, source: JsonObject) -> Correlation:
    expected = source.get("expect")
    if expected is not None:
        reader.note(place.at("expect"), expected)
    return Correlation(
        name=name,
        source=reader.expression(place.at("from"), source["from"]),
        text=(whole(source["from"]) or source["from"]).strip(),
        expect=reader.optional(expected),
    )


def iterator(reader: Reader, place: Place, pointer: str, source: JsonObject) -> Iterator:
    """Read the `foreach` of a task that receives events, which may hold tasks."""
    item, at = source.get("item") or "item", source.get("at") or "index"
    inside = place.declaring(item, at)
    tasks = reader.list(inside.at("do"), f"{pointer}/foreach/do", source["do"]) if source.get("do") else None
    return Iterator(item=item, at=at, tasks=tasks, flow=flow(reader, inside, source))


def child(reader: Reader, place: Place, run: JsonObject) -> Child:
    """Read the body of `run: workflow`, which may wait for another run as `listen` waits for events."""
    source = run["workflow"]
    for name, value in source.items():
        reader.note(place.at("workflow", name), value)
    given = source.get("input") or {}
    return Child(
        namespace=source["namespace"],
        name=source["name"],
        version=source["version"],
        input=reader.value(given),
        awaits=run.get("await") is not False,
    )
