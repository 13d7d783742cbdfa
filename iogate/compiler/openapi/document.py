"""Search of an OpenAPI document, of version 2.0, 3.0 or 3.1, for one of its operations.

Reads no more of a document than the operation needs, so a fault elsewhere in it is no fault of the call.
References are followed inside the document only, and not in circles.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast, get_args
from urllib.parse import urljoin, urlsplit

from iogate.compiler.openapi import version2
from iogate.compiler.openapi.document_references import References, Unusable, mapping, sequence
from iogate.compiler.openapi.media import accepted, is_form, preferred
from iogate.compiler.openapi.operation import Body, Operation, Parameter, Place, Style
from iogate.json_values import JsonObject
from iogate.messages import listed, nearest, quoted

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_PLACES = ("path", "query", "header", "cookie")
_STYLES: Mapping[str, Style] = {"path": "simple", "query": "form", "header": "simple", "cookie": "form"}
_IGNORED = {"accept", "content-type", "authorization"}
"""Header parameters that OpenAPI says mean nothing."""
_VARIABLE = re.compile(r"\{([^{}]+)\}")


def find(document: Any, operation_id: str, *, url: str | None) -> Operation:
    """Return the operation with an id in an OpenAPI document; `url` is its own address, None for a file.

    Raises Unusable where there is none, or the document does not say how to call it.
    """
    if not isinstance(document, Mapping):
        raise Unusable("it is no OpenAPI document: a mapping was expected")
    version = str(document.get("openapi") or document.get("swagger") or "")
    if not version.startswith(("2.0", "3.0", "3.1", "3.2")):
        said = f"its version is {quoted(version)}" if version else 'it has neither "openapi" nor "swagger"'
        raise Unusable(f"it is no OpenAPI document of a version that is read (2.0, 3.0, 3.1): {said}")
    references = References(document)
    path, item, method, operation = _entry(references, operation_id)
    old = version.startswith("2")
    raw = _parameters(references, item, operation)
    if old:
        server = absolute(version2.server(document, operation, url), None)
        parameters = version2.parameters(raw)
        body = version2.body(document, operation, raw)
        accept = version2.produced(document, operation)
    else:
        server = _server(document, item, operation, url)
        parameters = tuple(_parameter(each) for each in raw if _matters(each))
        body = _body(references, operation)
        accept = _produced(references, operation)
    target = server.rstrip("/") + path
    _complete(target, parameters)
    return Operation(
        id=operation_id,
        method=method.upper(),
        url=target,
        accept=accepted(accept),
        parameters=parameters,
        body=body,
        foreign=url is not None and urlsplit(url).hostname != urlsplit(target).hostname,
    )


def _entry(references: References, operation_id: str) -> tuple[str, JsonObject, str, JsonObject]:
    known: list[str] = []
    for path, item, method, operation in _operations(references):
        name = operation.get("operationId")
        if name == operation_id:
            return path, item, method, operation
        if isinstance(name, str):
            known.append(name)
    near = nearest(operation_id, known)
    there = "none of its operations has an operationId"
    if known:
        there = f"it has {listed(known[:8])}" + (f" and {len(known) - 8} more" if len(known) > 8 else "")
    raise Unusable(f"no operation {quoted(operation_id)}: {there}", near=near or "")


def _operations(
    references: References,
) -> Iterator[tuple[str, JsonObject, str, JsonObject]]:
    for path, raw in mapping(references.document.get("paths")).items():
        try:
            item = references.follow(raw)
        except Unusable:
            continue  # another path's business
        if isinstance(item, Mapping):
            for method in METHODS:
                if isinstance(item.get(method), Mapping):
                    yield str(path), item, method, item[method]


def _parameters(references: References, item: JsonObject, operation: JsonObject) -> list[JsonObject]:
    """Return the parameters of an operation in an OpenAPI document, which win over those of the path."""
    found: dict[tuple[str, str], JsonObject] = {}
    for holder in (item, operation):
        for raw in sequence(holder.get("parameters")):
            parameter = references.follow(raw)
            if not isinstance(parameter, Mapping) or not isinstance(parameter.get("name"), str):
                raise Unusable("one of the operation's parameters has no name")
            found[parameter["name"], str(parameter.get("in"))] = parameter
    return list(found.values())


def _matters(parameter: JsonObject) -> bool:
    return not (parameter.get("in") == "header" and parameter["name"].lower() in _IGNORED)


def _parameter(source: JsonObject) -> Parameter:
    place = source.get("in")
    if place not in _PLACES:
        raise Unusable(f"parameter {quoted(source['name'])} is in {quoted(place)}, not in {listed(_PLACES)}")
    style = source.get("style")
    style = style if style in get_args(Style) else _STYLES[place]
    explode = source.get("explode")
    return Parameter(
        name=source["name"],
        place=cast("Place", place),
        style=cast("Style", style),
        explode=explode if isinstance(explode, bool) else style == "form",
        required=source.get("required") is True or place == "path",
        media=str(next(iter(mapping(source.get("content"))), "")),
    )


def _complete(address: str, parameters: Iterable[Parameter]) -> None:
    named = {parameter.name for parameter in parameters if parameter.place == "path"}
    for name in _VARIABLE.findall(address):
        if name not in named:
            raise Unusable(f"its address {address} has {{{name}}}, and no parameter says what it is")


def _body(references: References, operation: JsonObject) -> Body | None:
    source = mapping(references.follow(operation.get("requestBody")))
    content = mapping(source.get("content"))
    if not content:
        return None
    media = preferred(content)
    described = mapping(content.get(media))
    required = source.get("required") is True
    if not is_form(media):
        return Body(media=media, required=required)
    schema = mapping(references.follow(described.get("schema")))
    encoding = mapping(described.get("encoding"))
    fields: dict[str, str] = {}
    for name, raw in mapping(schema.get("properties")).items():
        member = mapping(references.follow(raw))
        said = mapping(encoding.get(name)).get("contentType")
        if isinstance(said, str):
            fields[name] = said.partition(",")[0].strip()
        elif _is_binary(member):
            fields[name] = str(member.get("contentMediaType") or "application/octet-stream")
    return Body(
        media=media,
        required=required,
        needed=tuple(str(name) for name in sequence(schema.get("required"))),
        fields=fields,
    )


def _is_binary(schema: JsonObject) -> bool:
    return str(schema.get("format")) in {"binary", "byte"} or "contentMediaType" in schema


def _produced(references: References, operation: JsonObject) -> list[str]:
    found: dict[str, None] = {}
    for status, raw in mapping(operation.get("responses")).items():
        if str(status).startswith("2") or status == "default":
            response = mapping(references.follow(raw))
            found.update(dict.fromkeys(mapping(response.get("content"))))
    return list(found)


def _server(document: JsonObject, item: JsonObject, operation: JsonObject, url: str | None) -> str:
    servers = operation.get("servers") or item.get("servers") or document.get("servers") or [{"url": "/"}]
    first = mapping(next(iter(sequence(servers)), None))
    if not isinstance(first.get("url"), str):
        raise Unusable("its first server has no url")
    variables = mapping(first.get("variables"))

    def value_of(variable: re.Match[str]) -> str:
        default = mapping(variables.get(variable[1])).get("default")
        if default is None:
            raise Unusable(f"variable {{{variable[1]}}} of server {first['url']} has no default")
        return str(default)

    return absolute(_VARIABLE.sub(value_of, first["url"]), url)


def absolute(server: str, url: str | None) -> str:
    """Return a server's address, which may be relative to that of its OpenAPI document."""
    try:
        whole = server if url is None else urljoin(url, server)
        parts = urlsplit(whole)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        usable = False
    if not usable:
        raise Unusable(
            f"its server {quoted(server)} is no http:// or https:// address"
            + (", and a file has none that it could be relative to" if url is None else "")
        )
    return whole
