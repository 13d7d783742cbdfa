"""Data read without positions is the data of the composer, and only of texts in which it finds no fault."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from iogate.documents.yaml.composer import MAX_NODES, compose
from iogate.documents.yaml.data_reader import read_data
from iogate.documents.yaml.reader import read_bytes, read_text
from iogate.documents.yaml.source import Source
from tests.documents.formatter.generated import documents
from tests.examples import examples

ROOT = Path(__file__).resolve().parents[3]
FILES = sorted(
    path
    for folder in ("apis.d", "workflows.d", "tests/documents/golden", "tests/compiler/golden")
    for path in (ROOT / folder).rglob("*.yaml")
)
PARTS = st.sampled_from(
    [
        *"ab:-[]{},\n\"'#&*!|>?<~%.0",
        "  ",
        "\n  ",
        ": ",
        "- ",
        "a: ",
        "'a' : ",
        "null",
        "1.5",
        "0x1F",
        "<<: ",
        "---\n",
        "!!str ",
        "&a ",
        "*a",
    ]
)


def check(text: str) -> bool:
    """Compare both ways to read a text; return whether the quick one has read it."""
    data = read_data(text)
    if data is not None:
        root, problems = compose(Source(path="a.yaml", text=text))
        assert problems == []
        assert root is not None
        assert repr(data) == repr(root.value)
    return data is not None


@given(text=st.lists(PARTS, max_size=24).map("".join))
@settings(max_examples=examples(1500), deadline=None, suppress_health_check=list(HealthCheck))
def test_data_of_random_texts_is_that_of_the_composer(text: str) -> None:
    event("read" if check(text) else "left to the composer")


@given(text=documents())
@settings(max_examples=examples(200), deadline=None, suppress_health_check=list(HealthCheck))
def test_data_of_random_documents_is_that_of_the_composer(text: str) -> None:
    event("read" if check(text) else "left to the composer")


def test_data_of_the_documents_of_the_project_is_read_without_the_composer() -> None:
    texts = [
        path.read_text(encoding="utf-8") for path in FILES if not read_bytes(path.read_bytes(), "a").problems
    ]
    read = [check(text) for text in texts]
    assert sum(read) > 0.9 * len(read) > 30


@pytest.mark.parametrize(
    "text",
    [
        "",
        "~",
        "# a",
        "a: &b 1",
        "a: !!str 1",
        "a: 1\na: 2",
        "<<: {a: 1}",
        "? [a]\n: 1",
        "1.5: a",
        "true: a",
        "a: .inf",
        "--- 1\n--- 2",
        "a: [",
        "a: *b",
        "- " * 70 + "a",
        "[" + "0, " * (MAX_NODES // 4) + "0]",
    ],
)
def test_whatever_is_unusual_is_left_to_the_composer(text: str) -> None:
    assert read_data(text) is None


def test_positions_and_masks_are_composed_when_something_asks_for_them() -> None:
    reading = read_text("auth: {token: {env: A}}\nb: [1, {auth: {token: very-secret}}]\n", "a.yaml")
    assert reading.data == {"auth": {"token": {"env": "A"}}, "b": [1, {"auth": {"token": "very-secret"}}]}
    assert reading.source.read
    assert reading.place(("b", 1, "auth"), key=True) == (2, 9, 4)
    fresh = read_text(reading.source.text, "a.yaml")
    assert fresh.source.line(2) == "b: [1, {auth: {token: ***********}}]"
