"""What is left of a document that does not hold, so that the checks can speak about the rest of it.

Used by the loader. As a compiler goes on behind a syntax error: of a task at fault what it can do without is
taken out, else one that does nothing takes its place; a method at fault is left out. Invariant: what is
mended holds by its model, every value in it stands at the pointer of the file, and it is judged and never
compiled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from iogate.documents.api import ApiModule
from iogate.documents.dsl import Workflow
from iogate.documents.dsl.kinds import SHARED
from iogate.documents.wording import pointers_of, task_at

if TYPE_CHECKING:
    from iogate.documents.nodes import Node, Pointer

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
    """The module without the methods at fault, those among them that do not say who may call them."""
    pointers = pointers_of(error, root) if error is not None else ()
    faulty = {pointer[1] for pointer in pointers if len(pointer) > 1 and pointer[0] == "methods"}
    methods = data.get("methods")
    if not isinstance(methods, dict):
        return None
    left = {
        name: method
        for name, method in methods.items()
        if name not in faulty and ("auth" in data or "auth" in method)
    }
    try:
        mended = {**data, "methods": left}
        return mended, ApiModule.model_validate(mended)
    except ValidationError:
        return None


def _part(pointer: Pointer) -> Pointer:
    """What goes for a fault at the pointer: a part of a task, a task, or what a workflow can do without."""
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
