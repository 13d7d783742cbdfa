"""Tasks that control the order of others: `switch`, `for`, `try`, `fork`, `raise`."""

from __future__ import annotations

from typing import Literal, cast

from iogate.compiler.expression_scope import INSIDE
from iogate.compiler.reader.index import Located, Place
from iogate.compiler.reader.reader import EMPTY, Positions, Reader
from iogate.compiler.tasks import Case, For, Fork, Raise, Retry, Switch, Try
from iogate.json_values import JsonObject


def switch(reader: Reader, place: Place, entries: list[JsonObject], positions: Positions) -> Switch:
    """Read the body of a `switch`; of several cases without a condition, the first is its default."""
    conditional: list[Case] = []
    default: Case | None = None
    for index, entry in enumerate(entries):
        for name, source in entry.items():
            at = place.at(index, name)
            when = reader.optional_expression(at.at("when"), source.get("when"))
            case = Case(name, when, reader.target(at.at("then"), source.get("then"), positions))
            if when is not None:
                conditional.append(case)
            elif default is None:
                default = case
            else:
                reader.index.defaults.append(Located(at.pointer, default.name))
    return Switch(tuple(conditional), default)


def loop(reader: Reader, place: Place, pointer: str, source: JsonObject) -> For:
    """Read the body of a `for`, which controls its tasks as a loop."""
    over = source["for"]
    each, at = over.get("each") or "item", over.get("at") or "index"
    inside = place.declaring(each, at)
    said: JsonObject = (source.get("metadata") or EMPTY).get("iogate") or EMPTY
    return For(
        each=each,
        at=at,
        items=reader.expression(place.at("for", "in"), over["in"]),
        condition=reader.optional_expression(inside.at("while"), source.get("while")),
        tasks=reader.list(inside.at("do"), f"{pointer}/for/do", source["do"]),
        parallel=int(said.get("parallel") or 0),
        tolerant="parallel" in said and said.get("on_error") == "continue",
    )


def attempt(reader: Reader, place: Place, pointer: str, source: JsonObject, positions: Positions) -> Try:
    """Read the body of a `try`."""
    catch: JsonObject = source["catch"] or EMPTY
    name = catch.get("as") or "error"
    at = place.at("catch").declaring(name)
    policy, then = catch.get("retry"), catch.get("then")
    return Try(
        tasks=reader.list(place.at("try"), f"{pointer}/try", source["try"]),
        errors=(catch.get("errors") or EMPTY).get("with") or EMPTY,
        name=name,
        when=reader.optional_expression(at.at("when"), catch.get("when")),
        except_when=reader.optional_expression(at.at("exceptWhen"), catch.get("exceptWhen")),
        retry=None if policy is None else _retry(reader, at.at("retry"), policy),
        handler=reader.optional_list(at.at("do"), f"{pointer}/catch/do", catch.get("do")),
        then=None if then is None else reader.target(at.at("then"), then, positions),
    )


def _retry(reader: Reader, place: Place, source: str | JsonObject) -> Retry:
    """Read a retry policy, inline or by its name in `use.retries`."""
    if not isinstance(source, str):
        return inline_retry(reader, place, source)
    if reader.named("retries", place, source) is None:
        return Retry(missing=source)
    return reader.retries[source]


def inline_retry(reader: Reader, place: Place, source: JsonObject) -> Retry:
    """Read a retry policy of a `try` that controls its attempts."""
    limit, jitter = source.get("limit") or EMPTY, source.get("jitter") or EMPTY
    attempts, duration = limit.get("attempt") or EMPTY, reader.optional_duration
    backoff = next(iter(source.get("backoff") or ()), "constant")
    for name in ("delay", "backoff", "limit", "jitter"):
        if name in source:
            reader.note(place.at(name), source[name])
    policy = Retry(
        when=reader.optional_expression(place.at("when"), source.get("when")),
        except_when=reader.optional_expression(place.at("exceptWhen"), source.get("exceptWhen")),
        delay=duration(place.at("delay"), source.get("delay")),
        backoff=cast("Literal['constant', 'linear', 'exponential']", backoff),
        jitter_from=duration(place.at("jitter", "from"), jitter.get("from")),
        jitter_to=duration(place.at("jitter", "to"), jitter.get("to")),
        count=attempts.get("count"),
        attempt_after=duration(place.at("limit", "attempt", "duration"), attempts.get("duration")),
        overall=duration(place.at("limit", "duration"), limit.get("duration")),
    )
    reader.index.retries.append(Located(place.pointer, policy))
    return policy


def fork(reader: Reader, place: Place, pointer: str, source: JsonObject) -> Fork:
    """Read the body of a `fork`."""
    branches = reader.branches(place.at("branches"), f"{pointer}/fork/branches", source["branches"])
    return Fork(branches, compete=source.get("compete") is True)


def error(reader: Reader, place: Place, source: str | JsonObject) -> Raise:
    """Read the body of a `raise`; its error is inline or named in `use.errors`."""
    reader.note(place, source, INSIDE)
    if not isinstance(source, str):
        return Raise(reader.value(source))
    named = reader.named("errors", place, source)
    return Raise(None, missing=source) if named is None else Raise(reader.value(named))
