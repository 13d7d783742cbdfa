"""Log records in the sources of the package, found statically: actions, levels and members."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.docs.pages import ROOT

PACKAGE = ROOT / "iogate"
LEVELS = ("debug", "info", "warning", "error")
_METHODS = {**{level: level for level in LEVELS}, "exception": "error"}
_FAILURE = "failure"
"""Argument of `Exchange` with the action of its records."""


@dataclass
class Action:
    """Properties of the records with one action.

    If one call writes records of several actions, it is unknown which of them has an optional property.
    """

    levels: set[str] = field(default_factory=set)
    members: set[str] = field(default_factory=set)
    possible_levels: set[str] = field(default_factory=set)
    possible_members: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Call:
    """A call that writes a log record, in the function around it."""

    path: Path
    node: ast.Call
    scope: ast.AST

    @property
    def place(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.node.lineno}"

    def levels(self) -> set[str]:
        """Return the levels of the record."""
        assert isinstance(self.node.func, ast.Attribute)
        method = self.node.func.attr
        if method != "log":
            return {_METHODS[method]}
        found = {
            each.attr.lower()
            for value in _values(self.node.args[0], self.scope)
            for each in ast.walk(value)
            if isinstance(each, ast.Attribute) and each.attr.isupper()
        }
        assert found, f"{self.place}: no level"
        return found

    def extra(self) -> ast.expr:
        found = next((each.value for each in self.node.keywords if each.arg == "extra"), None)
        assert found is not None, f"{self.place}: a record without extra"
        return found

    def members(self) -> dict[str, ast.expr]:
        """Return the members that the record always has."""
        found: dict[str, ast.expr] = {}
        for value in _values(self.extra(), self.scope):
            assert isinstance(value, ast.Dict), f"{self.place}: extra is no literal"
            found |= {_text(key): each for key, each in zip(value.keys, value.values, strict=True)}
        return found

    def optional_members(self) -> set[str]:
        """Return the members that the function adds to the record under a condition."""
        extra = self.extra()
        return set(_added(extra.id, self.scope)) if isinstance(extra, ast.Name) else set()

    def actions(self) -> set[str]:
        """Return the values that the member `action` may have."""
        value = self.members().get("action")
        assert value is not None, f"{self.place}: a record without an action"
        if isinstance(value, ast.Attribute):
            return set(_failures())
        return {_text(each) for each in _values(value, self.scope)}


def log_records() -> dict[str, Action]:
    """Return all actions of log records in the sources."""
    found: dict[str, Action] = {}
    for call in calls():
        actions, levels, optional = call.actions(), call.levels(), call.optional_members()
        for action in actions:
            properties = found.setdefault(action, Action())
            is_known = len(actions) == 1
            properties.levels |= levels if is_known or len(levels) == 1 else set()
            properties.possible_levels |= levels
            properties.members |= (call.members().keys() - {"action"}) | (optional if is_known else set())
            properties.possible_members |= properties.members | optional
    return found


def calls() -> Iterator[Call]:
    """Yield each call of a logger in the sources."""
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        yield from (Call(path, node, scope) for node, scope in _within(tree, tree) if _is_log(node))


def _within(node: ast.AST, scope: ast.AST) -> Iterator[tuple[ast.Call, ast.AST]]:
    for child in ast.iter_child_nodes(node):
        inner = child if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else scope
        if isinstance(child, ast.Call):
            yield child, scope
        yield from _within(child, inner)


def _is_log(node: ast.Call) -> bool:
    called = node.func
    if not isinstance(called, ast.Attribute) or called.attr not in {*_METHODS, "log", "critical"}:
        return False
    receiver = ast.unparse(called.value)
    return receiver == "log" or "logg" in receiver.lower()


def _values(value: ast.expr, scope: ast.AST) -> Iterator[ast.expr]:
    """Yield the expressions that a value may come from, in the function around it."""
    if isinstance(value, ast.IfExp):
        yield from _values(value.body, scope)
        yield from _values(value.orelse, scope)
    elif isinstance(value, ast.Name):
        assigned = [each for each in _assigned(value.id, scope) if each is not None]
        assert assigned, f"no value of {value.id}"
        for each in assigned:
            yield from _values(each, scope)
    else:
        yield value


def _assigned(name: str, scope: ast.AST) -> Iterator[ast.expr | None]:
    for node in ast.walk(scope):
        targets: Iterable[ast.expr] = (
            node.targets
            if isinstance(node, ast.Assign)
            else [node.target]
            if isinstance(node, ast.AnnAssign)
            else []
        )
        if any(isinstance(each, ast.Name) and each.id == name for each in targets):
            assert isinstance(node, ast.Assign | ast.AnnAssign)
            yield node.value


def _added(name: str, scope: ast.AST) -> Iterator[str]:
    for node in ast.walk(scope):
        for target in node.targets if isinstance(node, ast.Assign) else ():
            if isinstance(target, ast.Subscript) and ast.unparse(target.value) == name:
                yield _text(target.slice)


def _failures() -> Iterator[str]:
    """Yield the actions that handlers give to their `Exchange`."""
    for path in sorted((PACKAGE / "gateway").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Exchange":
                yield from (_text(each.value) for each in node.keywords if each.arg == _FAILURE)


def _text(node: ast.expr | None) -> str:
    assert isinstance(node, ast.Constant), f"no constant: {node and ast.unparse(node)}"
    assert isinstance(node.value, str)
    return node.value
