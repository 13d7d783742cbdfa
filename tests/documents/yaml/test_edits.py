"""Fixes change a text at their place only, and nothing else that it says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iogate.documents.fixes import Fix, RenameKey, ReplaceComment, ReplaceText
from iogate.documents.yaml import edits
from iogate.documents.yaml.edits import apply_fixes
from iogate.documents.yaml.reader import Reading, read_text

PATH = "it.yaml"


def edited(text: str, *fixes: Fix) -> str:
    return apply_fixes(text, PATH, fixes)[0]


@pytest.mark.parametrize(
    ("text", "fix", "expected"),
    [
        ("a: 1 # c\n", RenameKey(pointer=("a",), name="b"), "b: 1 # c\n"),
        ("x: {'a': 1}\n", RenameKey(pointer=("x", "a"), name="b"), "x: {'b': 1}\n"),
        ('- "a": 1\n', RenameKey(pointer=(0, "a"), name="b"), '- "b": 1\n'),
        ("a: .x # c\n", ReplaceText(pointer=("a",), text="${ .x }"), "a: ${ .x } # c\n"),
        ("a: {b: .x}\r\n", ReplaceText(pointer=("a", "b"), text="${ .x }"), 'a: {b: "${ .x }"}\r\n'),
        ("a: [.x]\n", ReplaceText(pointer=("a", 0), text='${ "x" }'), "a: ['${ \"x\" }']\n"),
        ("a: .x\n", ReplaceText(pointer=("a",), text="${ .x # y }"), 'a: "${ .x # y }"\n'),
        ('{"a": ["get"]}\n', ReplaceText(pointer=("a", 0), text="GET"), '{"a": ["GET"]}\n'),
        ('a: ".x"\n', ReplaceText(pointer=("a",), text='${ "é" }'), 'a: "${ \\"é\\" }"\n'),
        ("a: '.x'\n", ReplaceText(pointer=("a",), text="${ 'it' }"), "a: '${ ''it'' }'\n"),
        ("a: 1 # c\nb: 2\n", ReplaceComment(line=1, column=6, text=""), "a: 1\nb: 2\n"),
        ("a: 1\n  # c\nb: 2\n", ReplaceComment(line=2, column=3, text=""), "a: 1\nb: 2\n"),
        ("a: 1\n# c", ReplaceComment(line=2, column=1, text=""), "a: 1\n"),
        ("a: 1 # c, d\n", ReplaceComment(line=1, column=6, text="# d"), "a: 1 # d\n"),
    ],
)
def test_a_fix_edits_its_place(text: str, fix: Fix, expected: str) -> None:
    assert apply_fixes(text, PATH, [fix]) == (expected, (fix,))


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("a: 1\nb: 2\n", RenameKey(pointer=("a",), name="b")),  # the key exists
        ("a: 1\n", RenameKey(pointer=("c",), name="b")),
        ("a: 1\n", RenameKey(pointer=("a", "c"), name="b")),
        ("x: &n {a: 1}\ny: *n\n", RenameKey(pointer=("x", "a"), name="b")),  # it would change both
        ("a: &n .x\nb: *n\n", ReplaceText(pointer=("b",), text="y")),
        ("a: |\n  .x\n", ReplaceText(pointer=("a",), text="y")),
        ("a: 'p\n  q'\n", ReplaceText(pointer=("a",), text="y")),
        ("a: 1\n", ReplaceText(pointer=("a",), text="y")),
        ("a: 'x # c'\n", ReplaceComment(line=1, column=6, text="")),  # no comment
        ("a: [\n", RenameKey(pointer=("a",), name="b")),
    ],
)
def test_a_fix_that_would_change_something_else_is_not_made(text: str, fix: Fix) -> None:
    assert apply_fixes(text, PATH, [fix]) == (text, ())


def test_a_fix_that_cannot_be_made_does_not_prevent_the_others() -> None:
    good = ReplaceText(pointer=("x", "a"), text="${ .a }")
    bad = RenameKey(pointer=("x", "a"), name="b")
    outer = RenameKey(pointer=("x",), name="y")
    text, made = apply_fixes("x: {a: .a, b: 1}\n", PATH, [bad, good, outer])
    assert (text, made) == ('y: {a: "${ .a }", b: 1}\n', (good, outer))


def test_fixes_that_cannot_be_made_cost_little_time(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []

    def counting(text: str, name: str) -> Reading:
        reads.append(text)
        return read_text(text, name)

    monkeypatch.setattr(edits, "read_text", counting)
    before = "".join(f"t{number}: .x\n" for number in range(64)) + "last: >-\n  .x\nkey: 1\nother: 2\n"
    good = [ReplaceText(pointer=(f"t{number}",), text="${ .x }") for number in range(64)]
    folded = ReplaceText(pointer=("last",), text="${ .x }")
    taken = RenameKey(pointer=("key",), name="other")
    text, made = apply_fixes(before, PATH, [*good[:40], folded, taken, *good[40:]])
    assert made == tuple(good)
    assert text == before.replace(": .x", ": ${ .x }")
    assert len(reads) < 64 * 4


NAMES = st.sampled_from(["a", "b", "it's", "x y", 'q"', "é", "n:", "- d"])
VALUES = st.recursive(
    NAMES | st.integers(0, 9) | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


def texts(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    match value:
        case str():
            return [at]
        case dict():
            return [place for name, each in value.items() for place in texts(each, (*at, name))]
        case list():
            return [place for index, each in enumerate(value) for place in texts(each, (*at, index))]
    return []


@given(st.dictionaries(NAMES, VALUES, min_size=1, max_size=3), st.sampled_from([True, False]), st.data())
def test_a_replaced_text_is_the_only_difference(value: Any, flow: object, data: st.DataObject) -> None:
    import yaml

    written = yaml.safe_dump(value, default_flow_style=bool(flow), allow_unicode=True, width=1000) + "# end\n"
    reading = read_text(written, PATH)
    places = texts(reading.data)
    if not places or reading.problems:
        return
    pointer = data.draw(st.sampled_from(places))
    new = data.draw(NAMES)
    text, made = apply_fixes(written, PATH, [ReplaceText(pointer=pointer, text=new)])
    assert made
    assert text.endswith("# end\n")
    expected = reading.data
    *above, last = pointer
    for step in above:
        expected = expected[step]
    expected[last] = new
    assert read_text(text, PATH).data == reading.data
