"""Comments of YAML files, and which of them ignore problems."""

from __future__ import annotations

import re
import time

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from iogate.documents.ignores import read_ignores, without_ignored
from iogate.documents.problems import Problem, Severity
from iogate.documents.yaml.comments import comments
from iogate.documents.yaml.reader import read_text
from iogate.documents.yaml.source import Source

ANY = re.compile("#")
TEXT = """\
# a
x: 1 # b
# c

y: |  # d
  text # no
  # no
# e
z: "a # no" # f
w: 'it # no
  # no' # g
p: plain # h
q: plain#no
l: [a, b] # i
m: >-
  # no

# j
n: &a
  # k
  - 1
"""


def of(text: str) -> dict[str, tuple[int, bool, list[int]]]:
    found = comments(Source(path="it.yaml", text=text), ANY)
    return {each.text: (each.line, each.alone, list(each.applies_to)) for each in found}


def test_a_hash_is_a_comment_only_outside_scalars() -> None:
    assert of(TEXT) == {
        "# a": (1, True, [2]),
        "# b": (2, False, [2]),
        "# c": (3, True, [5, 6, 7]),
        "# d": (5, False, [5, 6, 7]),
        "# e": (8, True, [9]),
        "# f": (9, False, [9]),
        "# g": (11, False, [10, 11]),
        "# h": (12, False, [12]),
        "# i": (14, False, [14]),
        "# j": (18, True, [19]),
        "# k": (20, True, [21]),
    }


def test_only_a_comment_before_the_first_value_leads() -> None:
    text = "# a\n---\n# b\n\nx: 1\n# c\n"
    found = comments(Source(path="it.yaml", text=text), ANY)
    assert [(each.text, each.leading) for each in found] == [("# a", True), ("# b", True), ("# c", False)]


LINES = st.lists(
    st.sampled_from(
        [
            "a: 1",
            "b: x # c",
            "c: |",
            "  # t",
            "  u # v",
            "d: 'p # q'",
            "e: 'p",
            "  q' # r",
            "# s",
            "",
            "f: [g, # h",
            "  i]",
        ]
    ),
    max_size=12,
)


@given(LINES)
def test_a_comment_can_be_removed_without_a_change_of_the_data(lines: list[str]) -> None:
    text = "\n".join(lines)
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError:
        return
    without = text.split("\n")
    found = list(comments(Source(path="it.yaml", text=text), ANY))
    for each in found:
        without[each.line - 1] = without[each.line - 1][: each.column - 1]
    assert yaml.safe_load("\n".join(without)) == data
    assert list(comments(Source(path="it.yaml", text="\n".join(without)), ANY)) == []


def problem(line: int, code: str = "IOG504", severity: Severity = "warning") -> Problem:
    return Problem(code=code, message="m", path="it.yaml", line=line, column=1, severity=severity)


def shown(text: str, *problems: Problem, lint: dict[str, str] | None = None) -> list[tuple[int, str]]:
    source = read_text(text, "it.yaml").source
    return [(each.line, each.code) for each in without_ignored(problems, {"it.yaml": source}, lint or {})]


@pytest.mark.parametrize(
    "comment",
    [
        "# iogate: ignore IOG504",
        "#iogate:ignore IOG504",
        "# iogate: ignore IOG502,IOG504 the reason, IOG521",
        "## IOGATE: Ignore iog504 IOG502",
        "# iogate: ignore-file IOG502",  # not at the top, so it ignores nothing
    ],
)
def test_a_comment_ignores_its_codes_on_its_line(comment: str) -> None:
    works = "file" not in comment
    assert shown(f"a: 1\nb: 2 {comment}\nc: 3\n", problem(1), problem(2), problem(3)) == [
        (1, "IOG504"),
        *([] if works else [(2, "IOG504")]),
        (3, "IOG504"),
    ]
    assert shown(f"a: 1 {comment}\n", problem(1, "IOG521")) == [(1, "IOG521")]


def test_a_comment_at_the_top_ignores_in_the_whole_file() -> None:
    text = "# the head\n# iogate: ignore-file IOG504\na: 1\nb: 2\n"
    assert shown(text, problem(3), problem(4), problem(4, "IOG521")) == [(4, "IOG521")]


def test_errors_are_never_ignored() -> None:
    text = "a: 1 # iogate: ignore IOG504, IOG303\n"
    assert shown(text, problem(1, severity="error"), problem(1, "IOG303", "error")) == [
        (1, "IOG303"),
        (1, "IOG504"),
    ]
    assert shown(text, problem(1), lint={"IOG504": "error"}) == [(1, "IOG504")]
    assert shown(text, problem(1), lint={"IOG504": "advice"}) == []


def test_a_rule_that_is_off_is_not_shown() -> None:
    assert shown("a: 1\n", problem(1), problem(1, "IOG521"), lint={"IOG504": "off"}) == [(1, "IOG521")]


def test_a_file_that_is_not_yaml_has_no_ignore_comments() -> None:
    source = read_text("a: [ # iogate: ignore IOG504\n", "it.yaml").source
    found = read_ignores({"it.yaml": source})
    assert (dict(found.valid), found.problems) == ({}, ())


def test_many_comments_are_read_in_linear_time() -> None:
    text = "# iogate: ignore IOG504\n" * 20_000 + "a: 1\n" + "b: # iogate: ignore IOG504\n" * 1
    source = read_text(text, "it.yaml").source
    assert len(read_ignores({"it.yaml": source}).valid["it.yaml"]) == 20_001


def test_a_long_row_of_hashes_is_searched_in_linear_time() -> None:
    row = "#" * 400_000  # minutes, if each of them were tried up to the end of the row
    source = read_text(f"{row}\na: '{row}' # iogate: ignore IOG504\n", "it.yaml").source
    (found,) = read_ignores({"it.yaml": source}).valid["it.yaml"]
    assert (found.code, found.comment.line) == ("IOG504", 2)


def test_many_comments_without_effect_are_found_in_linear_time() -> None:
    number = 4000
    source = read_text("x: 1\n" + "# iogate: ignore IOG526\n" * number, "a.yaml").source
    read = read_ignores({"a.yaml": source})
    unused = [
        Problem(path="a.yaml", line=line, column=1, code="IOG523", message="x", severity="warning")
        for line in range(number)
    ]
    started_s = time.process_time()
    shown, used = read.split(unused, {})
    assert time.process_time() - started_s < 3, "0.01 s; 13 s if each comment were compared with each problem"
    assert (len(shown), used) == (number, frozenset())
