"""Error messages of the models: converts pydantic's errors to problems with text, hint, code and location.

Called by the loader with pydantic's error and the positioned tree. Codes are 1xx in API documents and
2xx in workflows; 01 to 06 and 10 mean the same in both.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

from iogate.documents import base_model
from iogate.documents.fixes import Fix, RenameKey, ReplaceText
from iogate.documents.problems import Problem
from iogate.messages import listed, nearest, quoted
from iogate.value_types.faults import type_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic import ValidationError

    from iogate.documents.yaml.nodes import Node
    from iogate.json_pointer import Pointer

Family = Literal["api", "workflow"]

_DIGIT = {"api": 1, "workflow": 2}
_LISTS_OF_TASKS = frozenset({"do", "try", "branches", "before", "after"})
_CHOICE = re.compile(r"'([^']*)'")
_MOST_KEYS_LISTED = 30
_LONGEST_SHOWN = 60


def to_problems(error: ValidationError, root: Node, path: str, family: Family) -> Iterator[Problem]:
    """Convert the validation errors of a document to problems."""
    for item in error.errors(include_url=False):
        pointer, on_key = _locate(item, root)
        code, message, hint, at, key = _describe(item, pointer, root, family)
        span = root.place(at, key=key or on_key)
        number = f"IOG{_DIGIT[family]}{code:02}"
        yield Problem.at(span, path=path, code=number, message=message, hint=hint, fix=_fix(item, at))


def locate_errors(error: ValidationError, root: Node) -> Iterator[Pointer]:
    """Yield the pointer of each validation error of a document."""
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        yield _locate(item, root)[0]


def _locate(item: Any, root: Node) -> tuple[Pointer, bool]:
    """Return the pointer of a validation error, and whether it is an error of the key there."""
    loc = [step for step in item["loc"] if not base_model.is_tag(step)]
    on_key = bool(loc) and loc[-1] == "[key]"
    return _existing_steps(root, loc[:-1] if on_key else loc), on_key


def _existing_steps(root: Node, loc: Sequence[str | int]) -> Pointer:
    """Return the existing steps of a validation error's location, and the last one in any case.

    The value of the last step may be missing.
    """
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


_Description = tuple[int, str, str, "Pointer", bool]


def _describe(item: Any, pointer: Pointer, root: Node, family: Family) -> _Description:
    """Return code, message, hint and pointer of a validation error, and whether to show the key there."""
    context: dict[str, Any] = item.get("ctx", {})
    kind = item["type"]
    subject = describe_value(pointer, root, family)
    match kind:
        case base_model.UNKNOWN:
            if context.get("key") is not None:
                pointer = (*pointer, context["key"])
            where = describe_container(pointer[:-1], root, family)
            hint = _hint_for_unknown_key(context)
            return 1, f"unknown key {quoted(pointer[-1])} in {where}", hint, pointer, True
        case base_model.MISSING:
            where = describe_container(pointer[:-1], root, family)
            return 2, f"missing {quoted(pointer[-1])} in {where}", "", pointer[:-1], False
        case base_model.NULL:
            expected = f"give it {context['expected']}" if context["expected"] else "give it one"
            return 10, f"{subject} has no value", f"{expected}, or remove the key", pointer, True
        case base_model.TYPE:
            hint = context["hint"]
            message = f"{subject} must be {context['expected']}, not {context['got']}"
            return 3, message, hint, pointer, False
        case base_model.FORMAT:
            message = f"{subject} must be {context['expected']}" + _format_given(context["got"])
            return 5, message, context.get("hint", ""), pointer, False
        case base_model.RULE:
            if context["key"] is not None:
                return context["code"], context["message"], context["hint"], (*pointer, context["key"]), True
            return context["code"], context["message"], context["hint"], pointer, False
        case "literal_error":
            choices = _CHOICE.findall(context["expected"])
            given = item["input"]
            if given is None:
                return 10, f"{subject} has no value", f"give it {listed(choices)}", pointer, True
            if not isinstance(given, str):
                message = f"{subject} must be {listed(choices)}, not {type_name(given)}"
                return 3, message, "", pointer, False
            meant = nearest(given, choices)
            hint = f'did you mean "{meant}"?' if meant else ""
            return 4, f"{subject} must be {listed(choices)}, not {quoted(given)}", hint, pointer, False
        case "too_short" | "string_too_short":
            return 6, f"{subject} is empty", "", pointer, False
        case _:
            return 3, f"{subject}: {item['msg']}", "", pointer, False


def _fix(item: Any, pointer: Pointer) -> Fix | None:
    """Return the correction of a validation error: of a misspelt key, or of a misspelt word out of a few."""
    context: dict[str, Any] = item.get("ctx", {})
    if item["type"] == "literal_error" and isinstance(item["input"], str):
        word = nearest(item["input"], _CHOICE.findall(context["expected"]))
        return ReplaceText(pointer=pointer, text=word) if word else None
    if item["type"] != base_model.UNKNOWN or context["tip"] or not context["meant"]:
        return None
    return RenameKey(pointer=pointer, name=context["meant"])


def _hint_for_unknown_key(context: dict[str, Any]) -> str:
    if context["tip"]:
        return str(context["tip"])
    if context["meant"]:
        return f'did you mean "{context["meant"]}"?'
    allowed = context["allowed"]
    return f"expected one of {', '.join(allowed)}" if len(allowed) <= _MOST_KEYS_LISTED else ""


def _format_given(got: Any) -> str:
    if got is None or len(str(got)) > _LONGEST_SHOWN:
        return ""
    return f", not {quoted(got)}"


def describe_value(pointer: Pointer, root: Node, family: Family) -> str:
    """Return a description for messages of the value at a pointer: `"rate" in method orders/submit`."""
    if not pointer:
        return "the document"
    *above, last = pointer
    if isinstance(last, int):
        return f"item {last + 1} of {describe_value(tuple(above), root, family)}"
    label, rest = _label(pointer, root, family)
    if not rest:
        return label
    where = describe_container(tuple(above), root, family)
    return f"{quoted(last)} in {where}"


def describe_container(pointer: Pointer, root: Node, family: Family) -> str:
    """Return a description for messages of the mapping at a pointer: `method orders/submit`."""
    label, rest = _label(pointer, root, family)
    if not rest:
        return label
    path = quoted(".".join(str(step) for step in rest))
    return path if label == "the workflow" else f"{path} of {label}"


def _label(pointer: Pointer, root: Node, family: Family) -> tuple[str, Pointer]:
    """Return the innermost named object around a validation error's pointer, and the rest of the pointer."""
    return _api_label(pointer, root) if family == "api" else _task_label(pointer)


