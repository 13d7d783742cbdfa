"""Renewal of used links, when a run is retried from a task before their use.

Called by `runs retry`. Pure. A link works once, so without a new URL the task that listens for it would wait
endlessly. Invariant: the URL of a renewed link ends later than every earlier one, which stays used.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from iogate.compiler.program import Program
from iogate.compiler.reader.links import READ
from iogate.compiler.tasks import Listen, Task
from iogate.engine.scope import link_expiry_s
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
    """End of the URL that was used; it and earlier ones stay used."""
    ends_s: int
    """End of the new URL."""


def renew_links(
    old: Program, new: Program, state: State, used: Collection[str], started_at_ms: int, now_ms: int
) -> tuple[State, tuple[Renewal, ...]]:
    """Return a state in which these links of a run have other URLs; `old` is the definition until now."""
    renewed, found = dict(state.links or {}), []
    for name in sorted(used):
        if name not in new.links or name not in old.links:
            continue
        spent_s = link_expiry_s(old.links[name], name, started_at_ms, state.links)
        ttl_ms = new.links[name].ttl_ms
        renewed[name] = max(now_ms, (spent_s + 1) * _SECOND_MS - ttl_ms)
        ends_s = link_expiry_s(new.links[name], name, started_at_ms, renewed)
        found.append(Renewal(name=name, spent_s=spent_s, ends_s=ends_s))
    return (replace(state, links=renewed) if found else state), tuple(found)


def check_sent_again(program: Program, pointer: str, used: Collection[str]) -> None:
    """Check that each used link that is waited for again is also sent again, from the task at `pointer` on.

    Raises Refused if only an earlier task sends it: nobody would get its new URL.
    """
    begun = list(program.tasks)
    begun = begun[begun.index(pointer) :] if pointer in program.tasks else begun
    for name in sorted(used):
        waiting = next((each for each in begun if name in _awaited(program.tasks[each])), None)
        senders = [each for each, task in program.tasks.items() if name in _read(program, task)]
        if waiting is None or not senders or any(each in begun for each in senders):
            continue
        if any(pointer.startswith(f"{each}/") for each in senders):
            continue
        raise Refused(
            f"link {quoted(name)} was used, and {waiting} would wait for it again, while the task that sends "
            f"it, {senders[-1]}, would not run again",
            hint=f"retry from that task: --from {senders[-1]}",
        )


def _awaited(task: Task) -> Iterator[str]:
    body = task.body
    if not isinstance(body, Listen):
        return
    for each in (*body.to.filters, *(body.to.stop.filters if body.to.stop is not None else ())):
        kind = each.attributes.get("type")
        if isinstance(kind, Literal) and str(kind.value).startswith(EVENT):
            yield str(kind.value).removeprefix(EVENT)


def _read(program: Program, task: Task) -> set[str]:
    """Return the links that a task itself reads, without those of the tasks in it."""
    found = _named(task.definition)
    inner = [each for at, each in program.tasks.items() if at.startswith(f"{task.pointer}/")]
    return found.difference(*(_named(each.definition) for each in inner))


def _named(value: Any) -> set[str]:
    """Return the one-time links that the texts in a definition read."""
    match value:
        case str():
            return {read[1] or read[2] for read in READ.finditer(value)}
        case Mapping():
            return set[str]().union(*map(_named, value.values()))
        case list() | tuple():
            return set[str]().union(*map(_named, value))
        case _:
            return set()
