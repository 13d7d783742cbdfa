"""The call that `up` shows is one that the API accepts."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from iogate.auth.model import NoAuth
from iogate.cli.apis import examples
from iogate.cli.processes import banner
from iogate.cli.processes.banner import Row
from iogate.compiler.examples import schema_examples
from iogate.compiler.revision import Api, Verb
from iogate.documents.api import DebugCase
from tests.cli.place import WORKFLOW, until, up
from tests.patient_http import is_stalled


def nested_arrays(depth: int) -> dict[str, Any]:
    """The schema of an example with 10 to the power of `depth` texts."""
    items = nested_arrays(depth - 1) if depth > 1 else {"type": "string"}
    return {"type": "array", "minItems": 10, "items": items}


def unique(**given: Any) -> dict[str, Any]:
    """The schema of a list of different items."""
    return {"type": "array", "minItems": 2, "uniqueItems": True, **given}


SCHEMAS: list[Any] = [
    True,
    {},
    {"type": "object", "required": ["a"], "properties": {"a": {"type": "string", "minLength": 12}}},
    {"required": ["a", "b"], "properties": {"a": {"enum": ["x", "y"]}, "b": {"const": 7}}},
    {"type": "array", "items": {"type": "integer", "minimum": 3, "multipleOf": 5}, "minItems": 2},
    {"type": "array", "prefixItems": [{"type": "boolean"}, {"type": "null"}], "minItems": 2},
    {
        "$defs": {"n": {"type": "number", "exclusiveMinimum": 0}},
        "required": ["n"],
        "properties": {"n": {"$ref": "#/$defs/n"}},
    },
    {"allOf": [{"required": ["a"]}, {"required": ["b"], "properties": {"b": {"type": ["null", "boolean"]}}}]},
    {
        "oneOf": [
            {"required": ["a"], "properties": {"a": {"type": "string", "format": "date"}}},
            {"required": ["b"]},
        ]
    },
    {"type": "string", "format": "uuid"},
    {"type": "string", "maxLength": 3},
    {"type": "integer", "maximum": -4},
    *({"type": "string", "format": name} for name in schema_examples.FORMATS),
    nested_arrays(2),
    unique(),
    unique(minItems=10),
    unique(items={"type": "integer", "minimum": 3, "multipleOf": 5}, minItems=3),
    unique(items={"type": "number"}),
    unique(items={"enum": [1, None, "c"]}, minItems=3),
    unique(items={"$ref": "#/definitions/n"}, definitions={"n": {"type": "boolean"}}),
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=json.dumps)
def test_a_made_value_is_accepted_by_its_schema(schema: Any) -> None:
    value = schema_examples.example_value(schema)
    assert jsonschema_rs.validator_for(schema, validate_formats=True).is_valid(value)


@pytest.mark.parametrize(
    "schema",
    [
        False,
        {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{4}$"},
        {"$ref": "#"},
        {"$ref": "https://example.com/schema.json"},
        {"not": {}},
        {"type": "integer", "minimum": 5, "maximum": 4},
        {"type": "number", "minimum": 1e300, "multipleOf": 1e-20},
        nested_arrays(4),
        unique(items={"const": 1}),
        unique(items={"enum": ["a"]}),
    ],
    ids=json.dumps,
)
def test_a_schema_without_an_example_has_no_curl_line(schema: Any) -> None:
    with pytest.raises(schema_examples.NoExample):
        schema_examples.example_value(schema)


def api(verbs: tuple[Verb, ...] = ("POST",), schema: Any = None) -> Api:
    return Api(id="m/x", verbs=verbs, workflow="n/w:1.0.0", program="p", auth=NoAuth(), input_schema=schema)


def line(api_: Api, *cases: dict[str, Any]) -> str | None:
    example = examples.example_for(api_, [DebugCase.model_validate({"name": "n", **case}) for case in cases])
    row = Row(api=api_.id, verbs=api_.verbs, auth="", enabled=True, credentials=NoAuth(), example=example)
    return banner.curl_line(row, "http://h:1")


def test_the_first_case_that_expects_a_run_is_the_example() -> None:
    refused = {"body": {"bad": 1}, "expect": {"http": 400}}
    guarded = {"body": {"secret": 1}, "headers": {"token": "clear"}}
    assert line(api(), refused, guarded, {"body": {"good": 1}}) == (
        "curl -d '{\"good\": 1}' h:1/v1/api/m/x/async"
    )
    file = {"body_file": "a b.csv"}
    assert line(api(), file) == (
        "curl -H 'Content-Type: text/csv' --data-binary '@a b.csv' h:1/v1/api/m/x/async"
    )
    form = {"multipart": {"n": "7", "t": "@a", "scan": [{"file": "a b.csv"}, {"file": "c"}]}}
    assert line(api(), form) == (
        "curl -F n=7 --form-string t=@a -F 'scan=@a b.csv;type=text/csv' "
        "-F 'scan=@c;type=application/octet-stream' h:1/v1/api/m/x/async"
    )
    text = {"body": "a,b", "headers": {"Content-Type": "text/csv"}}
    assert line(api(), text) == "curl -H 'Content-Type: text/csv' -d a,b h:1/v1/api/m/x/async"
    assert line(api(), {"body": 7}) == "curl -H 'Content-Type: application/json' -d 7 h:1/v1/api/m/x/async"
    get = {"query": {"a": 1, "b": ["x", "y z"]}}
    assert line(api(("GET",)), get) == "curl 'h:1/v1/api/m/x/async?a=1&b=x&b=y+z'"


def test_without_a_case_the_schema_makes_the_example() -> None:
    needs = {"required": ["n"], "properties": {"n": {"type": "integer"}}}
    assert line(api(schema=needs)) == "curl -d '{\"n\": 1}' h:1/v1/api/m/x/async"
    assert line(api(("GET",), needs)) == "curl 'h:1/v1/api/m/x/async?n=1'"
    assert line(api()) == "curl -d '{}' h:1/v1/api/m/x/async"
    assert line(api(schema={"type": "string", "pattern": "^a{9}$"})) is None


API = """\
module: shop
auth: none
methods:
  buy: {workflow: shop/buy, enabled: true, timeout: 1m}
"""


def test_the_curl_line_of_up_works_for_an_api_with_a_schema_and_no_debug_case(tmp_path: Path) -> None:
    schema = "{type: object, required: [sku], properties: {sku: {type: string}}}"
    workflow = WORKFLOW.format(name="buy", task="buy: {set: {bought: '${ .sku }'}}")
    (tmp_path / "apis.d").mkdir()
    (tmp_path / "workflows.d").mkdir()
    (tmp_path / "apis.d/shop.yaml").write_text(API)
    (tmp_path / "workflows.d/buy.yaml").write_text(
        workflow.replace("do:", f"input: {{schema: {{document: {schema}}}}}\ndo:")
    )
    with up(tmp_path) as place:
        (call,) = [each for each in place.out.splitlines() if each.startswith("curl ")]
        assert "sku" in call

        def called() -> subprocess.CompletedProcess[str] | None:
            ran = subprocess.run(
                [*shlex.split(call), "-s"], capture_output=True, text=True, check=True, timeout=60
            )
            return None if is_stalled(ran.stdout) else ran

        ran = until(called)
        assert json.loads(ran.stdout)["response"]["uid"].isdigit(), ran.stdout
