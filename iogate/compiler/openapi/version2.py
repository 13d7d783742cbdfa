"""Conversion of OpenAPI 2.0 to version 3: servers, parameters, bodies.

Used by `document`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast
from urllib.parse import urlsplit

from iogate.compiler.openapi.document_references import Unusable, sequence
from iogate.compiler.openapi.media import preferred
from iogate.compiler.openapi.operation import Body, Parameter, Place, Style
from iogate.json_values import JsonObject
from iogate.messages import quoted

_PLACES = {"path", "query", "header"}

_FORMATS: Mapping[str, tuple[Style, bool, str]] = {
    "csv": ("form", False, ""),
    "ssv": ("spaceDelimited", False, ""),
    "tsv": ("form", False, "\t"),
    "pipes": ("pipeDelimited", False, ""),
    "multi": ("form", True, ""),
}


def server(document: JsonObject, operation: JsonObject, url: str | None) -> str:
    """Return the server of OpenAPI 2.0: scheme, host and base path, or those of the document's address."""
    own = urlsplit(url or "")
    schemes = sequence(operation.get("schemes") or document.get("schemes"))
    schemes = schemes or ([own.scheme] if own.scheme else [])
    usable = [scheme for scheme in ("https", "http") if scheme in schemes]
    host = document.get("host") or own.netloc
    if not host or "{" in str(host):
        raise Unusable('it has no "host", and a file has none that it could be taken from')
    if schemes and not usable:
        raise Unusable(f"its scheme is {quoted(schemes[0])}, not http or https")
    base = str(document.get("basePath") or "/")
    return f"{usable[0] if usable else 'https'}://{host}/{base.lstrip('/')}"


def parameters(raw: Iterable[JsonObject]) -> tuple[Parameter, ...]:
    """Return the parameters of path, query and headers of an OpenAPI 2.0 operation."""
    return tuple(_parameter(each) for each in raw if str(each.get("in")) in _PLACES)


def _parameter(source: JsonObject) -> Parameter:
    place = cast("Place", source["in"])
    style, explode, separator = _FORMATS.get(str(source.get("collectionFormat") or "csv"), _FORMATS["csv"])
    return Parameter(
        name=source["name"],
        place=place,
        style=style if place == "query" else "simple",
        explode=explode,
        separator=separator,
        required=source.get("required") is True or place == "path",
    )


def body(
    document: JsonObject,
    operation: JsonObject,
    raw: Iterable[JsonObject],
) -> Body | None:
    """Return the request body of an OpenAPI 2.0 operation: its `body`, or the form of its `formData`."""
    consumed = [str(each) for each in sequence(operation.get("consumes") or document.get("consumes"))]
    fields = [each for each in raw if each.get("in") == "formData"]
    whole = next((each for each in raw if each.get("in") == "body"), None)
    if whole is not None:
        return Body(
            media=preferred(consumed or ["application/json"]),
            required=whole.get("required") is True,
            alias=whole["name"],
        )
    if not fields:
        return None
    files = any(each.get("type") == "file" for each in fields)
    forms = [each for each in consumed if each.startswith(("multipart/", "application/x-www-form"))]
    plain = "application/x-www-form-urlencoded"
    media = "multipart/form-data" if files else plain if plain in forms or not forms else forms[0]
    return Body(
        media=media,
        names=tuple(each["name"] for each in fields),
        needed=tuple(each["name"] for each in fields if each.get("required") is True),
        fields={each["name"]: "application/octet-stream" for each in fields if each.get("type") == "file"},
    )


def produced(document: JsonObject, operation: JsonObject) -> list[str]:
    return [str(each) for each in sequence(operation.get("produces") or document.get("produces"))]
