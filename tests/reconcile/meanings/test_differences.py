"""Differences that are easily overlooked: every one that a caller can notice is told, and shown as one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from iogate.reconcile.meanings import workflows
from iogate.reconcile.plan import Side, plan
from iogate.reconcile.plan_facts import Facts
from iogate.reconcile.shown_values import as_texts, shown
from tests.reconcile.meanings.test_changes import API, FILES, ORDER, A, W, compiled


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (1, "1", '1 → "1"'),
        ("a b", "a  b", '"a b" → "a  b"'),
        ("x" * 70 + "y", "x" * 70 + "z", f'…{"x" * 15}y" → …{"x" * 15}z"'),
        (
            "Authorization: Bearer abcdefghijklm1",
            "Authorization: Bearer abcdefghijklm2",
            "Authorization: [redacted] → Authorization: [redacted]",
        ),
    ],
)
def test_two_values_are_shown_with_their_difference(before: object, after: object, text: str) -> None:
    assert " → ".join(as_texts(shown(("do",), before), shown(("do",), after))) == text


@pytest.mark.parametrize(
    ("place", "reads"),
    [
        ("{as: {done: true}}", "{as: '${ $workflow }'}"),
        ("{as: {done: true}}", "{as: '${ $workflow | .definition }'}"),
        ("{set: {total: 7}}", "{set: {total: 7}, output: {as: '${ $task }'}}"),
    ],
)
def test_a_default_counts_if_the_data_may_hold_the_definition(tmp_path: Path, place: str, reads: str) -> None:
    reading = ORDER.replace(place, reads)
    assert reading != ORDER
    before = compiled(tmp_path / "a", {**FILES, W: reading})
    after = compiled(
        tmp_path / "b", {**FILES, W: reading.replace("{ok: true}}", "{ok: true}, then: continue}")}
    )
    assert plan(Side.of(before), Side.of(after), Facts())


def test_a_default_is_no_change_beside_an_expression_that_reads_the_id(tmp_path: Path) -> None:
    reading = ORDER.replace("{as: {done: true}}", "{as: '${ $workflow.id }'}")
    before = compiled(tmp_path / "a", {**FILES, W: reading})
    after = compiled(
        tmp_path / "b", {**FILES, W: reading.replace("{ok: true}}", "{ok: true}, then: continue}")}
    )
    assert not plan(Side.of(before), Side.of(after), Facts())


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ("sku: {type: string, maxLength: 20}", "sku: {const: 1}", "input.changed"),
        ("sku: {type: string, maxLength: 20}", "sku: {enum: [0, 1]}", "input.narrowed"),
        ("    tags:", "    metadata: {a: 1}\n    tags:", "api.changed"),
    ],
)
def test_true_is_not_one(tmp_path: Path, old: str, new: str, kind: str) -> None:
    before = compiled(tmp_path / "a", {**FILES, A: API.replace(old, new)})
    other = API.replace(old, new.replace("1", "true"))
    found = plan(Side.of(before), Side.of(compiled(tmp_path / "b", {**FILES, A: other})), Facts())
    assert [meaning.kind for change in found.changes for meaning in change.meanings] == [kind]
    same = API.replace(old, new.replace("1", "1.0"))
    assert not plan(Side.of(before), Side.of(compiled(tmp_path / "c", {**FILES, A: same})), Facts())


@pytest.mark.parametrize("kind", ["auth", "debug"])
def test_true_is_not_one_in_claims_and_examples(tmp_path: Path, kind: str) -> None:
    old, new = {
        "auth": ("{token: {env: TOKEN}}", "{jwt: {issuer: 'https://a.test', claims: {admin: 1}}}"),
        "debug": ("    tags:", "    debug: [{name: a, body: {sku: x, n: 1}}]\n    tags:"),
    }[kind]
    other = API.replace(old, new.replace(": 1}", ": true}"))
    before, after = (
        compiled(tmp_path / name, {**FILES, A: text})
        for name, text in (("a", API.replace(old, new)), ("b", other))
    )
    (change,) = plan(Side.of(before), Side.of(after), Facts()).changes
    assert {each.kind for each in change.meanings} == {
        "auth": {"jwt.widened", "jwt.narrowed"},
        "debug": {"api.changed"},
    }[kind]


@pytest.mark.parametrize(
    ("old", "new", "kinds"),
    [
        ("input: {schema: {document: {type: object}}, from: {a: 1}}\n", "",
         {"input.widened", "input.changed"}),
        ("input: {schema: {document: {type: object}}, from: {a: 1}}\n",
         "input: {schema: {document: {type: object, required: [a]}}, from: {a: 2}}\n",
         {"input.narrowed", "input.changed"}),
        ("input: {from: {a: 1}}\n", "", {"input.changed"}),
        ("", "input: {schema: {document: {type: object}}}\n", {"input.narrowed"}),
    ],
)  # fmt: skip
def test_a_changed_schema_does_not_hide_the_data_of_the_input(
    tmp_path: Path, old: str, new: str, kinds: set[str]
) -> None:
    before, after = (
        compiled(tmp_path / name, {**FILES, W: ORDER + text}) for name, text in (("a", old), ("b", new))
    )
    (change,) = plan(Side.of(before), Side.of(after), Facts()).changes
    assert {each.kind for each in change.meanings} == kinds


TIMED = """\
document: {dsl: '1.0.3', namespace: shop, name: order, version: 1.0.0}
timeout: {after: {minutes: 1}}
use: {retries: {often: {delay: {seconds: 60}, limit: {attempt: {duration: PT90S}}}}}
do:
  - nap: {wait: {seconds: 1}}
  - keep: {set: {wait: PT60S}}
  - again: {try: [{nap: {wait: PT1H}}], catch: {retry: {delay: PT3600S, jitter: {from: PT0S, to: PT1.0S}}}}
  - late: {wait: '${ .delay }', timeout: {after: PT60M}}
