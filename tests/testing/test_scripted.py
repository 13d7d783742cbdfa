"""Debug cases with mocked effects: a result for each attempt, the sent request, an error, files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from pydantic import ValidationError

from iogate import documents
from iogate.documents.api import DebugCase
from iogate.testing import Harness, Replayed, replay

API = """
module: t
auth: none
timeout: 1m
methods:
  pay: {workflow: t/pay}
  upload: {workflow: t/upload}
"""
PAY = """
document: {dsl: 1.0.3, namespace: t, name: pay, version: 1.0.0}
do:
  - pay:
      try:
        - call:
            call: http
            with:
              method: post
              endpoint: "https://pay.example.com/v2/charges/{id}"
              query: {dry: "true"}
              headers: {X-Shop: berlin}
              body: {amount: '${ .amount }', currency: EUR}
      catch:
        errors: {with: {type: communication}}
        when: ${ .status >= 500 }
        retry: {delay: PT1S, limit: {attempt: {count: 2}}}
"""
UPLOAD = """
document: {dsl: 1.0.3, namespace: t, name: upload, version: 1.0.0}
do:
  - say: {set: '${ . }'}
"""
CALL = "/do/0/pay/try/0/call"
DOWN = {"error": {"type": "communication", "status": 503, "detail": "down"}}
PAID = {"output": {"paid": True}}


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    named = {"apis.d/t.yaml": API, "workflows.d/pay.yaml": PAY, "workflows.d/upload.yaml": UPLOAD}
    for name, text in named.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "note.txt").write_text("hello\n")
    return Harness.load(tmp_path)


async def pay(harness: Harness, mocks: Any, **expect: Any) -> Replayed:
    case = {"name": "case", "body": {"id": "c 7", "amount": 5}, "mocks": {CALL: mocks}}
    return await replay(harness, "t/pay", DebugCase.model_validate({**case, "expect": expect}))


async def test_the_error_of_a_mocked_call_is_a_communication_error_with_its_status(harness: Harness) -> None:
    down = {"error": {"status": 422, "detail": "no"}}
    assert (await pay(harness, down, error={"type": "communication", "status": 422})).failures == ()


async def test_a_list_of_mocks_answers_each_attempt_in_turn(harness: Harness) -> None:
    assert (await pay(harness, [DOWN, DOWN, PAID], output={"paid": True})).failures == ()
    assert (await pay(harness, [DOWN, PAID, PAID])).failures == (f"{CALL}: 1 of 3 mocks were not used",)
    short = await pay(harness, [DOWN, DOWN], status="faulted")
    assert short.failures == (f"{CALL}: attempt 3, but there are 2 mocks",)
    assert (await pay(harness, DOWN, status="faulted")).failures == ()


CAUGHT = """
document: {dsl: 1.0.3, namespace: t, name: caught, version: 1.0.0}
do:
  - order:
      try:
        - place: {call: http, with: {method: post, endpoint: 'https://shop.example.com/orders'}}
      catch:
        do:
          - say: {set: {error: '${ $error }'}}
