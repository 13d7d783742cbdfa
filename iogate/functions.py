"""Registry of Python functions that workflows may call, registered with the decorator `@iogate.function`.

Used by authors (the decorator), the compiler (names and signatures) and the effects (calls). Invariant: a
workflow can call only functions that a module of the setting `functions` registers.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from iogate.errors import InvalidFiles, IogateError, WorkflowError

_Callable = TypeVar("_Callable", bound=Callable[..., Any])

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-_.]{0,61}[A-Za-z0-9])?")
_SEMVER = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?")
_MARK = "__iogate_function__"


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Context of a call, passed to a function with a parameter `ctx`."""

    idempotency_key: str
    """The same for each repetition of a call; pass it to operations that must not happen twice."""
    attempt: int = 1
    run_id: str = ""
    deadline: float | None = None
    """Time of the task's timeout, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class _Mark:
    name: str
    version: str
    idempotent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A registered function, with the JSON Schemas of its annotations."""

    name: str
    version: str
    idempotent: bool
    """False: after a crash of the worker during the call, the call is not repeated."""
    callable: Callable[..., Any]
    is_async: bool
    wants_context: bool
    parameters: Mapping[str, Any] = field(repr=False)
    """Annotations by parameter name, without `ctx`."""
    open: bool = False
    """True with `**kwargs`: arguments other than `parameters` are passed, too."""
    input_schema: Mapping[str, Any] = field(repr=False)
    output_schema: Mapping[str, Any] = field(repr=False)

    @property
    def reference(self) -> str:
        """Name of the function in the `call` of a workflow."""
        return f"{self.name}:{self.version}@default"

    def bind(self, arguments: Mapping[str, Any], context: Context) -> dict[str, Any]:
        """Convert JSON arguments to keyword arguments of a registered function, by its annotated types.

        Raises WorkflowError (validation) for arguments that do not fit the signature.
        """
        bound: dict[str, Any] = {}
        for name, value in arguments.items():
            if name in self.parameters:
                try:
                    bound[name] = _converted(value, self.parameters[name])
                except msgspec.ValidationError as error:
                    raise self._misfit(f"argument {name!r}: {error}") from error
            elif self.open:
                bound[name] = value
            else:
                known = ", ".join(self.parameters) or "none"
                raise self._misfit(f"unknown argument {name!r}; its arguments are: {known}")
        missing = [name for name in self.input_schema.get("required", ()) if name not in bound]
        if missing:
            raise self._misfit(f"missing argument {missing[0]!r}")
        if self.wants_context:
            bound["ctx"] = context
        return bound

    def result(self, value: Any) -> Any:
        """Convert the result of the registered function to JSON: dataclasses become objects, tuples arrays.

        Raises WorkflowError (runtime) for a value that JSON cannot represent.
        """
        try:
            return msgspec.to_builtins(value, str_keys=True)
        except TypeError as error:
            raise WorkflowError(
                "runtime",
                title="Function returned no JSON value",
                detail=f"{self.reference} returned a {type(value).__name__}: {error}",
            ) from error

    def _misfit(self, detail: str) -> WorkflowError:
        return WorkflowError(
            "validation", title="Arguments do not fit the function", detail=f"{self.reference}: {detail}"
        )


@dataclass(frozen=True, slots=True)
class Registry:
    """All functions that workflows of this project may call."""

    functions: Mapping[tuple[str, str], Function] = field(default_factory=dict)
    complete: bool = True
    """False if there may be more functions: the source of the modules is not conclusive."""

    def get(self, name: str, version: str) -> Function | None:
        return self.functions.get((name, version))

    def names(self) -> tuple[str, ...]:
        return tuple(sorted({name for name, _ in self.functions}))

    def versions(self, name: str) -> tuple[str, ...]:
        return tuple(sorted(version for known, version in self.functions if known == name))

    def once(self) -> frozenset[str]:
        """Return the registered functions that must not be called again if the outcome is unknown."""
        return frozenset(f"{each.name}:{each.version}" for each in self if not each.idempotent)

    def __iter__(self) -> typing.Iterator[Function]:
        return iter(self.functions[key] for key in sorted(self.functions))

    def __len__(self) -> int:
        return len(self.functions)


def function(
    name: str | None = None, *, version: str = "1.0.0", idempotent: bool = True
) -> Callable[[_Callable], _Callable]:
    """Let workflows call the decorated function as `name:version@default`.

    The function itself is unchanged; `name` defaults to its Python name. Use `idempotent=False` if a
    repetition after a crash would do harm and `ctx.idempotency_key` cannot prevent it. Raises InvalidFiles
    for an invalid name or version.
    """
    if name is not None and not isinstance(name, str):
        raise TypeError('write @iogate.function("name") or @iogate.function(), with parentheses')

    def mark(target: _Callable) -> _Callable:
        chosen = name if name is not None else target.__name__
        check_names(chosen, version)
        setattr(target, _MARK, _Mark(chosen, version, idempotent))
        return target

    return mark


def check_names(name: str, version: str) -> None:
    """Check name and version of a function to register. Raises InvalidFiles if one is invalid."""
    if not _NAME.fullmatch(name):
        raise InvalidFiles(
            f"invalid function name {name!r}: expected letters, digits, '-', '_' and '.', at most 63",
            code="IOG322",
        )
    if not _SEMVER.fullmatch(version):
        raise InvalidFiles(
            f"version {version!r} of function {name!r} is not a semantic version such as 1.0.0",
            code="IOG322",
        )


