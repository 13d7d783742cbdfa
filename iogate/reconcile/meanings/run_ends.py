"""Meanings of changes of what follows the end of a run: `callback` and `on_fault` of an API.

Called by `apis`. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from iogate.compiler.revision import Api, Callback, FaultHandler
from iogate.messages import listed
from iogate.reconcile.meanings.change_kinds import Meaning
from iogate.reconcile.shown_values import shown

_POINTER = "/callback"


def meanings(before: Api, after: Api) -> Iterator[Meaning]:
    """Yield the meanings of changes at the ends of runs: callbacks and fault handlers."""
    old, new = before.callback, after.callback
    if isinstance(old, Callback) and isinstance(new, Callback):
        yield from _callback(old, new)
    elif isinstance(new, Callback):
        text = f"callback added: the output of new runs is sent to {_target(new)}"
        yield Meaning(kind="callback.added", text=text, pointer=_POINTER)
    elif isinstance(old, Callback):
        text = f"callback removed: the ends of new runs are no longer sent to {_target(old)}"
        yield Meaning(kind="callback.removed", text=text, pointer=_POINTER)
    yield from _handler(before, after)


def _callback(old: Callback, new: Callback) -> Iterator[Meaning]:
    if old.url != new.url:
        text = f"callback of new runs goes to {_target(new)}, no longer to {_target(old)}"
        yield Meaning(kind="callback.changed", text=text, pointer=f"{_POINTER}/url")
    elif gone := [host for host in old.allow if host not in new.allow]:
        text = f"callers may no longer name {listed(gone)} in Callback-Url"
        yield Meaning(kind="callback.narrowed", text=text, pointer=f"{_POINTER}/allow")
    if not old.url and not new.url and (more := [host for host in new.allow if host not in old.allow]):
        text = f"callers may also name {listed(more)}, which then gets the output of their runs"
        yield Meaning(kind="callback.widened", text=text, pointer=f"{_POINTER}/allow")
    if old.secret != new.secret:
        text = "secret of the callback has another source: receivers need its value"
        yield Meaning(kind="callback.secret", text=text, pointer=f"{_POINTER}/secret")
    lost = [end for end in old.on if end not in new.on]
    won = [end for end in new.on if end not in old.on]
    if lost:
        text = f"the callback no longer tells {listed(lost)} runs"
        yield Meaning(kind="callback.narrowed", text=text, pointer=f"{_POINTER}/on")
    if won:
        text = f"the callback tells {listed(won)} runs, too"
        yield Meaning(kind="callback.added", text=text, pointer=f"{_POINTER}/on")


def _handler(before: Api, after: Api) -> Iterator[Meaning]:
    old = before.on_fault.workflow if isinstance(before.on_fault, FaultHandler) else ""
    new = after.on_fault.workflow if isinstance(after.on_fault, FaultHandler) else ""
    if old == new:
        return
    if not old:
        text, kind = f"a fault of a new run starts {new}", "on_fault.added"
    elif not new:
        text, kind = f"a fault of a new run no longer starts {old}", "on_fault.removed"
    else:
        text, kind = f"a fault of a new run starts {new}, no longer {old}", "on_fault.changed"
    yield Meaning(kind=kind, text=text, pointer="/on_fault")


def _target(callback: Callback) -> str:
    """Return the target of a callback in a plan: its URL without credentials, or the allowed hosts."""
    if not callback.url:
        return f"a URL that the caller names on {listed(callback.allow)}"
    return str(shown(("callback", "url"), callback.url))
