"""Tasks that steer the others: `switch`, `for`, `try`, `fork`, `raise`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, cast

from iogate.compiler.outline import escape
from iogate.compiler.tasks import Case, For, Fork, Raise, Retry, Switch, TaskList, Try

if TYPE_CHECKING:
    from iogate.compiler.building.builder import Builder, Places

_EMPTY: Mapping[str, Any] = {}


def switch(builder: Builder, entries: Any, places: Places) -> Switch:
    named = [next(iter(entry.items())) for entry in entries]
    cases = [
        Case(name, builder.optional_expression(case.get("when")), builder.target(case.get("then"), places))
        for name, case in named
    ]
    return Switch(
        tuple(case for case in cases if case.when is not None),
        next((case for case in cases if case.when is None), None),
    )


def loop(builder: Builder, pointer: str, definition: Mapping[str, Any]) -> For:
    over = definition["for"]
    return For(
        each=over.get("each") or "item",
        at=over.get("at") or "index",
        items=builder.expression(over["in"]),
        condition=builder.optional_expression(definition.get("while")),
        tasks=builder.list(f"{pointer}/for/do", definition["do"]),
    )


def attempt(builder: Builder, pointer: str, definition: Mapping[str, Any], places: Places) -> Try:
    catch = definition["catch"] or _EMPTY
    policy = catch.get("retry")
    then = catch.get("then")
    return Try(
        tasks=builder.list(f"{pointer}/try", definition["try"]),
        errors=(catch.get("errors") or _EMPTY).get("with") or _EMPTY,
        name=catch.get("as") or "error",
        when=builder.optional_expression(catch.get("when")),
        except_when=builder.optional_expression(catch.get("exceptWhen")),
        retry=None if policy is None else retry(builder, policy),
        handler=builder.list(f"{pointer}/catch/do", catch["do"]) if catch.get("do") else None,
        then=None if then is None else builder.target(then, places),
    )


def retry(builder: Builder, source: Any) -> Retry:
    """A retry policy, inline or by its name in `use.retries`."""
    if isinstance(source, str):
        named = (builder.use.get("retries") or {}).get(source)
        return Retry(missing=source) if named is None else retry(builder, named)
    limit, jitter = source.get("limit") or _EMPTY, source.get("jitter") or _EMPTY
    each = limit.get("attempt") or _EMPTY
    backoff = next(iter(source.get("backoff") or ()), "constant")
    return Retry(
        when=builder.optional_expression(source.get("when")),
        except_when=builder.optional_expression(source.get("exceptWhen")),
        delay=builder.optional_value(source.get("delay")),
        backoff=cast("Literal['constant', 'linear', 'exponential']", backoff),
        jitter_from=builder.optional_value(jitter.get("from")),
        jitter_to=builder.optional_value(jitter.get("to")),
        count=each.get("count"),
        attempt_after=builder.optional_value(each.get("duration")),
        overall=builder.optional_value(limit.get("duration")),
    )


def fork(builder: Builder, pointer: str, source: Mapping[str, Any]) -> Fork:
    branches = []
    for index, entry in enumerate(source["branches"]):
        ((name, definition),) = entry.items()
        at = f"{pointer}/fork/branches/{index}"
        branch = TaskList(at, (builder.task(f"{at}/{escape(name)}", name, definition, {}),))
        builder.lists[at] = branch
        branches.append(branch)
    return Fork(tuple(branches), compete=source.get("compete") is True)


def fault(builder: Builder, error: Any) -> Raise:
    """The error of a `raise`, inline or by its name in `use.errors`."""
    if isinstance(error, str):
        named = (builder.use.get("errors") or {}).get(error)
        return Raise(None, missing=error) if named is None else Raise(builder.value(named))
    return Raise(builder.value(error))