"""
SAME = (
    ("{minutes: 1}", "PT60S"), ("{seconds: 60}", "PT1M"), ("PT90S", "{minutes: 1, seconds: 30}"),
    ("{seconds: 1}", "PT1S"), ("PT1H", "PT60M"), ("PT3600S", "PT1H"), ("PT1.0S", "PT1S"), ("PT60M", "PT1H"),
)  # fmt: skip


def test_equal_durations_are_no_change(tmp_path: Path) -> None:
    before = compiled(tmp_path / "a", {**FILES, W: TIMED})
    other = TIMED
    for old, new in SAME:
        other = other.replace(old, new, 1)
    assert not plan(Side.of(before), Side.of(compiled(tmp_path / "b", {**FILES, W: other})), Facts())
    renamed = other.replace("wait: PT1S", "wait: PT2S")
    (change,) = plan(
        Side.of(before), Side.of(compiled(tmp_path / "c", {**FILES, W: renamed})), Facts()
    ).changes
    assert [each.text for each in change.meanings] == ["/do/0/nap/wait changed (PT1S → PT2S)"]


@pytest.mark.parametrize(
    ("task", "meaning"),
    [
        (
            '{"a": {"set": {"do": [{"NAME": 1}]}}}',
            ("task.changed", "/do/0/a/set/do/0/new moved from /do/0/a/set/do/0/old"),
        ),
        (
            '{"a": {"emit": {"event": {"with": {"type": "t", "data": {"do": [{"NAME": 1}]}}}}}}',
            (
                "task.changed",
                "/do/0/a/emit/event/with/data/do/0/new moved from /do/0/a/emit/event/with/data/do/0/old",
            ),
        ),
        ('{"set": {"do": [{"NAME": {"set": 1}}]}}', ("task.renamed", 'task "new" renamed, was "old"')),
        (
            '{"a": {"listen": {"to": {"any": []}}, "foreach": {"do": [{"NAME": {"set": 1}}]}}}',
            ("task.renamed", 'task "new" renamed, was "old"'),
        ),
    ],
)
def test_data_that_look_like_tasks_are_no_tasks(task: str, meaning: tuple[str, str]) -> None:
    before, after = (
        {"document": {"name": "a"}, "do": [json.loads(task.replace("NAME", name))]} for name in ("old", "new")
    )
    found = workflows.meanings(before, after, workflows.differences(before, after))
    assert [(each.kind, each.text) for each in found] == [meaning]


def test_a_duration_in_data_or_read_by_an_expression_counts(tmp_path: Path) -> None:
    before = compiled(tmp_path / "a", {**FILES, W: TIMED})
    data = TIMED.replace("set: {wait: PT60S}", "set: {wait: PT1M}")
    assert plan(Side.of(before), Side.of(compiled(tmp_path / "b", {**FILES, W: data})), Facts())
    reading = TIMED + "output: {as: '${ $workflow.definition }'}\n"
    before = compiled(tmp_path / "c", {**FILES, W: reading})
    after = compiled(tmp_path / "d", {**FILES, W: reading.replace("{seconds: 1}", "PT1S")})
    assert plan(Side.of(before), Side.of(after), Facts())