"""


@pytest.mark.parametrize(
    ("error", "caught"),
    [
        (
            {
                "type": "communication",
                "response": {"status": 422, "headers": {"Retry-After": "7"}, "body": {"a": 1}},
            },
            {"status": 422, "response": {"status": 422, "headers": {"Retry-After": "7"}, "body": {"a": 1}}},
        ),
        (
            {"type": "communication", "status": 503, "response": {}},
            {"status": 503, "response": {"status": 503, "headers": {}, "body": None}},
        ),
        ({"process": {"stderr": "no paper"}}, {"status": 500, "process": {"code": 1, "stderr": "no paper"}}),
    ],
)
async def test_response_and_process_of_a_mocked_error_equal_real_ones_in_catch(
    tmp_path: Path, error: dict[str, Any], caught: dict[str, Any]
) -> None:
    for name, text in (
        ("apis.d/t.yaml", "module: t\nauth: none\ntimeout: 1m\nmethods: {caught: {workflow: t/caught}}\n"),
        ("workflows.d/caught.yaml", CAUGHT),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    mocks = {"/do/0/order/try/0/place": {"error": error}}
    case = {"name": "case", "body": {}, "mocks": mocks, "expect": {"output": {"error": caught}}}
    assert (await replay(Harness.load(tmp_path), "t/caught", DebugCase.model_validate(case))).failures == ()


async def test_a_case_can_expect_an_error(harness: Harness) -> None:
    refused = {"error": {"type": "communication", "status": 422, "title": "No", "detail": "closed"}}
    right = {"type": "communication", "status": 422, "instance": CALL}
    assert (await pay(harness, refused, error=right)).failures == ()
    assert (await pay(harness, refused, error={"status": 404})).failures == (
        "error.status: expected 404, got 422",
    )
    (failure,) = (await pay(harness, refused, error={"type": "timeout"})).failures
    assert failure.startswith('error.type: expected "timeout", got "https://')
    assert (await pay(harness, PAID, error=right)).failures == ("status: expected faulted, got completed",)


async def test_an_unexpected_request_fails_a_case(harness: Harness) -> None:
    whole = {
        "method": "post",
        "url": "https://pay.example.com/v2/charges/c%207",
        "path": "/v2/charges/c 7",
        "query": {"dry": "true"},
        "headers": {"x-shop": "berlin", "Content-Type": "application/json"},
        "body": {"amount": 5},
    }
    assert (await pay(harness, {**PAID, "expectRequest": whole})).failures == ()
    at = f"{CALL}: request"
    for wrong, said in (
        ({"method": "PUT"}, f'{at}.method: expected "PUT", got "POST"'),
        ({"path": "/v1/charges/c 7"}, f'{at}.path: expected "/v1/charges/c 7", got "/v2/charges/c 7"'),
        ({"query": {"dry": False}}, f'{at}.query.dry: expected "false", got "true"'),
        ({"headers": {"X-Shop": "bonn"}}, f'{at}.headers.X-Shop: expected "bonn", got "berlin"'),
        ({"headers": {"X-None": "1"}}, f'{at}.headers.X-None: expected "1", it is missing'),
        ({"body": {"amount": 6}}, f"{at}.body.amount: expected 6, got 5"),
    ):
        replayed = await pay(harness, {**PAID, "expectRequest": wrong})
        assert replayed.failures == (said,)
        assert replayed.outcome is not None
        assert replayed.outcome.output == {"paid": True}
    second = await pay(harness, [DOWN, {**PAID, "expectRequest": {"method": "GET"}}])
    assert second.failures == (f'{CALL}[1]: request.method: expected "GET", got "POST"',)


async def test_an_expected_request_that_is_not_sent_fails_a_case(harness: Harness) -> None:
    mocks = {"/do/0/say": {"output": 1, "expectRequest": {"method": "GET"}}}
    case = DebugCase.model_validate({"name": "case", "body": {}, "mocks": mocks})
    assert (await replay(harness, "t/upload", case)).failures == (
        "/do/0/say: the expected request was not sent",
    )


async def test_a_form_with_files_is_sent_as_multipart(harness: Harness) -> None:
    fields = {"title": "greeting", "doc": {"file": "note.txt"}}
    expect = {
        "output": {
            "title": "greeting",
            "doc": {
                "filename": "note.txt",
                "contentType": "text/plain",
                "encoding": "utf-8",
                "content": "hello\n",
            },
        }
    }
    case = DebugCase.model_validate({"name": "case", "multipart": fields, "expect": expect})
    replayed = await replay(harness, "t/upload", case)
    assert (replayed.sent.verb, replayed.failures) == ("POST", ())


@pytest.mark.parametrize(
    "case",
    [
        {"mocks": {CALL: []}},
        {"mocks": {CALL: {"expectRequest": {}}}},
        {"mocks": {CALL: {"output": 1, "error": {}}}},
        {"body": 1, "multipart": {"a": "b"}},
        {"expect": {"error": {"status": 1}, "status": "completed"}},
        {"expect": {"error": {"status": 1}, "output": 1}},
        {"expect": {"http": 400, "status": "completed", "output": {"x": 1}}},
        {"expect": {"http": 400, "output": None}},
        {"expect": {"http": 301, "error": {"status": 1}}},
    ],
)
def test_a_contradictory_case_is_refused(case: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DebugCase.model_validate({"name": "case", **case})


@pytest.mark.parametrize("mocks", [PAID, [DOWN, {**PAID, "expectRequest": {"path": "/x"}}]])
def test_the_editor_schema_has_both_forms_of_a_mock(mocks: Any) -> None:
    method = {
        "workflow": "t/pay",
        "debug": [{"name": "n", "mocks": {CALL: mocks}, "multipart": {"a": {"file": "x"}}}],
    }
    value = {"module": "t", "auth": "none", "timeout": "1m", "methods": {"pay": method}}
    assert jsonschema_rs.is_valid(documents.schema("api"), value)
