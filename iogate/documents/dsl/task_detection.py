"""Detection of the kind of a task by its keys, before a model validates it.

Used by `tasks`. So an error is reported for the intended kind only, not for all twelve.
"""

from __future__ import annotations

from typing import Any, Final

from iogate.documents.base_model import rule_error, tag_name, type_error
from iogate.documents.task_kinds import CALLS, KINDS, kinds_of
from iogate.messages import nearest, quoted

SHARED: Final = ("if", "input", "output", "export", "timeout", "then", "metadata")

# A key of one kind only implies the kind if the kind's own key is missing.
_IMPLIED_KIND: Final = {"catch": "try", "with": "call", "foreach": "listen", "while": "for"}


def tag_of_task(task: Any) -> str | None:
    """Return the tag of the task in the union of tasks; None if its kind is unknown."""
    if not isinstance(task, dict):
        return None
    found = kinds_of(task)
    kind = found[0] if found else next((_IMPLIED_KIND[key] for key in task if key in _IMPLIED_KIND), None)
    if kind == "call":
        called = task.get("call")
        return tag_name(f"call {called}" if isinstance(called, str) and called in CALLS else "call function")
    return tag_name(kind) if kind else None


def check_kind(task: Any) -> Any:
    """Reject a mapping that is no task: it has no kind, or several."""
    if not isinstance(task, dict):
        raise type_error("a task: a mapping with one of " + ", ".join(KINDS), task)
    found = kinds_of(task)
    if len(found) > 1:
        order = [key for key in task if key in found]
        raise rule_error(
            f"a task does one thing, this one has {' and '.join(order)}",
            code=8,
            hint="make each a task of its own",
            key=order[1],
        )
    if tag_of_task(task) is None:
        raise _no_kind(task)
    return task


def check_entry(entry: Any) -> Any:
    """Check that an item of a task list is one name with the task's definition below it."""
    if not isinstance(entry, dict):
        raise type_error("a task: its name, and its definition below", entry)
    if len(entry) == 1:
        return entry
    if not entry:
        raise rule_error("a task has a name", code=9, hint="write - name: and its definition below")
    names = list(entry)
    first, second = names[0], names[1]
    if entry[first] is None and (second in KINDS or second in SHARED or second in _IMPLIED_KIND):
        message = f"the definition of task {quoted(first)} is not indented below its name"
        raise rule_error(message, code=9, hint=f"indent it deeper than {quoted(first)}", key=second)
    if first in KINDS:
        message = "a task without a name"
        raise rule_error(message, code=9, hint="write - name: and this below it, indented deeper", key=first)
    message = f"{quoted(second)} stands in the list item of task {quoted(first)}"
    raise rule_error(
        message, code=9, hint=f'start it with "- ", or indent it below {quoted(first)}', key=second
    )


def _no_kind(task: dict[str, Any]) -> Exception:
    own = [key for key in task if key not in SHARED]
    for key in own:
        meant = nearest(key, KINDS)
        if meant:
            message = f"unknown kind of task {quoted(key)}"
            return rule_error(message, code=7, hint=f'did you mean "{meant}"?', key=key)
    known = "expected one of " + ", ".join(KINDS)
    if own:
        return rule_error(f"unknown kind of task {quoted(own[0])}", code=7, hint=known, key=own[0])
    return rule_error("this task does nothing", code=7, hint=known)
