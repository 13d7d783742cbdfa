"""jq as it is, minus what reaches outside, plus exact integers for plain paths."""

from __future__ import annotations

import copy
import os
import sys
from pathlib import Path
from typing import Any

import jq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iogate.errors import WorkflowError
from iogate.expressions import Expression, Values, check, expression
from iogate.expressions.paths import parse
from tests.examples import examples

ARGUMENTS = Values(now_ms=1_500, values={"context": {"a": [1, {"b": 2}]}, "input": 5})


def evaluate(text: str, value: Any = None) -> Any:
    return expression(text).evaluate(value, ARGUMENTS)


def failure(text: str, value: Any = None) -> str:
    with pytest.raises(WorkflowError) as caught:
        evaluate(text, value)
    assert caught.value.type.endswith("/expression")
    assert caught.value.status == 400
    return caught.value.detail or ""


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        (".a + 1", {"a": 1}, 2),
        ("$context.a[1].b + $input", None, 7),
        ("empty", None, None),
        (".[]", [1, 2], [1, 2]),
        (".[]", [1], 1),
        (".[]", [[]], []),
        ("now", None, 1.5),
        ("now | floor", None, 1),
        ('"\\($input)!"', None, "5!"),
        (". as $input | $input", 3, 3),
        ("def f($x): $x + $input; f(1)", None, 6),
        ("reduce .[] as $x (0; . + $x)", [1, 2], 3),
        ("[limit(2; repeat(1))]", None, [1, 1]),
        (".a # a comment", {"a": 1}, 1),
        (".a # a note \\", {"a": 1}, 1),
        (".a # a note \\\\", {"a": 1}, 1),
        ('{"a": 1} | .a', None, 1),
        ("now | localtime == gmtime", None, True),
    ],
)
def test_expressions_are_jq_with_arguments(text: str, value: Any, expected: Any) -> None:
    assert evaluate(text, value) == expected


@pytest.mark.parametrize("name", ["__i", "__now", "_given", "__given", "_now", "_", "__"])
def test_a_variable_of_any_name_replaces_neither_the_input_nor_the_time(name: str) -> None:
    arguments = Values(now_ms=1_500, values={name: 7, "input": 5})
    assert expression(f"[., now, ${name}, $input]").evaluate(1, arguments) == [1, 1.5, 7, 5]
    assert expression(f"[., now, ${name}]").evaluate(1, arguments) == [1, 1.5, 7]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("env", {}),
        ("$ENV", {}),
        ("env.PATH", None),
        ("$ENV.PATH", None),
        ("[$ENV | keys[]]", []),
        ("input_filename", None),
        ("get_search_list", []),
        ("debug", 1),
        ('debug("x")', 1),
        ("stderr", 1),
    ],
)
def test_nothing_of_the_process_is_in_reach(text: str, expected: Any) -> None:
    assert os.environ["PATH"]
    assert evaluate(text, 1) == expected


@pytest.mark.parametrize(
    "name", ["input", "inputs", "halt", "halt_error", "halt_error(1)", '"a" | modulemeta']
)
def test_functions_without_meaning_in_workflows_raise_an_error(name: str) -> None:
    assert "is not available in workflows" in failure(name)


@pytest.mark.parametrize(
    "text", ['import "m" as m; m::f', 'include "m"; f', 'import "d" as $d; $d', '# c\ninclude "m"; f']
)
def test_no_file_is_read(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m.jq").write_text("def f: 1;")
    (tmp_path / "d.json").write_text("1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "syntax error" in failure(text)
    assert "syntax error" in (check(text, ()) or "")


@pytest.mark.parametrize(
    "text",
    [
        ".a) | (.b",
        "1) , (2",
        ")",
        "(",
        ".a | (",
        "$__given",
        "$_given",
        "$__now",
        "$_now",
        "$__loc__",
        ".a) #\\",
    ],
)
def test_no_text_reaches_out_of_its_wrapping(text: str) -> None:
    assert failure(text, {"a": 1, "b": 2})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it is empty"),
        ("1 +", "syntax error, unexpected end of file (line 1, column 4)"),
        (".a |\n foo", "foo/0 is not defined (line 2, column 2)"),
        ("$nope + 1", "$nope is not defined here; known are $context, $input"),
        ("$nope.a", "$nope is not defined here; known are $context, $input"),
        ("$__loc__", "$__loc__ is not available in workflows"),
    ],
)
def test_check_returns_the_reason_why_a_text_does_not_compile(text: str, why: str) -> None:
    assert check(text, ["input", "context"]) == why


@pytest.mark.parametrize(
    "text", [".", ".a", "$input", "$input + 1", "1", '"x"', "now", ". as $x | $x", "env"]
)
def test_check_accepts_expressions_that_run(text: str) -> None:
    assert check(text, ["input"]) is None


