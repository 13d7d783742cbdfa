"""Remains of invalid documents, so that the checks can find the other errors in them in the same pass.

Used by the loader. As a compiler goes on behind a syntax error: the parts at fault that a task or a method
can do without are taken out; else a task that does nothing takes the place of the task, and the method is
left out.
Invariant: the remains are valid by their model, every value in them has the pointer of the file, and they are
checked and never compiled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from iogate.documents.api import ApiModule
from iogate.documents.dsl import Workflow
from iogate.documents.dsl.kinds import SHARED
from iogate.documents.wording import pointers_of, task_at

if TYPE_CHECKING:
    from iogate.documents.yaml.nodes import Node, Pointer

_HEAD: Pointer = ("document",)
_METADATA: Pointer = ("document", "metadata")
STAND_IN = {"dsl": "1.0.0", "namespace": "mended", "name": "mended", "version": "0.0.0"}
"""Of a workflow whose own `document` is at fault: nobody knows its name."""
_OPTIONAL: frozenset[Pointer] = frozenset({("timeout",), ("schedule",), ("input",), ("output",)})


def mended_workflow(
    data: dict[str, Any], error: ValidationError, root: Node
) -> tuple[dict[str, Any], Workflow] | None:
    """The workflow without the parts at fault; None where too much would follow from that."""
    left: Any = data
    for pointer in sorted({_part(pointer) for pointer in pointers_of(error, root)}, key=len):
        if not pointer:
            return None
        if pointer == _HEAD:
            left = {**left, "document": STAND_IN}
        else:
            left = _mended(left, pointer, member=task_at(pointer) != pointer)
    try:
        return left, Workflow.model_validate(left)
    except ValidationError:
        return None


def mended_api(
    data: dict[str, Any], error: ValidationError | None, root: Node
) -> tuple[dict[str, Any], ApiModule] | None:
    """Return the module without the keys at fault, and without the methods whose workflow is.

    A method that does not say who may call it gets `auth: none`. None if `module` or `methods` is at fault.
    """
    methods = data.get("methods")
    if not isinstance(methods, dict):
        return None
    top = dict(data)
    left: dict[str, Any] = {name: dict(each) for name, each in methods.items() if isinstance(each, dict)}
    for pointer in pointers_of(error, root) if error is not None else ():
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
        mended = {**top, "methods": left}
        return mended, ApiModule.model_validate(mended)
    except ValidationError:
        return None


def _drop(key: str | int, holder: dict[str, Any], *methods: dict[str, Any]) -> None:
    """Take a key out of its holder, and with verbs the debug cases, which depend on them."""
    holder.pop(str(key), None)
    if key == "verbs":
        for each in (holder, *methods):
            each.pop("debug", None)


def _part(pointer: Pointer) -> Pointer:
    """Return the part to remove for a fault: a part of a task, a task, or an optional member."""
    if pointer[:2] == _METADATA:
        return pointer[:4]
    task = task_at(pointer)
    if task and len(pointer) > len(task) and pointer[len(task)] in SHARED:
        return pointer[: len(task) + 1]
    return task or (pointer[:1] if pointer[:1] == _HEAD or pointer[:1] in _OPTIONAL else ())


def _mended(value: Any, at: Pointer, *, member: bool) -> Any:
    """The value without the member, or with an idle task, at the pointer; as it is where that is gone."""
    step, rest = at[0], at[1:]
    if isinstance(value, list) and isinstance(step, int):
        return [*value[:step], _mended(value[step], rest, member=member), *value[step + 1 :]]
    if not isinstance(value, dict) or step not in value:
        return value
    inside = value[str(step)]
    if rest:
        return {**value, step: _mended(inside, rest, member=member)}
    if member:
        return {key: each for key, each in value.items() if key != step}
    return {**value, step: _idle(inside)}


def _idle(task: Any) -> Any:
    """A task that does nothing, and leads where this one does."""
    then = task.get("then") if isinstance(task, dict) else None
    return {"set": "${ . }"} | ({"then": then} if isinstance(then, str) else {})
