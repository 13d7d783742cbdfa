"""OpenAPI parameter styles: serialization of values in path, query, header and cookie."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from iogate.compiler.openapi import Parameter
from iogate.errors import WorkflowError
from iogate.json_values import scalar_to_text, to_json

_SEPARATORS = {"spaceDelimited": "%20", "pipeDelimited": "%7C"}


def serialize_path(parameter: Parameter, value: Any) -> str:
    """Return a segment of the path, percent-encoded: `simple`, `label` or `matrix`."""
    if parameter.media:
        return _encoded(to_json(value))
    match parameter.style, value:
        case "label", Mapping():
            pairs = _pairs(parameter, value)
            return "." + (".".join(f"{n}={v}" for n, v in pairs) if parameter.explode else _flat(pairs, ","))
        case "label", list():
            return "." + ("." if parameter.explode else ",").join(_items(parameter, value))
        case "label", _:
            return "." + _scalar(parameter, value)
        case "matrix", Mapping():
            pairs = _pairs(parameter, value)
            if parameter.explode:
                return "".join(f";{name}={text}" for name, text in pairs)
            return f";{_encoded(parameter.name)}={_flat(pairs, ',')}"
        case "matrix", list():
            items, name = _items(parameter, value), _encoded(parameter.name)
            if parameter.explode:
                return "".join(f";{name}={text}" for text in items)
            return f";{name}={','.join(items)}"
        case "matrix", _:
            return f";{_encoded(parameter.name)}={_scalar(parameter, value)}"
        case _:
            return _simple(parameter, value)


def serialize_query(parameter: Parameter, value: Any) -> list[str]:
    """Return parts `name=value` of the query, percent-encoded: `form`, delimited, or `deepObject`."""
    name = _encoded(parameter.name)
    if parameter.media:
        return [f"{name}={_encoded(to_json(value))}"]
    match value:
        case Mapping():
            pairs = _pairs(parameter, value)
            if parameter.style == "deepObject":
                return [f"{name}%5B{key}%5D={text}" for key, text in pairs]
            if parameter.explode and parameter.style == "form":
                return [f"{key}={text}" for key, text in pairs]
            return [f"{name}={_flat(pairs, _separator(parameter))}"]
        case list():
            items = _items(parameter, value)
            if parameter.explode:
                return [f"{name}={text}" for text in items]
            return [f"{name}={_separator(parameter).join(items)}"] if items else []
        case _:
            return [f"{name}={_scalar(parameter, value)}"]


def serialize_header(parameter: Parameter, value: Any) -> str:
    """Return the value of a header: `simple`, not encoded."""
    if parameter.media:
        return to_json(value)
    match value:
        case Mapping():
            pairs = [(str(key), scalar_text(parameter, each)) for key, each in value.items()]
            if parameter.explode:
                return ",".join(f"{key}={text}" for key, text in pairs)
            return _flat(pairs, ",")
        case list():
            return ",".join(scalar_text(parameter, each) for each in value)
        case _:
            return scalar_text(parameter, value)


def serialize_cookies(parameter: Parameter, value: Any) -> list[str]:
    """Return pairs of the header Cookie: `form`."""
    if isinstance(value, list | Mapping) and not parameter.media:
        return serialize_query(parameter, value)
    return [f"{_encoded(parameter.name)}={_encoded(serialize_header(parameter, value))}"]


def scalar_text(parameter: Parameter, value: Any) -> str:
    """Return the scalar value of an OpenAPI parameter as text.

    Raises WorkflowError for an object or array inside another.
    """
    text = scalar_to_text(value)
    if text is None:
        raise parameter_error(
            parameter, "holds an array or object inside of another, which its style cannot write"
        )
    return text


def parameter_error(parameter: Parameter, why: str) -> WorkflowError:
    """Return the error of a parameter whose value cannot be sent."""
    return WorkflowError(
        "expression", title="OpenAPI call cannot be made", detail=f'parameter "{parameter.name}" {why}'
    )


def _simple(parameter: Parameter, value: Any) -> str:
    match value:
        case Mapping():
            pairs = _pairs(parameter, value)
            return ",".join(f"{n}={v}" for n, v in pairs) if parameter.explode else _flat(pairs, ",")
        case list():
            return ",".join(_items(parameter, value))
        case _:
            return _scalar(parameter, value)


def _separator(parameter: Parameter) -> str:
    if parameter.separator:
        return quote(parameter.separator)
    return _SEPARATORS.get(parameter.style, ",")


def _pairs(parameter: Parameter, value: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (_encoded(str(name)), _scalar(parameter, each)) for name, each in value.items() if each is not None
    ]


def _items(parameter: Parameter, value: list[Any]) -> list[str]:
    return [_scalar(parameter, each) for each in value]


def _flat(pairs: list[tuple[str, str]], separator: str) -> str:
    def each() -> Iterator[str]:
        for name, text in pairs:
            yield name
            yield text

    return separator.join(each())


def _scalar(parameter: Parameter, value: Any) -> str:
    return _encoded(scalar_text(parameter, value))


def _encoded(text: str) -> str:
    return quote(text, safe="")