@pytest.mark.parametrize(
    "text",
    [
        ".s + 1",
        ".s | tonumber",
        ".s | fromjson",
        ".n | test(.)",
        ".s[0]",
        ".s.x",
        ".n - .s",
        ".s | keys",
        ".n | has(0)",
        ".s | map(.)",
        '.s | strptime("%Y")',
        ".s | fromdate",
        ".s | @base64d",
        ".s as $x | [] | .[$x]",
        "[.s] | implode",
        "[.n] | @csv",
        "[.s, 1] | sort_by(.x)",
        ".s | mktime",
        ".s | error(1)?, .x",
        '.s as $x | "a" | test("a"; $x)',
        '.s as $x | "a" | splits("b"; $x)',
        ".s as $x | 1 | format($x)",
        ".s as $error | 1 | format($error)",
        ".s as $error | $error | fromdate",
        "{error: .s} | .error | fromdate",
        "{error: .s} | {error} | .error | fromdate",
        '"error" as $x | .s | fromdate',
        ".s | fromdate # no error",
    ],
)
def test_a_failure_shows_the_text_and_not_the_data(text: str) -> None:
    detail = failure(text, {"s": 'hush") (hush "hush', "n": {"hush": 1}})
    assert detail.startswith(f"expression ${{ {text} }} failed: ")
    assert "hush" not in detail.split("failed: ", 1)[1]


@pytest.mark.parametrize(
    "text",
    [
        'error("no \\"stock\\"")',
        '"no \\"stock\\"" | error',
        'if . then . else error("no \\"stock\\"") end',
        '"\\(1)" | error("no \\"stock\\"")',
        '"a # b" as $x | error("no \\"stock\\"")',
    ],
)
def test_a_message_that_the_author_quotes_is_kept(text: str) -> None:
    assert failure(text).endswith('failed: no "stock"')


def test_error_raised_by_the_author_keeps_its_message() -> None:
    assert failure('error("no stock")') == 'expression ${ error("no stock") } failed: no stock'
    assert failure(". + {a: 1}", '{"secret": 1}') == (
        "expression ${ . + {a: 1} } failed: string and object cannot be added; a text that holds JSON, "
        "such as the output of a process, is parsed by fromjson"
    )


def test_a_long_text_is_shortened_in_a_failure() -> None:
    assert len(failure(".a." + "b" * 500, {"a": 1})) < 800
    assert "…" in failure(". + 1 | " + " + ".join("1" for _ in range(200)), "text")


def test_a_flood_of_results_is_an_error() -> None:
    assert "more than 1000000 results" in failure("range(3000000)")


def test_deep_data_is_an_error_not_a_crash() -> None:
    deep: Any = 1
    for _ in range(20_000):
        deep = [deep]
    assert failure(". | length + 1", deep)


def test_the_same_text_is_compiled_once() -> None:
    assert expression(".a + 1") is expression(".a + 1")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(max_size=3)
    | st.floats(-1e6, 1e6).map(lambda x: x + 0.0),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "x y", "and", "", "é"]), inner, max_size=3)
    ),
    max_leaves=8,
)
STEPS = st.lists(
    st.sampled_from(
        [
            ".a",
            ".b",
            ".and",
            '."x y"',
            '["a"]',
            '.["x y"]',
            "[0]",
            "[-1]",
            "[1]",
            ".[0]",
            "[ 1 ]",
            '[""]',
            '."é"',
            "[-7]",
        ]
    ),
    max_size=4,
).map("".join)
PATHS = st.one_of(
    STEPS.map(lambda steps: steps if steps.startswith(".") else "." + steps),
    STEPS.map(lambda steps: "$context" + steps),
    st.sampled_from(
        [
            "true",
            "false",
            "null",
            "0",
            "-3",
            "1.5",
            "1e3",
            "0.25e2",
            '"text"',
            '""',
            "[1]",
            "{}",
            " .a ",
            "..",
            ".a..",
        ]
    ),
)


def by_jq(text: str, value: Any) -> tuple[bool, Any]:
    """Whether jq takes the text and value, and its one result."""
    try:
        results = jq.compile(text, args=dict(ARGUMENTS.values)).input_value(value).all()
    except ValueError:
        return False, None
    return True, results[0] if len(results) == 1 else results or None


@settings(max_examples=examples(300))
@given(text=PATHS, value=JSON)
def test_plain_paths_and_literals_have_the_results_of_jq(text: str, value: Any) -> None:
    before = copy.deepcopy(value)
    valid, expected = by_jq(text, value)
    if not valid:
        failure(text, value)
    else:
        result = evaluate(text, value)
        assert result == expected
        assert isinstance(result, bool) == isinstance(expected, bool)
    assert value == before


@settings(max_examples=examples(100))
@given(text=st.text(alphabet='.$a[]"0-1 x_\\()|', max_size=8), value=JSON)
def test_natively_evaluated_expressions_are_valid_jq(text: str, value: Any) -> None:
    if parse(text) is None:
        return
    expression_ = Expression(text)
    valid, expected = by_jq(text, value)
    try:
        result = expression_.evaluate(value, ARGUMENTS)
    except WorkflowError:
        assert not valid
    else:
        assert valid
        assert result == expected


@given(number=st.integers())
def test_integers_stay_exact_on_plain_paths(number: int) -> None:
    assert evaluate(".a[0]", {"a": [number]}) == number
    assert evaluate(str(number)) == number


@pytest.mark.parametrize("sign", ["", "-"])
@pytest.mark.parametrize("digits", [640, 641, 5_000])
def test_an_integer_literal_of_any_length_is_checked_and_evaluated(sign: str, digits: int) -> None:
    text = sign + "1" * digits
    assert check(text, ()) is None
    exact = digits <= 640
    assert evaluate(text) == (int(text) if exact else float(f"{sign}{sys.float_info.max}"))


@given(value=JSON)
def test_a_result_of_jq_is_a_copy_and_the_input_is_untouched(value: Any) -> None:
    before = copy.deepcopy(value)
    evaluate(". | [., .]", value)
    assert value == before
