"""Renewal of links that were used or have expired, when a run is retried from a task before their use.

Called by `runs retry`. Pure. A link works once and until its end, so without a new URL the task that listens
for it would wait endlessly. Invariant: the URL of a renewed link ends later than every earlier one, which
stays used or expired.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from iogate.compiler.program import Program
from iogate.compiler.reader.links import READ
from iogate.compiler.tasks import For, Listen, Task
from iogate.engine.expression_scope import link_expiry_s
from iogate.engine.state.run_state import State
from iogate.errors import Refused
from iogate.expressions.templates import Literal
from iogate.messages import quoted
from iogate.security.one_time_links import EVENT

_SECOND_MS: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """A link that gets another URL."""

    name: str
    spent_s: int
    """End of the URL until now; it and earlier ones stay used or expired."""
    ends_s: int
    """End of the new URL."""


def expired(program: Program, state: State, started_at_ms: int, now_ms: int) -> set[str]:
    """Return the links of a run that have expired and need renewal."""
    return {
        name
        for name, link in program.links.items()
        if link_expiry_s(link, name, started_at_ms, state.links) * _SECOND_MS <= now_ms
    }


def renew_links(
    old: Program, new: Program, state: State, names: Collection[str], started_at_ms: int, now_ms: int
) -> tuple[State, tuple[Renewal, ...]]:
    """Return a state in which these links of a run have other URLs; `old` is the definition until now."""
    renewed, found = dict(state.links or {}), []
    for name in sorted(names):
        if name not in new.links:
            continue
        spent_s = link_expiry_s(old.links.get(name, new.links[name]), name, started_at_ms, state.links)
        ttl_ms = new.links[name].ttl_ms
        renewed[name] = max(now_ms, (spent_s + 1) * _SECOND_MS - ttl_ms)
        ends_s = link_expiry_s(new.links[name], name, started_at_ms, renewed)
        found.append(Renewal(name=name, spent_s=spent_s, ends_s=ends_s))
    return (replace(state, links=renewed) if found else state), tuple(found)


def tasks_from(program: Program, pointer: str) -> list[str]:
    """Return the tasks of a retry at `pointer` that may need renewed links, in the document's order."""
    found = list(program.tasks)
    return found[found.index(pointer) :] if pointer in program.tasks else found


def tasks_ahead(program: Program, state: State) -> list[str]:
    """Return the tasks, for renewed links, that a resumed state begins, in the document's order.

    Those of an open loop are all among them, because its next turn begins them.
    """
    ahead: set[str] = set()
    open_scopes = [frame for frame in state.frames.values() if frame.kind == "scope"]
    if not open_scopes:
        return list(program.tasks)
    entered = {state.frames[each.parent].pointer for each in open_scopes if each.parent is not None}
    for scope in open_scopes:
        for task in program.lists[scope.pointer].tasks[scope.position :]:
            ahead.add(task.pointer)
            if task.pointer not in entered:
                ahead.update(_below(program, task.pointer))
    for at in entered:
        if at in program.tasks and isinstance(program.tasks[at].body, For):
            ahead.update(_below(program, at))
    return [each for each in program.tasks if each in ahead]


def _below(program: Program, pointer: str) -> list[str]:
    return [each for each in program.tasks if each.startswith(f"{pointer}/")]


def is_sent_again(program: Program, begun: Collection[str], name: str) -> bool:
    """Tell whether a task in `begun` sends a renewed link; one of a function may run at any time."""
    return any(each in begun or not each.startswith("/do/") for each in _senders(program, name))


def check_sent_again(program: Program, begun: Collection[str], spent: Mapping[str, str]) -> None:
    """Check that each link to renew that a task in `begun` waits for is also sent by one of them.

    `spent` has the reason why the link cannot be used, by name. Raises Refused if only an earlier task sends
    it: nobody would get its new URL.
    """
    for name, reason in sorted(spent.items()):
        waiting = next((each for each in begun if name in _awaited(program.tasks[each])), None)
        senders = _senders(program, name)
        if waiting is None or not senders or is_sent_again(program, begun, name):
            continue
        first = next(iter(begun))
        if any(first.startswith(f"{each}/") for each in senders):
            continue
        raise Refused(
            f"link {quoted(name)} {reason}, and {waiting} would wait for it again, while the task that sends "
            f"it, {senders[-1]}, would not run again",
            hint=f"retry from that task: --from {senders[-1]}",
        )


def _senders(program: Program, name: str) -> list[str]:
    return [each for each, task in program.tasks.items() if name in _read(program, task)]


def _awaited(task: Task) -> Iterator[str]:
    body = task.body
    if not isinstance(body, Listen):
        return
    for each in (*body.to.filters, *(body.to.stop.filters if body.to.stop is not None else ())):
        kind = each.attributes.get("type")
        if isinstance(kind, Literal) and str(kind.value).startswith(EVENT):
            yield str(kind.value).removeprefix(EVENT)


def _read(program: Program, task: Task) -> set[str]:
    """Return the links to renew that a task itself reads, without those of the tasks in it."""
    found = _named(task.definition)
    inner = [each for at, each in program.tasks.items() if at.startswith(f"{task.pointer}/")]
    return found.difference(*(_named(each.definition) for each in inner))


def _named(value: Any) -> set[str]:
    """Return the names of the links, for their renewal, that the texts in a definition read."""
    match value:
        case str():
            return {read[1] or read[2] for read in READ.finditer(value)}
        case Mapping():
            return set[str]().union(*map(_named, value.values()))
        case list() | tuple():
            return set[str]().union(*map(_named, value))
        case _:
            return set()
