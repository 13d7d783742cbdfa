"""Which kind of task a mapping means to be, judged by its keys before any model looks at it.

So a fault is reported for the one kind that was meant, never for all twelve.
"""

from __future__ import annotations

from typing import Any, Final

from iogate.documents.problems import nearest, quoted
from iogate.documents.shape import branch, rule, wrong_type

KINDS: Final[tuple[str, ...]] = (
    "call",
    "do",
    "emit",
    "for",
    "fork",
    "listen",
    "raise",
    "run",
    "set",
    "switch",
    "try",
    "wait",
)
CALLS: Final = ("http", "openapi", "grpc", "asyncapi", "a2a", "mcp")
SHARED: Final = ("if", "input", "output", "export", "timeout", "then", "metadata")

# A key that belongs to one kind names it where the kind's own key is missing.
_BETRAYED: Final = {"catch": "try", "with": "call", "foreach": "listen", "while": "for"}


def kinds_of(task: dict[str, Any]) -> list[str]:
    """Return the kinds of task by the keys present; `do` counts unless it is part of a `for`."""
    found = [key for key in KINDS if key in task]
    if "for" in found and "do" in found:
        found.remove("do")
    return found


def branch_of(task: Any) -> str | None:
    """The branch of the union of tasks."""
    if not isinstance(task, dict):
        return None
    found = kinds_of(task)
    kind = found[0] if found else next((_BETRAYED[key] for key in task if key in _BETRAYED), None)
    if kind == "call":
        called = task.get("call")
        return branch(f"call {called}" if isinstance(called, str) and called in CALLS else "call function")
    return branch(kind) if kind else None


def check_kind(task: Any) -> Any:
    """Refuse a mapping that is no task: it has no kind, or several."""
    if not isinstance(task, dict):
        raise wrong_type("a task: a mapping with one of " + ", ".join(KINDS), task)
    found = kinds_of(task)
    if len(found) > 1:
        order = [key for key in task if key in found]
        raise rule(
            f"a task does one thing, this one has {' and '.join(order)}",
            code=8,
            hint="make each a task of its own",
            key=order[1],
        )
    if branch_of(task) is None:
        raise _no_kind(task)
    return task


def check_entry(entry: Any) -> Any:
    """An item of a task list is one name with the task's definition below it."""
    if not isinstance(entry, dict):
        raise wrong_type("a task: its name, and its definition below", entry)
    if len(entry) == 1:
        return entry
    if not entry:
        raise rule("a task has a name", code=9, hint="write - name: and its definition below")
    names = list(entry)
    first, second = names[0], names[1]
    if entry[first] is None and (second in KINDS or second in SHARED or second in _BETRAYED):
        message = f"the definition of task {quoted(first)} is not indented below its name"
        raise rule(message, code=9, hint=f"indent it deeper than {quoted(first)}", key=second)
    if first in KINDS:
        message = "a task without a name"
        raise rule(message, code=9, hint="write - name: and this below it, indented deeper", key=first)
    message = f"{quoted(second)} stands in the list item of task {quoted(first)}"
    raise rule(message, code=9, hint=f'start it with "- ", or indent it below {quoted(first)}', key=second)


def _no_kind(task: dict[str, Any]) -> Exception:
    own = [key for key in task if key not in SHARED]
    for key in own:
        meant = nearest(key, KINDS)
        if meant:
            message = f"unknown kind of task {quoted(key)}"
            return rule(message, code=7, hint=f'did you mean "{meant}"?', key=key)
    known = "expected one of " + ", ".join(KINDS)
    if own:
        return rule(f"unknown kind of task {quoted(own[0])}", code=7, hint=known, key=own[0])
    return rule("this task does nothing", code=7, hint=known)