def load(modules: Iterable[str], root: Path) -> Registry:
    """Import the modules that register functions, with the project's folder on the path, and return these.

    Raises InvalidFiles for a module that cannot be imported, a signature that does not fit JSON arguments, or
    two functions with the same name and version.
    """
    folder = str(root.resolve())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    found: dict[tuple[str, str], Function] = {}
    for module_name in modules:
        module = _import(module_name)
        for value in list(vars(module).values()):
            mark = getattr(value, _MARK, None) if callable(value) else None
            if not isinstance(mark, _Mark):
                continue
            key = (mark.name, mark.version)
            if key in found:
                if found[key].callable is value:
                    continue
                raise InvalidFiles(
                    f"function {mark.name}:{mark.version} is registered twice: by "
                    f"{_place(found[key].callable)} and by {_place(value)}",
                    code="IOG322",
                    hint="give one of them another version",
                )
            found[key] = describe(value, mark.name, mark.version, idempotent=mark.idempotent)
    return Registry(found)


def describe(target: Callable[..., Any], name: str, version: str, *, idempotent: bool = True) -> Function:
    """Return a Python function for the registry, with the JSON Schemas of its signature.

    Raises InvalidFiles for a signature that does not fit JSON arguments.
    """
    label = f"{name}:{version} ({_place(target)})"
    try:
        hints = {
            name: Any if hint is object else hint
            for name, hint in typing.get_type_hints(target, include_extras=True).items()
        }
    except Exception as error:  # annotations are the author's code and may raise any exception
        raise InvalidFiles(
            f"annotations of function {label} cannot be read: {error}", code="IOG322"
        ) from error
    parameters: dict[str, Any] = {}
    required: list[str] = []
    wants_context = open_ended = False
    for parameter in inspect.signature(target).parameters.values():
        annotation = hints.get(parameter.name, Any)
        if parameter.name == "ctx" or annotation is Context:
            if parameter.name != "ctx":
                raise InvalidFiles(
                    f'parameter "{parameter.name}" of function {label} takes the context and must be '
                    'named "ctx"',
                    code="IOG322",
                )
            wants_context = True
        elif parameter.kind is parameter.VAR_KEYWORD:
            open_ended = True
        elif parameter.kind in (parameter.VAR_POSITIONAL, parameter.POSITIONAL_ONLY):
            raise InvalidFiles(
                f'parameter "{parameter.name}" of function {label} is positional: '
                "`with` passes keyword arguments",
                code="IOG322",
            )
        else:
            parameters[parameter.name] = annotation
            if parameter.default is parameter.empty:
                required.append(parameter.name)
    properties, definitions = _schemas(parameters, label)
    output, output_definitions = _schemas({"return": hints.get("return", Any)}, label)
    return Function(
        name=name,
        version=version,
        idempotent=idempotent,
        callable=target,
        is_async=inspect.iscoroutinefunction(inspect.unwrap(target)),
        wants_context=wants_context,
        parameters=parameters,
        open=open_ended,
        input_schema={
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": open_ended,
            **({"$defs": definitions} if definitions else {}),
        },
        output_schema={**output["return"], **({"$defs": output_definitions} if output_definitions else {})},
    )


def _converted(value: Any, annotation: Any) -> Any:
    """Convert a JSON value to a registered function's type; 1.0 counts as an integer, as in JSON Schema."""
    try:
        return _completed(msgspec.convert(value, annotation))
    except msgspec.ValidationError:
        with suppress(msgspec.ValidationError):
            return _completed(msgspec.convert(_whole(value), annotation))
        raise


def _whole(value: Any) -> Any:
    match value:
        case float() if value.is_integer():
            return int(value)
        case list():
            return [_whole(each) for each in value]
        case dict():
            return {name: _whole(each) for name, each in value.items()}
        case _:
            return value


def _completed(value: Any) -> Any:
    """Set the defaults of dataclasses that functions are annotated with: msgspec leaves them on the class."""
    match value:
        case dict():
            for each in value.values():
                _completed(each)
        case list() | tuple() | set() | frozenset():
            for each in value:
                _completed(each)
        case _ if is_dataclass(value):
            for member in fields(value):
                if hasattr(value, member.name):
                    object.__setattr__(value, member.name, _completed(getattr(value, member.name)))
    return value


def _schemas(annotations: Mapping[str, Any], label: str) -> tuple[dict[str, Any], dict[str, Any]]:
    names: Sequence[str] = tuple(annotations)
    for name in names:
        try:
            msgspec.json.schema(annotations[name])
        except (TypeError, NotImplementedError) as error:
            subject = "the result" if name == "return" else f'parameter "{name}"'
            raise InvalidFiles(
                f"{subject} of function {label} has a type that JSON cannot represent: {annotations[name]!r}",
                code="IOG322",
                hint="use str, int, float, bool, None, list, dict, Literal, a TypedDict or a dataclass",
            ) from error
    schemas, definitions = msgspec.json.schema_components(
        tuple(annotations.values()), ref_template="#/$defs/{name}"
    )
    return dict(zip(names, schemas, strict=True)), definitions


def _import(name: str) -> types.ModuleType:
    try:
        return importlib.import_module(name)
    except IogateError:
        raise
    except Exception as error:  # a module is the author's code and may raise any exception
        missing = isinstance(error, ModuleNotFoundError) and error.name == name.partition(".")[0]
        raise InvalidFiles(
            f'cannot import module "{name}" of the setting functions: {type(error).__name__}: {error}',
            code="IOG322",
            hint=f"write {name.replace('.', '/')}.py in the project's folder, or correct the name"
            if missing
            else "",
        ) from error


def _place(target: Callable[..., Any]) -> str:
    return f"{getattr(target, '__module__', '?')}.{getattr(target, '__qualname__', '?')}"
