"""Types of lists and mappings, and the type of any value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Literal, TypeVar

from iogate.value_types.faults import Fault, InvalidValue, collecting, wrong_form, wrong_type

Form = Literal["text", "number", "boolean", "list", "map"]
Schema = Mapping[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, eq=False)
class ValueType(Generic[T]):
    """Type of a value: `read` raises InvalidValue, `schema` returns the JSON Schema for editors."""

    read: Callable[[Any], T]
    schema: Callable[[], Schema]
    form: Form = "map"
    """Form in YAML; an environment variable with a list or a map contains JSON."""
    keys: Mapping[str, Key] = field(default_factory=dict)
    """Keys of a record."""


@dataclass(frozen=True, kw_only=True)
class Key:
    """Key of a record."""

    type: ValueType[Any]
    required: bool = True
    description: str = ""


def record(
    keys: Mapping[str, Key],
    build: Callable[..., T],
    *,
    near: Mapping[str, str] | None = None,
    null_is_absent: bool = False,
) -> ValueType[T]:
    """Return the value type of mappings with these keys; `build` gets the values of those that are given."""

    def _read(value: Any) -> T:
        if not isinstance(value, Mapping):
            raise wrong_type("a mapping", value)
        found: dict[str, Any] = {}
        faults: list[Fault] = []
        for name, key in keys.items():
            if name not in value:
                if key.required:
                    faults.append(Fault(kind="missing", path=(name,)))
            elif value[name] is not None or key.required:
                with collecting(faults, name):
                    found[name] = key.type.read(value[name])
            elif not null_is_absent:
                faults.append(Fault(kind="null", path=(name,)))
        free = tuple(name for name in keys if name not in value)
        faults += (
            Fault(kind="unknown", path=(name,), choices=tuple(keys), free=free, near=near or {})
            for name in value
            if name not in keys
        )
        if faults:
            raise InvalidValue(*faults)
        return build(**found)

    return ValueType(read=_read, schema=lambda: record_schema(keys), keys=keys)


def record_schema(keys: Mapping[str, Key]) -> Schema:
    """Return the JSON Schema of a record, a collection with these keys."""
    properties = {
        name: {**key.type.schema(), **({"description": key.description} if key.description else {})}
        for name, key in keys.items()
    }
    required = [name for name, key in keys.items() if key.required]
    return {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        **({"required": required} if required else {}),
    }


def with_definitions(schema: Schema, types: Mapping[str, ValueType[Any]]) -> dict[str, Any]:
    """Return the JSON Schema of a collection with each of these value types only once, in `$defs`."""
    bodies = {name: type_.schema() for name, type_ in types.items()}

    def refer(value: Any, inside: str = "") -> Any:
        if isinstance(value, list):
            return [refer(each) for each in value]
        if not isinstance(value, Mapping):
            return value
        plain = {key: each for key, each in value.items() if key != "description"}
        for name, body in bodies.items():
            if plain == body and name != inside:
                note = {"description": value["description"]} if "description" in value else {}
                return {"$ref": f"#/$defs/{name}", **note}
        return {key: refer(each) for key, each in value.items()}

    definitions = {name: refer(body, name) for name, body in bodies.items()}
    found: dict[str, Any] = refer(schema)
    return {**found, "$defs": {**found.get("$defs", {}), **definitions}}


def map_of(name: ValueType[str], item: ValueType[T], expected: str = "a mapping") -> ValueType[dict[str, T]]:
    """Return the value type of mappings with free names."""

    def _read(value: Any) -> dict[str, T]:
        if not isinstance(value, Mapping):
            raise wrong_type(expected, value)
        found: dict[str, T] = {}
        faults: list[Fault] = []
        for key, each in value.items():
            try:
                name.read(key)
            except InvalidValue as invalid:
                faults += (replace(fault, path=(key,), on_key=True) for fault in invalid.faults)
            with collecting(faults, key):
                found[key] = item.read(each)
        if faults:
            raise InvalidValue(*faults)
        return found

    return ValueType(read=_read, schema=lambda: {"type": "object", "additionalProperties": item.schema()})


def list_of(item: ValueType[T]) -> ValueType[list[T]]:
    """Return the value type of lists, which reports each invalid item."""

    def _read(value: Any) -> list[T]:
        if not isinstance(value, list | tuple):
            raise wrong_type("a list", value)
        found: list[T] = []
        faults: list[Fault] = []
        for number, each in enumerate(value):
            with collecting(faults, number):
                found.append(item.read(each))
        if faults:
            raise InvalidValue(*faults)
        return found

    return ValueType(read=_read, form="list", schema=lambda: {"type": "array", "items": item.schema()})


def distinct(item: ValueType[T], expected: str) -> ValueType[tuple[T, ...]]:
    """Return the value type of lists that are read without duplicates; `expected` describes the list."""

    def _read(value: Any) -> tuple[T, ...]:
        if not isinstance(value, list | tuple):
            raise wrong_form(expected)
        try:
            return tuple(dict.fromkeys(item.read(each) for each in value))
        except InvalidValue:
            raise wrong_form(expected) from None

    return ValueType(read=_read, form="list", schema=lambda: {"type": "array", "items": item.schema()})


def deferred(load: Callable[[], ValueType[T]]) -> ValueType[T]:
    """Return a value type whose module is imported on first use."""
    return ValueType(read=lambda value: load().read(value), schema=lambda: load().schema())
