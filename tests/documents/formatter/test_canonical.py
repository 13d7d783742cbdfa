"""Rules of the canonical form, each by an example."""

from __future__ import annotations

from textwrap import dedent

import pytest

from iogate.documents.formatter.file_formatter import format_bytes
from iogate.documents.formatter.printer import print_document
from iogate.errors import Refused


def formatted(text: str, name: str = "a.yaml") -> str:
    made = format_bytes(dedent(text).encode(), name)
    assert made.text is not None, made.problems
    return made.text


def same(text: str) -> None:
    assert formatted(text) == dedent(text)


def settings(text: str) -> str:
    """The form of a file whose keys keep their order."""
    return formatted(text, "iogate.yaml")


def test_keys_of_an_api_document_are_in_the_order_of_the_reference() -> None:
    text = """\
    methods:
      submit:
        debug:
          - expect: {output: {b: 1, a: 2}, http: 202}
            name: happy path
            body: {z: 1, a: 2}
        timeout: 5m
        workflow: shop/fulfil
        verbs: [POST]
        metadata: {z: 1, a: 2}
    tags: [x]
    module: orders
    """
    assert formatted(text) == dedent("""\
    module: orders
    tags: [x]
    methods:
      submit:
        verbs: [POST]
        workflow: shop/fulfil
        timeout: 5m
        metadata: {z: 1, a: 2}
        debug:
          - name: happy path
            body: {z: 1, a: 2}
            expect: {output: {b: 1, a: 2}, http: 202}
    """).replace("{output: {b: 1, a: 2}, http: 202}", "{http: 202, output: {b: 1, a: 2}}")


def test_keys_of_a_workflow_and_its_tasks_are_in_the_conventional_order() -> None:
    text = """\
    output: {as: ${ . }}
    do:
      - ask:
          then: end
          catch:
            do:
              - log: {then: exit, set: {b: 1, a: 2}}
            errors: {with: {status: 503}}
          try:
            - call:
                output: {as: .x}
                timeout: {after: PT5S}
                with:
                  headers: {Z: "1", A: "2"}
                  endpoint: https://x.example
                  method: get
                call: http
                if: ${ .go }
      - run:
          run:
            await: false
            script: {arguments: [a], code: x, language: python}
          metadata: {z: 1}
          export: {as: .}
    timeout: {after: PT1H}
    schedule: {cron: "0 8 * * *"}
    use: {secrets: [s]}
    x-own: 1
    input: {from: .}
    document: {version: 1.0.0, name: n, namespace: s, dsl: 1.0.3, metadata: {z: 1, iogate: {timezone: UTC}}}
    """.replace("${ . }", '"${ . }"').replace("${ .go }", '"${ .go }"')
    assert formatted(text) == dedent("""\
    document: {dsl: 1.0.3, namespace: s, name: n, version: 1.0.0, metadata: {z: 1, iogate: {timezone: UTC}}}
    input: {from: .}
    use: {secrets: [s]}
    schedule: {cron: "0 8 * * *"}
    timeout: {after: PT1H}
    do:
      - ask:
          try:
            - call:
                if: ${ .go }
                call: http
                with:
                  method: get
                  endpoint: https://x.example
                  headers: {Z: "1", A: "2"}
                timeout: {after: PT5S}
                output: {as: .x}
          catch:
            errors: {with: {status: 503}}
            do:
              - log: {set: {b: 1, a: 2}, then: exit}
          then: end
      - run:
          run:
            script: {language: python, code: x, arguments: [a]}
            await: false
          export: {as: .}
          metadata: {z: 1}
    output: {as: "${ . }"}
    x-own: 1
    """)


def test_a_comment_moves_with_its_key_and_the_head_of_the_file_stays() -> None:
    text = """\
    # yaml-language-server: $schema=x.json

    # why these methods
    methods:
      a:
        timeout: 1m    # short

        # the one that ships
        workflow: a/b
        # retention: 1d

      # about b

      # more about b
      b: {workflow: a/b}
    # about the module
    module: m
    # the end
    """
    assert formatted(text) == dedent("""\
    # yaml-language-server: $schema=x.json

    # why these methods
    # about the module
    module: m
    methods:
      a:
        # the one that ships
        workflow: a/b
        timeout: 1m    # short
        # retention: 1d

      # about b

      # more about b
      b: {workflow: a/b}
    # the end
    """)


