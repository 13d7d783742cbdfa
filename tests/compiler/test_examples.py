"""Debug cases are examples, if anybody may see them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from iogate.compiler.revision import Example
from tests.compiler.projects import bundle

WORKFLOW = "document: {dsl: 1.0.3, namespace: n, name: w, version: 1.0.0}\ndo: [{a: {set: {b: 1}}}]\n"


def examples(root: Path, *cases: dict[str, Any], auth: Any = "none", **more: Any) -> Any:
    method = {"workflow": "n/w", "timeout": "1m", "verbs": ["GET", "POST"], "debug": list(cases), **more}
    module = {"module": "m", "auth": auth, "methods": {"a": method}}
    made = bundle(root, {"apis.d/m.yaml": json.dumps(module), "workflows.d/w.yaml": WORKFLOW})
    return made.revision.apis["m/a"]


def test_a_case_is_an_example_with_its_output(tmp_path: Path) -> None:
    api = examples(
        tmp_path,
        {"name": "one", "body": {"a": 1}, "expect": {"output": [1]}},
        {"name": "two", "query": {"b": "2"}},
        {"name": "refused", "body": {}, "expect": {"http": 400}},
        {"name": "faulted", "body": {}, "expect": {"status": "faulted"}},
        {"name": "raw", "body": "a,b", "headers": {"Content-Type": "text/csv"}},
        {"name": "hidden", "body": {}, "example": False},
        {"name": "null", "body": None, "expect": {"output": None}},
    )
    assert api.examples == (
        Example(name="one", verb="POST", body={"a": 1}, output=[1]),
        Example(name="two", verb="GET", query={"b": "2"}),
        Example(name="null", verb="POST", body=None, output=None),
    )


@pytest.mark.parametrize(("source", "count"), [("body", 2), ("request", 1)])
def test_a_case_whose_headers_are_input_is_no_example(tmp_path: Path, source: str, count: int) -> None:
    """An example has no headers, and an operator who replays it would send another input."""
    plain, headed = {"name": "a", "body": 1}, {"name": "b", "body": 1, "headers": {"X-Event": "push"}}
    found = examples(tmp_path, headed, plain, input={"from": source})
    assert len(found.examples) == count
    assert found.examples[-1].name == "a"


def test_an_api_without_examples_is_stored_as_by_earlier_releases(tmp_path: Path) -> None:
    plain = examples(tmp_path / "a")
    assert b"examples" not in msgspec.json.encode(plain)
    assert plain.digest == examples(tmp_path / "b", {"name": "x", "body": 1}).digest


@pytest.mark.parametrize(
    "auth",
    [
        {"token": "correct horse battery"},
        {"tokens": {"ada": ["other staple text", "correct horse battery"]}},
        {"any": [{"user": "ada", "password": "correct horse battery"}, {"token": {"env": "T"}}]},
    ],
)
def test_no_example_has_a_secret(tmp_path: Path, auth: Any) -> None:
    api = examples(
        tmp_path,
        {
            "name": "with correct horse battery",
            "headers": {"X-Token": "header-secret"},
            "body": {"password": "hunter22", "deep": [{"text": "my correct horse battery!"}]},
            "expect": {"output": {"apiKey": "k-123456"}},
        },
        auth=auth,
    )
    (example,) = api.examples
    assert example.body == {"password": "[redacted]", "deep": [{"text": "my [redacted]!"}]}
    stored = msgspec.json.encode(api).decode()
    for secret in ("correct horse battery", "hunter22", "header-secret", "k-123456"):
        assert secret not in stored


def test_no_example_has_a_text_in_the_form_of_a_credential(tmp_path: Path) -> None:
    body = {
        "Authorization": "Bearer xyz",
        "curl": "curl -H 'Authorization: Bearer xyz' -u ada:s3same https://h.example/",
        "sent": "bearer xyz",
        "log": "called with Bearer xyz today",
        "headers": [{"name": "X-Api-Key", "value": "xyz"}, {"name": "Accept", "value": "text/plain"}],
        "url": "https://ada:s3same@h.example/",
        "plan": "Basic plan for the bearer of news",
    }
    case = {"name": "Authorization: Bearer xyz", "body": body, "expect": {"output": ["Bearer xyz"]}}
    (example,) = examples(tmp_path, case, {"name": "q", "query": {"q": "Bearer xyz"}}).examples[:1]
    assert example == Example(
        name="Authorization: [redacted]",
        verb="POST",
        body={
            "Authorization": "[redacted]",
            "curl": "curl -H 'Authorization: [redacted]",
            "sent": "bearer [redacted]",
            "log": "called with Bearer [redacted] today",
            "headers": [
                {"name": "X-Api-Key", "value": "[redacted]"},
                {"name": "Accept", "value": "text/plain"},
            ],
            "url": "https://ada:[redacted]@h.example/",
            "plan": "Basic plan for the bearer of news",
        },
        output=["Bearer [redacted]"],
    )


def test_their_number_and_size_are_bounded(tmp_path: Path) -> None:
    cases = [{"name": str(number), "body": {"n": number}} for number in range(9)]
    api = examples(tmp_path, {"name": "large", "body": "x" * 5000}, *cases)
    assert [each.name for each in api.examples] == ["0", "1", "2", "3", "4"]
