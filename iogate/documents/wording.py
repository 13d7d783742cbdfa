"""Faults that the models found, in words and at their place in the file.

Called by the loader with pydantic's error and the positioned tree. Codes are 1xx in API documents and
2xx in workflows; 01 to 06 and 10 mean the same in both.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

from iogate.documents import shape
from iogate.documents.problems import Problem, listed, nearest, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic import ValidationError

    from iogate.documents.yaml.nodes import Node, Pointer

Family = Literal["api", "workflow"]

_DIGIT = {"api": 1, "workflow": 2}
_LISTS_OF_TASKS = frozenset({"do", "try", "branches", "before", "after"})
_CHOICE = re.compile(r"'([^']*)'")
_MOST_KEYS_LISTED = 16
_LONGEST_SHOWN = 60


def problems_of(error: ValidationError, root: Node, path: str, family: Family) -> Iterator[Problem]:
    """The problems that one document's models found."""
    for item in error.errors(include_url=False):
        pointer, on_key = _place(item, root)
        code, message, hint, at, key = _told(item, pointer, root, family)
        span = root.place(at, key=key or on_key)
        yield Problem.at(span, path=path, code=f"IOG{_DIGIT[family]}{code:02}", message=message, hint=hint)


def pointers_of(error: ValidationError, root: Node) -> Iterator[Pointer]:
    """Where the faults are that one document's models found."""
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        yield _place(item, root)[0]


def _place(item: Any, root: Node) -> tuple[Pointer, bool]:
    """Where a fault is, and whether it is one of the key there."""
    loc = [step for step in item["loc"] if not shape.is_tag(step)]
    on_key = bool(loc) and loc[-1] == "[key]"
    return _existing(root, loc[:-1] if on_key else loc), on_key


def _existing(root: Node, loc: Sequence[str | int]) -> Pointer:
    """The steps of `loc` that lead somewhere, and the last one even if it does not: it may be missing."""
    node: Node | None = root
    steps: list[str | int] = []
    for number, step in enumerate(loc):
        found = node.child(step) if node is not None else None
        if found is not None:
            node = found[1]
            steps.append(step)
        elif number == len(loc) - 1 and isinstance(step, str):
            steps.append(step)
    return tuple(steps)


_Told = tuple[int, str, str, "Pointer", bool]


def _told(item: Any, pointer: Pointer, root: Node, family: Family) -> _Told:
    """Code, message, hint, the pointer to show, and whether to show its key."""
    context: dict[str, Any] = item.get("ctx", {})
    kind = item["type"]
    subject = name_of(pointer, root, family)
    match kind:
        case shape.UNKNOWN:
            if context.get("key") is not None:
                pointer = (*pointer, context["key"])
            where = container_of(pointer[:-1], root, family)
            hint = _unknown_hint(context)
            return 1, f"unknown key {quoted(pointer[-1])} in {where}", hint, pointer, True
        case shape.MISSING:
            where = container_of(pointer[:-1], root, family)
            return 2, f"missing {quoted(pointer[-1])} in {where}", "", pointer[:-1], False
        case shape.NULL:
            expected = f"give it {context['expected']}" if context["expected"] else "give it one"
            return 10, f"{subject} has no value", f"{expected}, or remove the key", pointer, True
        case shape.TYPE:
            hint = context["hint"]
            message = f"{subject} must be {context['expected']}, not {context['got']}"
            return 3, message, hint, pointer, False
        case shape.FORMAT:
            message = f"{subject} must be {context['expected']}" + _but(context["got"])
            return 5, message, context.get("hint", ""), pointer, False
        case shape.RULE:
            if context["key"] is not None:
                return context["code"], context["message"], context["hint"], (*pointer, context["key"]), True
            return context["code"], context["message"], context["hint"], pointer, False
        case "literal_error":
            choices = _CHOICE.findall(context["expected"])
            given = item["input"]
            if given is None:
                return 10, f"{subject} has no value", f"give it {listed(choices)}", pointer, True
            if not isinstance(given, str):
                message = f"{subject} must be {listed(choices)}, not {shape.type_name(given)}"
                return 3, message, "", pointer, False
            meant = nearest(given, choices)
            hint = f'did you mean "{meant}"?' if meant else ""
            return 4, f"{subject} must be {listed(choices)}, not {quoted(given)}", hint, pointer, False
        case "too_short" | "string_too_short":
            return 6, f"{subject} is empty", "", pointer, False
        case _:
            return 3, f"{subject}: {item['msg']}", "", pointer, False


def _unknown_hint(context: dict[str, Any]) -> str:
    if context["tip"]:
        return str(context["tip"])
    if context["meant"]:
        return f'did you mean "{context["meant"]}"?'
    allowed = context["allowed"]
    return f"expected one of {', '.join(allowed)}" if len(allowed) <= _MOST_KEYS_LISTED else ""


def _but(got: Any) -> str:
    if got is None or len(str(got)) > _LONGEST_SHOWN:
        return ""
    return f", not {quoted(got)}"


def name_of(pointer: Pointer, root: Node, family: Family) -> str:
    """Return a description of the value at the pointer: `"rate" in method orders/submit`."""
    if not pointer:
        return "the document"
    *above, last = pointer
    if isinstance(last, int):
        return f"item {last + 1} of {name_of(tuple(above), root, family)}"
    label, rest = _label(pointer, root, family)
    if not rest:
        return label
    where = container_of(tuple(above), root, family)
    return f"{quoted(last)} in {where}"


def container_of(pointer: Pointer, root: Node, family: Family) -> str:
    """The mapping at the pointer, as people call it: `method orders/submit`, `"with" of task charge`."""
    label, rest = _label(pointer, root, family)
    if not rest:
        return label
    path = quoted(".".join(str(step) for step in rest))
    return path if label == "the workflow" else f"{path} of {label}"


def _label(pointer: Pointer, root: Node, family: Family) -> tuple[str, Pointer]:
    """The innermost thing that has a name of its own, and the way on from there."""
    return _api_label(pointer, root) if family == "api" else _task_label(pointer)


def _api_label(pointer: Pointer, root: Node) -> tuple[str, Pointer]:
    found = root.child("module")
    module = found[1].value if found is not None and isinstance(found[1].value, str) else None
    if len(pointer) >= 2 and pointer[0] == "methods":
        route = f"{_plain(module)}/{_plain(pointer[1])}" if module is not None else _plain(pointer[1])
        return f"method {route}", pointer[2:]
    return (f"module {_plain(module)}" if module is not None else "the module"), pointer


def task_at(pointer: Pointer) -> Pointer:
    """Return the innermost task or function around the pointer; empty if there is none."""
    start = 0
    for index in range(len(pointer) - 2):
        holder, item, name = pointer[index : index + 3]
        if holder in _LISTS_OF_TASKS and isinstance(item, int) and isinstance(name, str):
            start = index + 3
    if not start and len(pointer) >= 3 and pointer[:2] == ("use", "functions"):
        start = 3
    return pointer[:start]


def _task_label(pointer: Pointer) -> tuple[str, Pointer]:
    task = task_at(pointer)
    if not task:
        return "the workflow", pointer
    kind = "function" if len(task) == 3 and task[0] == "use" else "task"
    return f"{kind} {_plain(task[-1])}", pointer[len(task) :]


def _plain(name: object) -> str:
    """A name without quotes where it needs none."""
    text = str(name)
    return text if re.fullmatch(r"[\w.-]{1,64}", text) else quoted(text)