def test_an_ignore_comment_above_the_first_key_moves_with_it() -> None:
    text = """\
    # the orders

    # iogate: ignore IOG529 the auditor wants
    # a year
    # iogate: ignore-file IOG528
    retention: 1y
    # about the module
    module: m
    """
    assert formatted(text) == dedent("""\
    # the orders

    # iogate: ignore-file IOG528
    # about the module
    module: m
    # iogate: ignore IOG529 the auditor wants
    # a year
    retention: 1y
    """)
    first = "# the file\n\n# iogate: ignore IOG529 the auditor\na: 1\nb: 2\n"
    assert settings(first) == first
    both = "retention: 1y\n# iogate: ignore IOG529 x\n# iogate: ignore-file IOG528\nmodule: m\n"
    assert formatted(formatted(both)) == formatted(both)


@pytest.mark.parametrize(
    "text",
    [
        "a: # of a\n  b: 1\nc:\n  # alone\n",
        "a:\n  # above the value\n  b\n",
        "a: | # of the text\n  x\n",
        "a:\n  - # of the item\n    b: 1\n  - c # of c\n  # end of the list\n",
        "a:\n  - b: 1\n    # end of the item\n\n  # next\n  - c: 1\n",
        "--- # marker\na: 1\n".replace("--- # marker", "---\n# marker"),
        "# top\n---\na: 1\n",
        "a: &x # of the anchor\n  b: 1\nc: *x\n",
    ],
)
def test_comments_have_places_that_stay(text: str) -> None:
    assert settings(text) == text


def test_a_comment_about_the_next_key_stays_there_below_a_list_without_indentation() -> None:
    assert settings("a:\n- 1\n# about b\nb: 2\n") == "a:\n  - 1\n# about b\nb: 2\n"


def test_comments_inside_brackets_stay_when_the_brackets_go() -> None:
    text = """\
    a: [1, # one
      # two follows
      2] # the list
    b: {x: 1,
      # nothing else
      }
    c: [ # empty
      ]
    """
    assert settings(text) == dedent("""\
    a: # the list
      - 1 # one
      # two follows
      - 2
    b:
      x: 1
      # nothing else
    # empty
    c: []
    """)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("a: { # of a\n  b: 1}\n", "a: {b: 1} # of a\n"),
        ("a: { # of a\n  b: 1, # of b\n  }\n", "a: # of a\n  b: 1 # of b\n"),
        ("a: { # of a\n  b: 1} # end\n", "# of a\na: {b: 1} # end\n"),
        ("a: {b: [ # of b\n  1, 2], c: 3}\n", "a:\n  b: [1, 2] # of b\n  c: 3\n"),
        # Problems of an item that becomes a block are at its first entry.
        ("a: [{ # of the item\n  b: 1}]\n", "a:\n  # of the item\n  - b: 1\n"),
    ],
)
def test_a_comment_behind_an_opening_bracket_stays_at_the_line_of_the_key(
    written: str, expected: str
) -> None:
    assert settings(written) == expected
    assert settings(expected) == expected