def _api_label(pointer: Pointer, root: Node) -> tuple[str, Pointer]:
    found = root.child("module")
    module = found[1].value if found is not None and isinstance(found[1].value, str) else None
    if len(pointer) >= 2 and pointer[0] == "methods":
        route = (
            f"{_unquoted(module)}/{_unquoted(pointer[1])}" if module is not None else _unquoted(pointer[1])
        )
        return f"method {route}", pointer[2:]
    return (f"module {_unquoted(module)}" if module is not None else "the module"), pointer


def find_enclosing_task(pointer: Pointer) -> Pointer:
    """Return the task or function around a validation error's pointer; empty if there is none."""
    start = 0
    for index in range(len(pointer) - 2):
        holder, item, name = pointer[index : index + 3]
        if holder in _LISTS_OF_TASKS and isinstance(item, int) and isinstance(name, str):
            start = index + 3
    if not start and len(pointer) >= 3 and pointer[:2] == ("use", "functions"):
        start = 3
    return pointer[:start]


def _task_label(pointer: Pointer) -> tuple[str, Pointer]:
    task = find_enclosing_task(pointer)
    if not task:
        return "the workflow", pointer
    kind = "function" if len(task) == 3 and task[0] == "use" else "task"
    return f"{kind} {_unquoted(task[-1])}", pointer[len(task) :]


def _unquoted(name: object) -> str:
    """Return a name in a validation message, in quotes only if it needs them."""
    text = str(name)
    return text if re.fullmatch(r"[\w.-]{1,64}", text) else quoted(text)
