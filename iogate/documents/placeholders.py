"""Placeholders for invalid documents, so that the checks can find the other errors in them in the same pass.

Used by the loader. As a compiler continues after a syntax error: optional parts with errors are removed from
a task or a method; otherwise a task that does nothing replaces the task, and the method is left out.
Invariant: a placeholder is valid by its model, every value in it has the pointer of the file, and it is
checked and never compiled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from iogate.documents.api import ApiModule
from iogate.documents.dsl import Workflow
from iogate.documents.dsl.task_detection import SHARED
from iogate.documents.validation_messages import find_enclosing_task, locate_errors

if TYPE_CHECKING:
    from iogate.documents.yaml.nodes import Node
    from iogate.json_pointer import Pointer

_HEAD: Pointer = ("document",)
_METADATA: Pointer = ("document", "metadata")
PLACEHOLDER_HEADER = {"dsl": "1.0.0", "namespace": "placeholder", "name": "placeholder", "version": "0.0.0"}
"""`document` of a workflow whose own `document` has errors, so that its name is unknown."""
_OPTIONAL: frozenset[Pointer] = frozenset({("timeout",), ("schedule",), ("input",), ("output",)})


def make_workflow_placeholder(
    data: dict[str, Any], error: ValidationError, root: Node
) -> tuple[dict[str, Any], Workflow] | None:
    """Return the workflow without the parts with errors; None if no valid workflow is left."""
    left: Any = data
    for pointer in sorted({_part_to_remove(pointer) for pointer in locate_errors(error, root)}, key=len):
        if not pointer:
            return None
        if pointer == _HEAD:
            left = {**left, "document": PLACEHOLDER_HEADER}
        else:
            left = _replace_at(left, pointer, member=find_enclosing_task(pointer) != pointer)
    try:
        return left, Workflow.model_validate(left)
    except ValidationError:
        return None


def make_api_placeholder(
    data: dict[str, Any], error: ValidationError | None, root: Node
) -> tuple[dict[str, Any], ApiModule] | None:
    """Return the module without the keys with errors, and without the methods whose `workflow` has errors.

    A method without authentication gets `auth: none`. None if `module` or `methods` has errors.
    """
    methods = data.get("methods")
    if not isinstance(methods, dict):
        return None
    top = dict(data)
    left: dict[str, Any] = {name: dict(each) for name, each in methods.items() if isinstance(each, dict)}
    for pointer in locate_errors(error, root) if error is not None else ():
        if pointer in ((), ("module",), ("methods",)):
            return None
        if pointer[0] != "methods":
            _drop(pointer[0], top, *left.values())
        elif len(pointer) == 2 or pointer[2] == "workflow":
            left.pop(str(pointer[1]), None)
        elif pointer[1] in left:
            _drop(pointer[2], left[str(pointer[1])])
    if "auth" not in top:
        left = {name: {"auth": "none"} | method for name, method in left.items()}
    try:
        placeholder = {**top, "methods": left}
        return placeholder, ApiModule.model_validate(placeholder)
    except ValidationError:
        return None


def _drop(key: str | int, holder: dict[str, Any], *methods: dict[str, Any]) -> None:
    """Remove an invalid key from a placeholder, and with `verbs` the debug cases, which depend on them."""
    holder.pop(str(key), None)
    if key == "verbs":
        for each in (holder, *methods):
            each.pop("debug", None)


def _part_to_remove(pointer: Pointer) -> Pointer:
    """Return the part that a placeholder lacks for an error: a task, or an optional member."""
    if pointer[:2] == _METADATA:
        return pointer[:4]
    task = find_enclosing_task(pointer)
    if task and len(pointer) > len(task) and pointer[len(task)] in SHARED:
        return pointer[: len(task) + 1]
    return task or (pointer[:1] if pointer[:1] == _HEAD or pointer[:1] in _OPTIONAL else ())


def _replace_at(value: Any, at: Pointer, *, member: bool) -> Any:
    """Return the placeholder without the member at the pointer, or with a no-op task there."""
    step, rest = at[0], at[1:]
    if isinstance(value, list) and isinstance(step, int):
        return [*value[:step], _replace_at(value[step], rest, member=member), *value[step + 1 :]]
    if not isinstance(value, dict) or step not in value:
        return value
    inside = value[str(step)]
    if rest:
        return {**value, step: _replace_at(inside, rest, member=member)}
    if member:
        return {key: each for key, each in value.items() if key != step}
    return {**value, step: _no_op_task(inside)}


def _no_op_task(task: Any) -> Any:
    """Return a placeholder of a task, which does nothing, with the same `then`."""
    then = task.get("then") if isinstance(task, dict) else None
    return {"set": "${ . }"} | ({"then": then} if isinstance(then, str) else {})
