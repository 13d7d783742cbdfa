"""Paths that an expression reads: each that is found is read, and none is taken for another one's."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iogate.expressions import compiles, expression
from iogate.expressions.arguments import Values
from iogate.expressions.reads import EACH, Read, reads


def of(text: str) -> list[tuple[str | None, tuple[Any, ...]]]:
    return [(each.variable, each.steps) for each in reads(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (".a.b", [("a", "b")]),
        (".a + .b", [("a",), ("b",)]),
        ('."a b".c', [("a b", "c")]),
        ('.["a"].b', [("a", "b")]),
        (".a[0].b", [("a", EACH, "b")]),
        (".a[].b", [("a", EACH, "b")]),
        (".a.[0]", [("a", EACH)]),
        (".[0].a", [(EACH, "a")]),
        (".a[.b].c", [("a",), ("b",)]),
        (".items | map(.x)", [("items",)]),
        ("(.a + .b) | .c", [("a",), ("b",)]),
        ("[.a, .b]", [("a",), ("b",)]),
        ("{a: .x, b, c: (.y | .z)}", [("x",), ("b",), ("y",)]),
        ("if .a then .b else .c end", [("a",), ("b",), ("c",)]),
        ("reduce .items[] as $i (0; . + $i.price)", [("items", EACH)]),
        ('"x \\(.a) \\("y \\(.b)")" + .c', [("a",), ("b",), ("c",)]),
        ('".not" + .a', [("a",)]),
        (".a # .not\n + .b", [("a",), ("b",)]),
        (".a = .b", [("b",)]),
        (".a |= .b", []),
        (".a += .b | .c", [("b",)]),
        ("try .a catch .b", [("a",)]),
        ("select(.a)", []),
        ("def f: .a; f", []),
        (". as {a: $x} | $x", []),
        ("..", []),
        ("now", []),
        ("1.5 * .a", [("a",)]),
        ("-.a", [("a",)]),
    ],
)
def test_reads_of_the_input(text: str, expected: list[tuple[Any, ...]]) -> None:
    assert compiles(text), text
    assert [steps for variable, steps in of(text) if variable is None and steps] == expected


def test_reads_of_variables() -> None:
    assert of("$workflow.input.a[0] + $input.b") == [
        ("workflow", ("input", "a", EACH)),
        ("input", ("b",)),
    ]
    assert of("map($input.a) | $input.b") == [("input", ("a",)), ("input", ("b",))]
    assert of(".a as $input | $input.b") == [(None, ("a",))]


def test_an_optional_read_is_marked() -> None:
    assert [each.optional for each in reads(".a? + .b + (.c // 1)")] == [True, False, True]


NAMES = st.sampled_from(["a", "b", "c"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(lambda names: "".join(f".{name}" for name in names))
TEXTS = st.recursive(
    PATHS | st.sampled_from(["1", '"t"', "null", "[]"]),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda pair: f"[{pair[0]}, ({pair[1]})]"),
        st.tuples(NAMES, inner, NAMES).map(lambda three: f"{{{three[0]}: ({three[1]}), {three[2]}}}"),
        inner.map(lambda text: f'"s \\({text}) .c"'),
        st.tuples(inner, inner, inner).map(lambda three: "if {} then {} else {} end".format(*three)),
    ),
    max_leaves=6,
)


def evaluated(text: str, names: set[str]) -> Any:
    tree: Any = {"a": 1, "b": 2, "c": 3}
    for depth in range(3):
        tree = {name: tree if isinstance(tree, dict) else depth for name in ("a", "b", "c")}
    data = {name: member for name, member in tree.items() if name in names}
    return expression(text).evaluate(data, Values())


@given(TEXTS, NAMES)
def test_a_member_that_matters_is_read(text: str, name: str) -> None:
    """Without pipes and functions, every read is found: a result depends on no other member."""
    everything = {"a", "b", "c"}
    found = {steps[0] for variable, steps in of(text) if variable is None and steps}
    if evaluated(text, everything) != evaluated(text, everything - {name}):
        assert name in found


@given(st.text(max_size=40))
def test_any_text_is_read_without_an_error(text: str) -> None:
    assert all(isinstance(each, Read) for each in reads(text))


def test_a_deeply_nested_expression_ends() -> None:
    depth = 5_000
    assert reads("(" * depth + ".a" + ")" * depth) == (Read(variable=None, steps=("a",), optional=False),)
    assert reads('"\\(' * depth + ".a" + ')"' * depth) == ()


def test_a_read_is_what_the_expression_evaluates() -> None:
    """The value at each path is part of the result of an expression that only collects them."""
    text = '[.a.b, "\\(.c)", {d}, .e[1]]'
    data = {"a": {"b": 1}, "c": 2, "d": 3, "e": [4, 5]}
    assert expression(text).evaluate(data, Values()) == [1, "2", {"d": 3}, 5]
    assert [steps for _, steps in of(text)] == [("a", "b"), ("c",), ("d",), ("e", EACH)]