IGNORE = "# iogate: ignore IOG521 why"
WIDE = f"a: {{b: {'x' * 60}, c: {'y' * 60}}}"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (
            f"a:\n    b: {{\n      x: 1,   y: 2 {IGNORE}\n    }}\n",
            f"a:\n  b: {{\n    x: 1,   y: 2 {IGNORE}\n  }}\n",
        ),
        (
            f"a:\n - {{b: 1, {IGNORE}\n\n\tc: 'd\n  e'}}\n",
            f"a:\n  - {{b: 1, {IGNORE}\n\n    c: 'd\n    e'}}\n",
        ),
        (f"a: {{ {IGNORE}\n  b: 1}} # end\n", f"a: {{ {IGNORE}\n  b: 1}} # end\n"),
        (f"a: {{b: [1,\r\n 2]}}   {IGNORE}\r\n", f"a: {{b: [1,\n  2]}}   {IGNORE}\n"),
        (f"a: # of a\n    {{b: 1, {IGNORE}\n    c: 2}}\n", f"a: # of a\n  {{b: 1, {IGNORE}\n    c: 2}}\n"),
        (f"{IGNORE}\na: &x {{b: 1,\n  c: 2}}\nd: *x\n", f"{IGNORE}\na: &x {{b: 1,\n  c: 2}}\nd: *x\n"),
        (f"a: {{ b: 1 }} {IGNORE}\n", f"a: {{b: 1}} {IGNORE}\n"),
        (f"{WIDE} {IGNORE}\n", f"{WIDE} {IGNORE}\n"),
        (f"{IGNORE}\n{WIDE}\n", f"{IGNORE}\n{WIDE}\n"),
        (f"a: {{b: 1,\n  c: 2}}\nd: 1 {IGNORE}\n", f"a: {{b: 1, c: 2}}\nd: 1 {IGNORE}\n"),
    ],
)
def test_brackets_to_which_an_ignore_comment_applies_keep_their_lines(written: str, expected: str) -> None:
    assert settings(written) == expected
    assert settings(expected) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("'1.0.3'", "1.0.3"),
        ('"a text"', "a text"),
        ("'${ .a | b(\"c\") }'", '${ .a | b("c") }'),
        ("'${ {a: .b} }'", '"${ {a: .b} }"'),
        ("'${ \"a\": 1 }'", "'${ \"a\": 1 }'"),
        ('"yes"', '"yes"'),
        ("'on'", '"on"'),
        ('"2024-01-01"', '"2024-01-01"'),
        ('"0123"', '"0123"'),
        ('"1e3"', '"1e3"'),
        ('"12:30"', '"12:30"'),
        ('"null"', '"null"'),
        ('""', '""'),
        ("'~'", '"~"'),
        ('"="', '"="'),
        ('"0 8 * * mon-fri"', '"0 8 * * mon-fri"'),
        ("'a: b'", '"a: b"'),
        ("'say \"x\"'", "'say \"x\"'"),
        ('"say \\"x\\""', "'say \"x\"'"),
        ("'it''s'", '"it\'s"'),
        ("'\\d+'", "'\\d+'"),
        ('"\\\\d+"', '"\\\\d+"'),
        ('"tab\\tcaf\\u00e9"', '"tab\\tcaf\\u00e9"'),
        ("'- x'", '"- x"'),
        ('"a\u200bb"', '"a\u200bb"'),
        ("'a-b'", "a-b"),
        ("0x1F", "0x1F"),
        ("TRUE", "TRUE"),
        ("!!str 42", "!!str 42"),
    ],
)
def test_quotes_are_where_they_are_needed(written: str, expected: str) -> None:
    assert settings(f"a: {written}\n") == f"a: {expected}\n"


def test_inside_brackets_an_expression_keeps_its_quotes() -> None:
    assert settings("a: {b: '${ .c }', d: 'e'}\n") == 'a: {b: "${ .c }", d: e}\n'


def test_brackets_stay_if_they_fit_on_a_line_and_become_blocks_otherwise() -> None:
    assert settings("a: {  b: 1,\n   c: [ 1,2 ] }\n") == "a: {b: 1, c: [1, 2]}\n"
    word = "x" * 50
    assert settings(f"a: {{b: {word}, c: {{d: {word}}}, e: [{word}]}}\n") == (
        f"a:\n  b: {word}\n  c: {{d: {word}}}\n  e: [{word}]\n"
    )
    assert settings('{"a": {"b": [1, {"c": null}]}, "d": "\\ud83d\\ude00"}\n') == (
        "a: {b: [1, {c: null}]}\nd: 😀\n"
    )


def test_a_value_that_is_left_out_is_null_in_braces() -> None:
    assert settings("a: {b, c: 1}\nd:\n? e\n") == "a: {b: null, c: 1}\nd:\ne:\n"


