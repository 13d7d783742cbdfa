"""Debug cases offline: validated by the rules of the gateway, compared with their expectations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from iogate.documents.api import DebugCase
from iogate.errors import NotFound
from iogate.testing import Harness, Replayed, differences, replay, request_of

API = """
module: t
auth: none
timeout: 1m
methods:
  echo:
    workflow: t/echo
    verbs: [GET, POST]
    input: {schema: {type: object, required: [n], properties: {n: {type: integer}}}}
    limits: {body: 1KiB}
  keyed:
    workflow: t/echo
    idempotency: {required: true}
  placed:
    workflow: t/echo
    idempotency: {pointer: /id, required: true}
  signed:
    workflow: t/echo
    auth: {signature: {scheme: github, secret: {env: HOOK}}}
    idempotency: {required: true}
"""
WORKFLOW = """
document: {dsl: 1.0.3, namespace: t, name: echo, version: 1.0.0}
do:
  - echo: {set: '${ . }'}
"""


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    for name, text in (("apis.d/t.yaml", API), ("workflows.d/echo.yaml", WORKFLOW)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "body.json").write_text('{"n": 7}')
    return Harness.load(tmp_path)


async def run(harness: Harness, api: str = "t/echo", **case: Any) -> Replayed:
    return await replay(harness, api, DebugCase.model_validate({"name": "case", **case}))


async def test_a_passing_case_has_no_failures(harness: Harness) -> None:
    expect = {"http": 202, "status": "completed", "output": {"n": 1}}
    replayed = await run(harness, body={"n": 1, "more": 2}, expect=expect)
    assert (replayed.http, replayed.failures) == (202, ())
    assert replayed.outcome is not None
    assert replayed.outcome.output == {"n": 1, "more": 2}


async def test_a_query_is_coerced_by_the_schema(harness: Harness) -> None:
    replayed = await run(harness, verb="GET", query={"n": 5}, expect={"output": {"n": 5}})
    assert (replayed.sent.query, replayed.failures) == ("n=5", ())


async def test_a_body_file_is_sent_unchanged(harness: Harness) -> None:
    assert (await run(harness, body_file="body.json", expect={"output": {"n": 7}})).failures == ()


async def test_each_difference_is_reported(harness: Harness) -> None:
    replayed = await run(harness, body={"n": 1}, expect={"output": {"n": 2, "m": 3}})
    assert replayed.failures == ("output.n: expected 2, got 1", "output.m: expected 3, it is missing")


async def test_an_unexpected_status_is_explained(harness: Harness) -> None:
    replayed = await run(harness, body={"n": 1}, expect={"status": "faulted"})
    assert replayed.failures == ("status: expected faulted, got completed",)


@pytest.mark.parametrize(
    ("case", "http"),
    [({"body": {"n": "x"}}, 400), ({"body": {"n": 1, "x": "x" * 2000}}, 413), ({"body": {}}, 400)],
)
async def test_a_refusal_equals_that_of_the_gateway(
    harness: Harness, case: dict[str, Any], http: int
) -> None:
    replayed = await run(harness, **case, expect={"http": http})
    assert (replayed.http, replayed.outcome, replayed.failures) == (http, None, ())
    (failure,) = (await run(harness, **case)).failures
    assert failure.startswith(f"http: the request was refused with {http}: ")


async def test_an_unknown_api_is_named(harness: Harness) -> None:
    with pytest.raises(NotFound, match=r"^no API t/x; there are: t/echo, t/keyed, t/placed, t/signed$"):
        await replay(harness, "t/x", DebugCase.model_validate({"name": "case"}))


def test_a_form_is_sent_as_written(harness: Harness, tmp_path: Path) -> None:
    api = harness.bundle.revision.apis["t/echo"]
    headers = {"content-type": "application/x-www-form-urlencoded"}
    case = DebugCase.model_validate({"name": "form", "body": "n=1", "headers": headers})
    sent = request_of(case, api, root=tmp_path)
    assert (sent.verb, sent.body, dict(sent.headers)) == ("POST", b"n=1", headers)


@pytest.mark.parametrize(
    ("expected", "actual", "said"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, ()),
        ({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}}, ()),
        ([{"a": 1}], [{"a": 1, "b": 2}], ()),
        (4, 4.0, ()),
        (1, True, ("output: expected 1, got true",)),
        ([1], [1, 2], ("output: expected 1 items, got 2: [1, 2]",)),
        ([1, 2], [1, 3], ("output[1]: expected 2, got 3",)),
        (None, {}, ("output: expected null, got {}",)),
    ],
)
def test_objects_match_by_given_keys_and_other_values_exactly(
    expected: Any, actual: Any, said: tuple[str, ...]
) -> None:
    assert differences(expected, actual) == said


def test_a_long_value_is_cut_in_a_message() -> None:
    (said,) = differences(1, "x" * 1000)
    assert len(said) < 160


@pytest.mark.parametrize(
    ("api", "case", "http", "message"),
    [
        ("t/keyed", {}, 400, "The header Idempotency-Key must have the idempotency key of the call"),
        ("t/keyed", {"headers": {"idempotency-key": "k"}}, 202, ""),
        ("t/placed", {}, 400, "The input at /id must have the idempotency key of the call"),
        ("t/placed", {"body": {"id": "k"}}, 202, ""),
        ("t/signed", {}, 202, ""),
    ],
)
async def test_a_call_without_the_required_key_is_refused(
    harness: Harness, api: str, case: dict[str, Any], http: int, message: str
) -> None:
    replayed = await run(harness, api, **{"body": {"n": 1}, **case}, expect={"http": http})
    assert (replayed.http, replayed.message, replayed.failures) == (http, message, ())


RULES = """
module: r
auth: none
timeout: 1m
methods:
  lane: {workflow: t/echo, limits: {concurrency: {key: /customer}}}
  window: {workflow: t/echo, coalesce: {key: /sku, window: 10s}}
  told: {workflow: t/echo, callback: {allow: [hooks.example.com], secret: {env: HOOK}}}
"""
URL = "Callback-Url"


@pytest.mark.parametrize(
    ("api", "case", "http", "message"),
    [
        (
            "r/lane",
            {"body": {"customer": {"id": 7}}},
            400,
            "The type at /customer of the input is object; expected string or number",
        ),
        ("r/lane", {"body": {"customer": 7}}, 202, ""),
        (
            "r/lane",
            {"headers": {"Idempotency-Key": "k" * 300}},
            400,
            "The header idempotency-key has 300 characters; expected 1 to 255",
        ),
        (
            "r/window",
            {"body": {"sku": ""}},
            400,
            "The text at /sku of the input has 0 characters; expected 1 to 255",
        ),
        (
            "r/told",
            {"headers": {URL: "https://other.example.com/x"}},
            400,
            "The header Callback-Url names the host other.example.com, which this API does not allow",
        ),
        ("r/told", {"headers": {URL: "https://hooks.example.com/x"}}, 202, ""),
        (
            "r/told",
            {"headers": {"Content-Encoding": "gzip"}},
            415,
            "The content encoding gzip is not supported; expected none",
        ),
    ],
)
async def test_keys_and_headers_of_a_call_are_checked_as_by_the_gateway(
    harness: Harness, api: str, case: dict[str, Any], http: int, message: str
) -> None:
    (harness.root / "apis.d/r.yaml").write_text(RULES)
    replayed = await run(Harness.load(harness.root), api, **{"body": {"n": 1}, **case}, expect={"http": http})
    assert (replayed.http, replayed.message, replayed.failures) == (http, message, ())
