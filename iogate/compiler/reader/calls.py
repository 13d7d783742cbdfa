"""Tasks that call: over HTTP, functions of the workflow, registered functions."""

from __future__ import annotations

import re
from typing import Final, Literal, cast

from iogate.compiler.reader.endpoints import endpoint, policy, resource
from iogate.compiler.reader.events import iterator
from iogate.compiler.reader.index import Place
from iogate.compiler.reader.reader import EMPTY, Reader
from iogate.compiler.tasks import Body, Function, Http, Inline, OpenApi, Unresolved, Unsupported
from iogate.documents.task_kinds import CALLS
from iogate.json_values import JsonObject

_FUNCTION: Final = re.compile(r"(?P<name>[^:@/]+):(?P<version>[^:@/]+)@default")

_Output = Literal["raw", "content", "response"]


def call(reader: Reader, place: Place, pointer: str, source: JsonObject) -> Body:
    """Read the body of a `call`."""
    function: str = source["call"]
    given: JsonObject = source.get("with") or EMPTY
    place = place.at("with")
    for name, value in given.items():
        # A subscription holds tasks, and they are read on their own.
        if name != "subscription":
            reader.note(place.at(name), value)
    if function == "http":
        return _http(reader, place, given)
    if function == "openapi":
        return _openapi(reader, place, pointer, given)
    if function in CALLS:
        return _unsupported(reader, place, pointer, function, given)
    arguments = reader.value(given)
    if pointer in reader.references.calls:
        return Inline(reader.references.calls[pointer], arguments, foreign=True)
    if function in (reader.use.get("functions") or EMPTY):
        return Inline(function, arguments)
    if found := _FUNCTION.fullmatch(function):
        return Function(found["name"], found["version"], arguments)
    return Unresolved(function, arguments)


def _http(reader: Reader, place: Place, given: JsonObject) -> Http:
    return Http(
        method=reader.value(given["method"]),
        endpoint=endpoint(reader, place.at("endpoint"), given["endpoint"]),
        headers=reader.value(given.get("headers") or {}),
        query=reader.value(given.get("query") or {}),
        body=reader.value(given["body"]) if "body" in given else None,
        output=cast("_Output", given.get("output") or "content"),
        redirect=given.get("redirect") is True,
    )


def _openapi(reader: Reader, place: Place, pointer: str, given: JsonObject) -> OpenApi:
    presented = given.get("authentication")
    document = resource(reader, "openapi", place.at("document"), given["document"])
    return OpenApi(
        operation=reader.references.operations.get(pointer),
        name=reader.value(given["operationId"]),
        document=document,
        stored=reader.references.documents.get(pointer, ""),
        parameters=reader.value(given.get("parameters") or {}),
        policy=policy(reader, place.at("authentication"), presented) if presented else None,
        output=cast("_Output", given.get("output") or "content"),
        redirect=given.get("redirect") is True,
        foreign=document.foreign or pointer in reader.references.foreign,
    )


def _unsupported(reader: Reader, place: Place, pointer: str, protocol: str, given: JsonObject) -> Unsupported:
    each = (given.get("subscription") or EMPTY).get("foreach")
    if each:
        iterator(reader, place.at("subscription", "foreach"), pointer, each)
    return Unsupported(f"call: {protocol}")