def test_rare_notations_keep_their_meaning() -> None:
    text = "%TAG !e! tag:yaml.org,2002:\n---\n? a # of a\n: !e!str 1\nb: &x [c: 1, ]\nd: *x\n...\n# end\n"
    assert settings(text) == (
        "%TAG !e! tag:yaml.org,2002:\n---\na: !!str 1 # of a\nb: &x [{c: 1}]\nd: *x\n# end\n"
    )


def test_indentation_empty_lines_and_line_ends_are_uniform() -> None:
    text = (
        "\ufeffa:\r\n\r\n    b:\r\n    - 1   \r\n    -   c: 2\r\n        d: 3\r\n\r\n\r\n\r\ne:   f\r\n\r\n"
    )
    assert settings(text) == "a:\n  b:\n    - 1\n    - c: 2\n      d: 3\n\ne: f\n"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("a: |\n     x\n       y\n\n     z\n\n\nb: 1\n", "a: |\n  x\n    y\n\n  z\n\nb: 1\n"),
        ("a: |+\n   x\n\n\nb: 1\n", "a: |+\n  x\n\n\nb: 1\n"),
        ("a: |4\n      x\n    y\n", "a: |2\n    x\n  y\n"),
        ("a: >-\n   ${ .b\n     | c }\n", "a: >-\n  ${ .b\n    | c }\n"),
        ("a: |\n  no line break at the end", "a: |-\n  no line break at the end\n"),
        ("a: |\n\nb: >+\n\n\nc: 1\n", 'a: ""\n\nb: "\\n\\n"\nc: 1\n'),
        ("a: first\n      second\n\n      third\n", "a: first\n  second\n\n  third\n"),
        ('a: "first \\\n      second\\\n   \\  third"\n', 'a: "first \\\n  second\\\n  \\  third"\n'),
    ],
)
def test_texts_over_several_lines_keep_their_lines(written: str, expected: str) -> None:
    assert settings(written) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("a: {b: 'say \"x\"\n   y'}\n", "a: {b: 'say \"x\" y'}\n"),
        ('a: ["say \\"x\\"\n   it\'s"]\n', 'a: ["say \\"x\\" it\'s"]\n'),
        ("a: ['\\d\n   \\w']\n", 'a: ["\\\\d \\\\w"]\n'),
        ('a: ["b\n\n   c"]\n', 'a: ["b\\nc"]\n'),
        ("? |-\n  a text\n: 1\n", "a text: 1\n"),
        ('? >-\n  say\n  "x"\n: 1\n', "'say \"x\"': 1\n"),
    ],
)
def test_a_text_over_several_lines_that_gets_on_one_has_the_quotes_of_such_a_text(
    written: str, expected: str
) -> None:
    assert settings(written) == expected
    assert settings(expected) == expected


def test_a_line_of_spaces_in_a_text_is_content_and_no_empty_line() -> None:
    made = format_bytes(b"a: >\n x\n  \nb: |\n x\n\n\tc\nd: 1\n".replace(b"\t", b" \t"), "iogate.yaml")
    assert made.text == "a: >\n  x\n   \nb: |\n  x\n\n  \tc\nd: 1\n"
    assert not format_bytes(made.text.encode(), "iogate.yaml").changed


def test_an_alias_does_not_get_in_front_of_its_anchor() -> None:
    same("""\
    methods:
      a: {workflow: a/b, tags: &shared [x]}
    module: m
    tags: *shared
    """)


def test_what_does_not_mean_the_same_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for change, lost in (
        (lambda text: text.replace("1m", "2m"), "the result would have other values"),
        (lambda text: text.replace("# why", ""), "the result would lose a comment"),
        (lambda text: text + "\t- x", "the result would not be valid (a tab indents this line)"),
    ):
        monkeypatch.setattr(
            "iogate.documents.formatter.canonical.print_document",
            lambda tree, change=change: change(print_document(tree)),
        )
        with pytest.raises(Refused) as refused:
            formatted("timeout: 1m # why\nmodule: m\n", "apis.d/m.yaml")
        assert refused.value.message == (
            f"apis.d/m.yaml: cannot be formatted: {lost}; the file stays as it is"
        )
        assert refused.value.code == "IOG720"
