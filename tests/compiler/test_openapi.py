"""Operations are found in OpenAPI documents of every version, and no document makes the search fail."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from iogate.compiler.openapi import Unusable, find
from iogate.compiler.resolved_references import References, join, split

NEW: dict[str, Any] = {
    "openapi": "3.1.0",
    "servers": [{"url": "https://{region}.api.example/v1/", "variables": {"region": {"default": "eu"}}}],
    "paths": {
        "/orders/{id}": {
            "parameters": [{"$ref": "#/components/parameters/Id"}],
            "put": {
                "operationId": "change",
                "parameters": [
                    {"name": "dry", "in": "query", "content": {"application/json": {}}},
                    {"name": "Authorization", "in": "header"},
                ],
                "requestBody": {
                    "required": True,
                    "content": {
                        "multipart/form-data": {
                            "schema": {"required": ["file"], "properties": {"file": {"format": "binary"}}},
                            "encoding": {"meta": {"contentType": "application/json"}},
                        }
                    },
                },
                "responses": {"200": {"content": {"text/csv": {}, "application/hal+json": {}}}},
            },
        }
    },
    "components": {"parameters": {"Id": {"name": "id", "in": "path", "required": True}}},
}
OLD: dict[str, Any] = {
    "swagger": "2.0",
    "host": "api.example",
    "basePath": "/v1",
    "schemes": ["http", "https"],
    "consumes": ["application/xml", "application/json"],
    "paths": {
        "/orders": {
            "post": {
                "operationId": "change",
                "parameters": [
                    {"name": "order", "in": "body", "required": True, "schema": {}},
                    {"name": "tags", "in": "query", "type": "array", "collectionFormat": "ssv"},
                ],
            }
        }
    },
}


@pytest.mark.parametrize("style", [{"x": 1}, ["form"], 7, "wavy"])
def test_an_invalid_style_falls_back_to_the_default_of_its_location(style: Any) -> None:
    changed = copy.deepcopy(NEW)
    changed["paths"]["/orders/{id}"]["put"]["parameters"][0] = {"name": "dry", "in": "query", "style": style}
    found = find(changed, "change", url=None)
    assert [(each.name, each.style, each.explode) for each in found.parameters] == [
        ("id", "simple", False),
        ("dry", "form", True),
    ]


def test_an_operation_is_small_and_complete() -> None:
    found = find(NEW, "change", url="https://docs.example/api.json")
    assert (found.method, found.url) == ("PUT", "https://eu.api.example/v1/orders/{id}")
    assert found.accept == "application/hal+json"
    assert [(each.name, each.place, each.required) for each in found.parameters] == [
        ("id", "path", True),
        ("dry", "query", False),
    ]
    assert found.body is not None
    assert (found.body.media, found.body.needed) == ("multipart/form-data", ("file",))
    assert found.foreign


def test_version_2_reads_as_version_3_would() -> None:
    found = find(OLD, "change", url="https://api.example/swagger.json")
    assert (found.method, found.url) == ("POST", "https://api.example/v1/orders")
    assert found.body is not None
    assert (found.body.media, found.body.alias) == ("application/json", "order")
    (tags,) = found.parameters
    assert (tags.style, tags.explode) == ("spaceDelimited", False)
    assert not found.foreign


@pytest.mark.parametrize("document", [NEW, OLD])
def test_an_operation_travels_with_the_program_unchanged(document: dict[str, Any]) -> None:
    operation = find(document, "change", url="https://api.example/")
    definition: dict[str, Any] = {"document": {}, "do": []}
    program = join(definition, References(operations={"/do/0/a": operation}))
    plain, references = split(json.loads(json.dumps(program)))
    assert plain == definition
    assert references.operations == {"/do/0/a": operation}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"openapi": None},
            "it is no OpenAPI document of a version that is read (2.0, 3.0, 3.1): it has neither",
        ),
        ({"openapi": "4.0"}, 'its version is "4.0"'),
        ({"paths": {}}, 'no operation "change": none of its operations has an operationId'),
        ({"servers": [{"url": "/v1"}]}, "and a file has none that it could be relative to"),
        ({"servers": [{"url": "https://{x}"}]}, "variable {x} of server https://{x} has no default"),
        ({"servers": [{}]}, "its first server has no url"),
        ({"servers": [{"url": "http://[::"}]}, "is no http:// or https:// address"),
        ({"components": {}}, 'its reference "#/components/parameters/Id" leads nowhere'),
        (
            {"components": {"parameters": {"Id": {"$ref": "#/components/parameters/Id"}}}},
            'its reference "#/components/parameters/Id" leads back to itself',
        ),
        (
            {
                "components": {
                    "parameters": {
                        "Id": {"$ref": "#/components/parameters/1"},
                        **{str(n): {"$ref": f"#/components/parameters/{n + 1}"} for n in range(1, 50)},
                    }
                }
            },
            'its reference "#/components/parameters/32" comes after 32 others in a row',
        ),
        (
            {"components": {"parameters": {"Id": {"$ref": "other.yaml#/Id"}}}},
            'it refers to another document, "other.yaml#/Id"; make it one document',
        ),
        (
            {"components": {"parameters": {"Id": {"name": "other", "in": "query"}}}},
            "its address https://eu.api.example/v1/orders/{id} has {id}, and no parameter says what it is",
        ),
        (
            {"components": {"parameters": {"Id": {"name": "id", "in": "body"}}}},
            'parameter "id" is in "body", not in path, query, header or cookie',
        ),
    ],
)
def test_an_unusable_openapi_document_is_reported_with_the_reason(
    change: dict[str, Any], reason: str
) -> None:
    with pytest.raises(Unusable) as raised:
        find({**NEW, **change}, "change", url=None)
    assert reason in raised.value.reason


def test_the_nearest_name_is_offered() -> None:
    with pytest.raises(Unusable) as raised:
        find(NEW, "chnage", url=None)
    assert raised.value.reason == 'no operation "chnage": it has change'
    assert raised.value.near == "change"


@pytest.mark.parametrize("document", [NEW, OLD], ids=["3.1", "2.0"])
@pytest.mark.parametrize("stranger", [None, 7, "x", [], {}, ["x"], {"x": 1}, {"$ref": "#"}, "http://["])
def test_no_document_makes_the_search_fail(document: dict[str, Any], stranger: Any) -> None:
    tried = 0
    for pointer in _pointers(document):
        changed = copy.deepcopy(document)
        holder = changed
        for step in pointer[:-1]:
            holder = holder[step]
        holder[pointer[-1]] = stranger
        for url in (None, "https://docs.example/x/api.json"):
            tried += 1
            with contextlib.suppress(Unusable):
                references = References(operations={"a": find(changed, "change", url=url)})
                assert split(json.loads(json.dumps(join({}, references))))[1] == references
    assert tried > 30


def _pointers(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if at:
        yield at
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, member in steps:
        yield from _pointers(member, (*at, step))
