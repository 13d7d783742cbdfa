"""Static discovery of Python functions for workflows: parses the source of modules, never imports them.

Used by `validate`, which must not run a project's code; `apply` and the workers import the modules instead
(`iogate.functions`). Pure, except that it reads files. Invariants: no code of a module or its packages is
executed; if the source is not conclusive, `Registry.complete` is False.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, Final, Never

from iogate.errors import InvalidFiles
from iogate.functions import Function, Registry, check_names

_TYPES: Final = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "list": "array",
    "dict": "object",
    "None": "null",
}
_API: Final = frozenset({"iogate", "iogate.functions"})
_DEEPEST: Final = 20
"""Limit of nested imports that are followed."""


@dataclass
class _Module:
    """Functions that the source of a module declares, by their names in the module."""

    functions: dict[str, Function] = field(default_factory=dict)
    complete: bool = True


def read(modules: Iterable[str], root: Path) -> Registry:
    """Return the functions that the source of these modules declares, with the project's folder on the path.

    Raises InvalidFiles for a missing module, a syntax error, a signature that does not fit JSON arguments, or
    two functions with the same name and version.
    """
    reader = _Reader(root.resolve())
    found: dict[tuple[str, str], Function] = {}
    complete = True
    for name in modules:
        module = reader.module(name)
        complete = complete and module.complete
        for function in module.functions.values():
            key = (function.name, function.version)
            other = found.setdefault(key, function)
            if other.callable is not function.callable:
                raise InvalidFiles(
                    f"function {function.name}:{function.version} is registered twice: by "
                    f"{_place(other)} and by {_place(function)}",
                    code="IOG322",
                    hint="give one of them another version",
                )
    return Registry(found, complete=complete)


class _Reader:
    def __init__(self, root: Path) -> None:
        self._path = [str(root), *(each for each in sys.path if each)]
        self._root = root
        self._modules: dict[str, _Module] = {}
        self._depth = 0

    def module(self, name: str) -> _Module:
        """Read the declarations in a Python module that the setting `functions` names.

        Raises InvalidFiles if it does not exist.
        """
        file = self._file(name)
        if file is None:
            raise InvalidFiles(
                f'module "{name}" of the setting functions does not exist',
                code="IOG322",
                hint=f"write {name.replace('.', '/')}.py in the project's folder, or correct the name",
            )
        return self._read(name, file)

    def imported(self, name: str) -> _Module:
        """Read the declarations of a Python module that another one imports; one without source has none."""
        file = self._file(name) if self._depth < _DEEPEST else None
        return _Module() if file is None else self._read(name, file)

    def _read(self, name: str, file: Path) -> _Module:
        if name in self._modules:
            return self._modules[name]
        module = self._modules[name] = _Module()
        if file.suffix != ".py":
            module.complete = False  # a compiled module
            return module
        try:
            tree = ast.parse(file.read_bytes(), str(file))
        except (SyntaxError, ValueError, OSError, RecursionError) as error:
            raise InvalidFiles(
                f'cannot read module "{name}" of the setting functions: {type(error).__name__}: {error}',
                code="IOG322",
            ) from error
        self._depth += 1
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        _Source(self, module, name, package).visit(tree)
        self._depth -= 1
        return module

    def _file(self, name: str) -> Path | None:
        """Return the file of a Python module with declarations; `find_spec` would import its packages."""
        path: Sequence[str] | None = self._path
        spec = None
        for part in range(1, name.count(".") + 2):
            spec = PathFinder.find_spec(".".join(name.split(".")[:part]), path)
            if spec is None:
                return None
            path = spec.submodule_search_locations
        return Path(spec.origin) if spec is not None and spec.origin else None


class _Source:
    """Visitor of the top level of one module, which tracks names of iogate's decorator and of functions."""

    def __init__(self, reader: _Reader, module: _Module, name: str, package: str) -> None:
        self._reader = reader
        self._module = module
        self._name = name
        self._package = package
        self._api: set[str] = set()
        """Names that refer to `iogate` or `iogate.functions` in the module."""
        self._decorators: set[str] = set()

    def visit(self, tree: ast.Module) -> None:
        """Collect the functions that the source of a Python module declares."""
        used = 0
        for statement in _statements(tree.body):
            match statement:
                case ast.Import():
                    for alias in statement.names:
                        if alias.name in _API:
                            self._api.add(alias.asname or alias.name)
                            self._api.add(alias.asname or alias.name.partition(".")[0])
                case ast.ImportFrom():
                    self._import_from(statement)
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    self._module.functions.pop(statement.name, None)
                    for decorator in statement.decorator_list:
                        if isinstance(decorator, ast.Call) and self._is_decorator(decorator.func):
                            used += 1
                            self._declare(statement, decorator)
                case _:
                    pass
        mentioned = sum(self._is_decorator(node) for node in ast.walk(tree) if isinstance(node, ast.expr))
        if mentioned > used:
            self._module.complete = False  # the decorator is used in another way

    def _import_from(self, statement: ast.ImportFrom) -> None:
        source = statement.module or ""
        if statement.level:
            parts = self._package.split(".")
            above = parts[: len(parts) - statement.level + 1]
            source = ".".join([*above, *([source] if source else [])])
        if source in _API:
            for alias in statement.names:
                if alias.name == "function":
                    self._decorators.add(alias.asname or alias.name)
                elif alias.name == "functions":
                    self._api.add(alias.asname or alias.name)
            return
        if source.partition(".")[0] in sys.stdlib_module_names:
            return
        other = self._reader.imported(source)
        for alias in statement.names:
            if alias.name == "*":
                self._module.functions.update(other.functions)
                self._module.complete = self._module.complete and other.complete
            elif alias.name in other.functions:
                self._module.functions[alias.asname or alias.name] = other.functions[alias.name]
            elif not other.complete:
                self._module.complete = False

    def _is_decorator(self, node: ast.expr) -> bool:
        match node:
            case ast.Name(id=name):
                return name in self._decorators
            case ast.Attribute(value=value, attr="function"):
                return ast.unparse(value) in self._api
        return False

    def _declare(self, target: ast.FunctionDef | ast.AsyncFunctionDef, decorator: ast.Call) -> None:
        try:
            given = {
                keyword.arg: ast.literal_eval(keyword.value) for keyword in decorator.keywords if keyword.arg
            }
            names = [ast.literal_eval(argument) for argument in decorator.args]
        except ValueError:
            self._module.complete = False  # the name or version is computed
            return
        if len(given) < len(decorator.keywords):
            self._module.complete = False
            return
        name = names[0] if names else given.get("name")
        chosen = target.name if name is None else str(name)
        version = str(given.get("version", "1.0.0"))
        check_names(chosen, version)
        self._module.functions[target.name] = _function(
            target,
            chosen,
            version,
            place=f"{self._name}.{target.name}",
            idempotent=given.get("idempotent", True),
        )


