"""Tasks that steer the others: `switch`, `for`, `try`, `fork`, `raise`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

from iogate.compiler.building.draft import Draft, Places
from iogate.compiler.outline import escape
from iogate.compiler.tasks import Case, For, Fork, Raise, Retry, Switch, TaskList, Try

_EMPTY: Mapping[str, Any] = {}


def switch(draft: Draft, entries: Any, places: Places) -> Switch:
    named = [next(iter(entry.items())) for entry in entries]
    cases = [
        Case(name, draft.optional_expression(case.get("when")), draft.target(case.get("then"), places))
        for name, case in named
    ]
    return Switch(
        tuple(case for case in cases if case.when is not None),
        next((case for case in cases if case.when is None), None),
    )


def loop(draft: Draft, pointer: str, definition: Mapping[str, Any]) -> For:
    over = definition["for"]
    return For(
        each=over.get("each") or "item",
        at=over.get("at") or "index",
        items=draft.expression(over["in"]),
        condition=draft.optional_expression(definition.get("while")),
        tasks=draft.list(f"{pointer}/for/do", definition["do"]),
    )


def attempt(draft: Draft, pointer: str, definition: Mapping[str, Any], places: Places) -> Try:
    catch = definition["catch"] or _EMPTY
    policy = catch.get("retry")
    then = catch.get("then")
    return Try(
        tasks=draft.list(f"{pointer}/try", definition["try"]),
        errors=(catch.get("errors") or _EMPTY).get("with") or _EMPTY,
        name=catch.get("as") or "error",
        when=draft.optional_expression(catch.get("when")),
        except_when=draft.optional_expression(catch.get("exceptWhen")),
        retry=None if policy is None else retry(draft, policy),
        handler=draft.list(f"{pointer}/catch/do", catch["do"]) if catch.get("do") else None,
        then=None if then is None else draft.target(then, places),
    )


def retry(draft: Draft, source: Any) -> Retry:
    """A retry policy, inline or by its name in `use.retries`."""
    if isinstance(source, str):
        named = (draft.use.get("retries") or {}).get(source)
        return Retry(missing=source) if named is None else retry(draft, named)
    limit, jitter = source.get("limit") or _EMPTY, source.get("jitter") or _EMPTY
    each = limit.get("attempt") or _EMPTY
    backoff = next(iter(source.get("backoff") or ()), "constant")
    return Retry(
        when=draft.optional_expression(source.get("when")),
        except_when=draft.optional_expression(source.get("exceptWhen")),
        delay=draft.optional_value(source.get("delay")),
        backoff=cast("Literal['constant', 'linear', 'exponential']", backoff),
        jitter_from=draft.optional_value(jitter.get("from")),
        jitter_to=draft.optional_value(jitter.get("to")),
        count=each.get("count"),
        attempt_after=draft.optional_value(each.get("duration")),
        overall=draft.optional_value(limit.get("duration")),
    )


def fork(draft: Draft, pointer: str, source: Mapping[str, Any]) -> Fork:
    branches = []
    for index, entry in enumerate(source["branches"]):
        ((name, definition),) = entry.items()
        at = f"{pointer}/fork/branches/{index}"
        branch = TaskList(at, (draft.task(f"{at}/{escape(name)}", name, definition, {}),))
        draft.lists[at] = branch
        branches.append(branch)
    return Fork(tuple(branches), compete=source.get("compete") is True)


def fault(draft: Draft, error: Any) -> Raise:
    """The error of a `raise`, inline or by its name in `use.errors`."""
    if isinstance(error, str):
        named = (draft.use.get("errors") or {}).get(error)
        return Raise(None, missing=error) if named is None else Raise(draft.value(named))
    return Raise(draft.value(error))
