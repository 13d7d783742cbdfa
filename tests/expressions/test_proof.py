"""Expressions that are compiled together: what is proven compiles alone, and nothing is proven wrongly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iogate.expressions import check, proof, prove_together
from iogate.expressions.proof import is_proven


@pytest.fixture(autouse=True)
def nothing_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "_proven", set())


def test_many_expressions_are_proven_at_once() -> None:
    texts = [f".total * {number} + $input.more" for number in range(300)]
    prove_together((text, frozenset({"input", "context"})) for text in texts)
    assert all(is_proven(text, ("input",)) for text in texts)
    assert check(texts[0], {"input", "context"}) is None


def test_one_invalid_expression_among_many_is_found_alone() -> None:
    texts = [f".total * {number}" for number in range(1000)]
    texts[500] = ".total * *"
    prove_together((text, frozenset()) for text in texts)
    proven = [text for text in texts if is_proven(text, ())]
    assert len(proven) > 900
    assert texts[500] not in proven
    assert (check(texts[500], ()) or "").startswith("syntax error")


@pytest.mark.parametrize(
    "text",
    [
        ".a); def x: (.b",
        ".a) | (.b",
        "1); (2",
        '"a',
        'b"',
        '"(" ) | ("',
        "1 # )",
        "__iogate_0",
        "\\(1",
        "",
        "   ",
    ],
)
def test_a_text_that_reaches_into_its_neighbours_is_not_proven(text: str) -> None:
    others = [f".n * {number}" for number in range(5)]
    prove_together((each, frozenset()) for each in [*others[:2], text, *others[2:]])
    assert not is_proven(text.strip(), ())


def test_two_halves_of_a_string_are_not_proven() -> None:
    prove_together((each, frozenset()) for each in ('.a + "x', 'y" + .b', ".n * 2", ".n * 3"))
    assert not is_proven('.a + "x', ())
    assert not is_proven('y" + .b', ())


WORDS = ["if", "then", "end", "else", "as", "reduce", "try", "f", "def f:", "__iogate_1"]
SIGNS = [
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "|",
    ",",
    ";",
    "#",
    "?",
    "//",
    "-",
    "+",
    '"',
    "\\(",
    '"("',
    '")"',
    "\n",
]
PIECES = st.sampled_from([".a", "$x", "$y", "1", *WORDS, *SIGNS])


@given(st.lists(st.lists(PIECES, min_size=1, max_size=6).map(" ".join), min_size=2, max_size=5))
def test_whatever_is_proven_compiles_alone(texts: list[str]) -> None:
    proof._proven.clear()
    prove_together((text, frozenset({"x"})) for text in texts)
    found = set(proof._proven)
    proof._proven.clear()
    for text, names in found:
        assert check(text, {"x"}) is None, (text, names)