def _statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements that may hold declarations: the top level, also in compound statements."""
    for statement in body:
        yield statement
        match statement:
            case ast.If() | ast.For() | ast.While():
                yield from _statements([*statement.body, *statement.orelse])
            case ast.With():
                yield from _statements(statement.body)
            case ast.Try():
                handled = [each for handler in statement.handlers for each in handler.body]
                yield from _statements([*statement.body, *handled, *statement.orelse, *statement.finalbody])


def _function(
    target: ast.FunctionDef | ast.AsyncFunctionDef, name: str, version: str, *, place: str, idempotent: bool
) -> Function:
    label = f"{name}:{version} ({place})"
    arguments = target.args
    for positional in (*arguments.posonlyargs, *([arguments.vararg] if arguments.vararg else [])):
        raise InvalidFiles(
            f'parameter "{positional.arg}" of function {label} is positional: '
            "`with` passes keyword arguments",
            code="IOG322",
        )
    named = [*arguments.args, *arguments.kwonlyargs]
    defaults = [None] * (len(arguments.args) - len(arguments.defaults)) + [*arguments.defaults]
    defaults += arguments.kw_defaults
    properties = {each.arg: _schema(each.annotation) for each in named if each.arg != "ctx"}
    required = [
        each.arg
        for each, default in zip(named, defaults, strict=True)
        if default is None and each.arg != "ctx"
    ]

    def unloaded(**_: Any) -> Never:
        raise RuntimeError(f"{place} was read, not imported")

    unloaded.__module__, unloaded.__qualname__ = place.rpartition(".")[0], target.name
    return Function(
        name=name,
        version=version,
        idempotent=bool(idempotent),
        callable=unloaded,
        is_async=isinstance(target, ast.AsyncFunctionDef),
        wants_context=any(each.arg == "ctx" for each in named),
        parameters=dict.fromkeys(properties, Any),
        open=arguments.kwarg is not None,
        input_schema={
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": arguments.kwarg is not None,
        },
        output_schema={},
    )


def _schema(annotation: ast.expr | None) -> Mapping[str, Any]:
    """Return the JSON Schema of an annotation in a declaration; for one of no plain type, of any value."""
    match annotation:
        case ast.Name(id=name) if name in _TYPES:
            return {"type": _TYPES[name]}
        case ast.Constant(value=None):
            return {"type": "null"}
        case ast.Constant(value=str(text)):
            try:
                return _schema(ast.parse(text, mode="eval").body)
            except SyntaxError:
                return {}
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return {"anyOf": [_schema(left), _schema(right)]}
        case ast.Subscript(value=ast.Name(id="Optional"), slice=inner):
            return {"anyOf": [_schema(inner), {"type": "null"}]}
        case ast.Subscript(value=ast.Name(id="list"), slice=inner):
            return {"type": "array", "items": _schema(inner)}
        case ast.Subscript(value=ast.Name(id="dict"), slice=ast.Tuple(elts=[_, inner])):
            return {"type": "object", "additionalProperties": _schema(inner)}
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inner):
            options = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            if all(isinstance(each, ast.Constant) for each in options):
                return {"enum": [each.value for each in options if isinstance(each, ast.Constant)]}
    return {}


def _place(function: Function) -> str:
    return f"{function.callable.__module__}.{function.callable.__qualname__}"
