"""Canonical order of the keys of documents, taken from their models.

Called by `canonical`. A mapping that takes keys of the author, such as headers, `set` and schemas, keeps its
order; keys that a model does not know come last. Invariant: no alias gets in front of its anchor.
"""

from __future__ import annotations

from functools import cache
from operator import is_
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Final, Union, get_args, get_origin, get_type_hints

from pydantic import Discriminator, Tag

from iogate.documents.api import ApiModule
from iogate.documents.api.debug_cases import DebugCase, Expect
from iogate.documents.base_model import StrictModel
from iogate.documents.dsl import Workflow
from iogate.documents.dsl.base_model import OpenDslModel
from iogate.documents.dsl.processes import RunParts, ScriptParts
from iogate.documents.dsl.tasks import Task
from iogate.documents.formatter.syntax import Collection, Entry, Scalar

if TYPE_CHECKING:
    from iogate.documents.validation_messages import Family
    from iogate.documents.yaml.nodes import Node

_ROOTS: Final[dict[Family, type[StrictModel]]] = {"api": ApiModule, "workflow": Workflow}
_AFTER_KIND: Final = ("timeout", "output", "export", "then", "metadata")
_FIRST: Final[dict[type[StrictModel], tuple[str, ...]]] = {
    Workflow: ("document", "input", "use", "evaluate", "schedule", "timeout", "do", "output"),
    DebugCase: ("name", "verb", "query", "headers", "body", "body_file", "multipart"),
    Expect: ("http",),
    ScriptParts: ("language", "code", "source"),
    RunParts: ("container", "script", "shell", "workflow"),
}
"""Keys that come first where the order of the fields of the model is not the conventional one."""


def sort_keys(root: Collection, node: Node, family: Family) -> None:
    """Put the keys of a document into their order, in the whole tree; `node` is the same document as read."""
    _sort(root, node, _ROOTS[family])


def _sort(tree: Collection, node: Node, annotation: Any) -> None:
    """Sort the keys of a tree in the order of its type annotation."""
    found = _resolve(annotation, node.value)
    if isinstance(found, type) and issubclass(found, StrictModel):
        if not tree.mapping:
            return
        hints = _fields(found)
        for key, entry in _named(tree):
            if key in hints:
                _descend(entry, node.child(key), hints[key])
        if not issubclass(found, OpenDslModel) or found is Workflow:
            _reorder(tree, list(hints))
    elif get_origin(found) is list and not tree.mapping:
        for number, entry in enumerate(tree.entries):
            _descend(entry, node.child(number), get_args(found)[0])
    elif get_origin(found) is dict and tree.mapping:
        for key, entry in _named(tree):
            _descend(entry, node.child(key), get_args(found)[1])


def _descend(entry: Entry, child: tuple[Any, Node] | None, annotation: Any) -> None:
    if child is not None and isinstance(entry.value, Collection):
        _sort(entry.value, child[1], annotation)


def _named(tree: Collection) -> list[tuple[str, Entry]]:
    return [(entry.key.value, entry) for entry in tree.entries if isinstance(entry.key, Scalar)]


def _reorder(tree: Collection, order: list[str]) -> None:
    rank = {key: number for number, key in enumerate(order)}

    def place(entry: Entry) -> int:
        return rank.get(entry.key.value, len(rank)) if isinstance(entry.key, Scalar) else len(rank)

    wanted = sorted(tree.entries, key=place)
    if all(map(is_, wanted, tree.entries)):
        return
    anchored = [id(entry) for entry in tree.entries if entry.anchors()]
    if anchored == [id(entry) for entry in wanted if entry.anchors()]:
        tree.entries = wanted


def _resolve(annotation: Any, value: Any) -> Any:
    """Return the model, list or dictionary that orders the keys of this value; None for another type."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        tag = next((_tag(extra, value) for extra in arguments[1:] if isinstance(extra, Discriminator)), None)
        if tag is None:
            return _resolve(arguments[0], value)
        branches = get_args(arguments[0])
        return next((_resolve(branch, value) for branch in branches if tag in _tags(branch)), None)
    if origin in {Union, UnionType}:
        return next((found for each in arguments if (found := _resolve(each, value)) is not None), None)
    fits = (
        (origin is list and isinstance(value, list))
        or (origin is dict and isinstance(value, dict))
        or (isinstance(annotation, type) and issubclass(annotation, StrictModel) and isinstance(value, dict))
    )
    return annotation if fits else None


def _tag(discriminator: Discriminator, value: Any) -> Any:
    choose = discriminator.discriminator
    found = None if isinstance(choose, str) else choose(value)
    return "" if found is None else found


def _tags(branch: Any) -> set[str]:
    return {extra.tag for extra in get_args(branch)[1:] if isinstance(extra, Tag)}


@cache
def _fields(model: type[StrictModel]) -> dict[str, Any]:
    """Return the keys of a model in their canonical order, each with its annotation."""
    hints = get_type_hints(model, include_extras=True)
    alias: Any = model.model_config["alias_generator"]  # fields have their alias once the model is built
    found = {alias(name): hints[name] for name in model.model_fields}
    order = [key for key in _FIRST.get(model, ()) if key in found]
    if issubclass(model, Task):
        kind = [key for key in found if key not in {"if", "input", *_AFTER_KIND}]
        order = ["if", "input", *kind]
        last = list(_AFTER_KIND)
    else:
        last = []
    return {key: found[key] for key in (*order, *(key for key in found if key not in {*order, *last}), *last)}
