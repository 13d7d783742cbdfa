"""Debug cases are checked where they stand: those of schedules, and the errors of mocks."""

from __future__ import annotations

from pathlib import Path

import pytest

from iogate.compiler.revision import digest_of
from tests.compiler.projects import bundle, compiled, told, workflow

HEAD = """\
document:
  dsl: 1.0.3
  namespace: shop
  name: order
  version: 1.0.0
  metadata:
    iogate:
      timezone: Europe/Berlin
      debug:
        - {case}
schedule: {schedule}
timeout: {{after: PT1M}}
do:
- done: {{call: http, with: {{method: get, endpoint: https://pay.example.com/}}}}
"""
DAILY = "{cron: '0 6 * * mon-fri'}"
ORDERS = "{on: {one: {with: {type: placed}}}}"


@pytest.mark.parametrize(
    ("case", "schedule", "expected"),
    [
        ("{name: a, at: 2026-03-30T04:00:00Z}", DAILY, None),
        ("{name: a, mocks: {/do/0/done: {output: 1}}, expect: {status: completed}}", DAILY, None),
        (
            "{name: a, at: 2026-03-30T06:00:00Z}",
            DAILY,
            "10:25 IOG317 the schedule has no tick at this moment; the next one is 2026-03-31T06:00:00+02:00",
        ),
        (
            "{name: a}",
            ORDERS,
            '10:11 IOG317 the schedule waits for events, and the case has none; write "events"',
        ),
        (
            "{name: a, mocks: {/do/0/don: {output: 1}}}",
            DAILY,
            '10:29 IOG318 no task at "/do/0/don" in this workflow; it has /do/0/done;'
            ' did you mean "/do/0/done"?',
        ),
        (
            "{name: a, body: {}}",
            DAILY,
            '10:21 IOG201 unknown key "body" in "document.metadata.iogate.debug.0";'
            ' a schedule starts its workflow with {} or, with "on", with the events: write "events"',
        ),
        (
            "{name: a, expct: {}}",
            DAILY,
            '10:21 IOG201 unknown key "expct" in "document.metadata.iogate.debug.0"; did you mean "expect"?',
        ),
        (
            "{name: a, expect: {http: 202}}",
            DAILY,
            '10:30 IOG201 unknown key "http" in "document.metadata.iogate.debug.0.expect";'
            " a schedule sends no request",
        ),
        (
            "{name: a, at: 2026-03-30T06:00:00}",
            DAILY,
            '10:25 IOG205 "at" in "document.metadata.iogate.debug.0" must be a moment with its offset from'
            ' UTC, such as 2026-03-02T06:00:00Z, not "2026-03-30T06:00:00"',
        ),
        (
            '{name: a, at: "9999-12-31T23:59:59-23:59"}',
            DAILY,
            '10:25 IOG205 "at" in "document.metadata.iogate.debug.0" must be a moment with its offset from'
            ' UTC, such as 2026-03-02T06:00:00Z, not "9999-12-31T23:59:59-23:59"',
        ),
        (
            "{at: 2026-03-30T04:00:00Z}",
            DAILY,
            '10:11 IOG202 missing "name" in "document.metadata.iogate.debug.0"',
        ),
        (
            "{name: a, events: [{kind: x}]}",
            ORDERS,
            "10:30 IOG206 an event has a type; write type: com.example.paid",
        ),
        (
            "{name: a}\n        - {name: a}",
            DAILY,
            '11:18 IOG109 two debug cases are called "a"; the first on line 10',
        ),
    ],
)
def test_a_case_of_a_schedule_is_checked_at_its_place(
    tmp_path: Path, case: str, schedule: str, expected: str | None
) -> None:
    files = {"workflows.d/order.yaml": HEAD.format(case=case, schedule=schedule)}
    found = [
        f"{each.line}:{each.column} {each.code} {each.message}" + (f"; {each.hint}" if each.hint else "")
        for each in compiled(tmp_path, files).problems
    ]
    assert found == ([] if expected is None else [expected])


def test_cases_without_a_schedule_are_reported_with_the_place_for_apis(tmp_path: Path) -> None:
    text = HEAD.format(case="{name: a}", schedule=DAILY).replace(f"schedule: {DAILY}\n", "")
    (problem,) = compiled(tmp_path, {"workflows.d/order.yaml": text}).problems
    assert (problem.code, problem.line, problem.column) == ("IOG317", 9, 7)
    assert problem.hint == 'cases of an API stand under "debug" of its method'


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ("{iogate: {debg: []}}", 'IOG201 unknown key "debg" in "document.metadata.iogate"'),
        ("{iogate: [1]}", 'IOG203 "iogate" in "document.metadata" must be a mapping, not a list'),
        ("{iogate: {missed: all}, owner: ada}", None),
    ],
)
def test_of_the_metadata_only_our_own_is_closed(tmp_path: Path, metadata: str, expected: str | None) -> None:
    text = workflow().replace("version: '1.0.0'}", f"version: '1.0.0', metadata: {metadata}}}")
    result = told(compiled(tmp_path, {"workflows.d/order.yaml": text}))
    assert [each.partition(" ")[2] for each in result] == ([] if expected is None else [expected])


def test_cases_are_no_part_of_the_program(tmp_path: Path) -> None:
    """An edited case changes no workflow: the digest is that of the document without cases."""
    text = HEAD.format(case="{name: a}", schedule=DAILY)
    with_cases = bundle(tmp_path, {"workflows.d/order.yaml": text})
    without = text.replace("      debug:\n        - {name: a}\n", "")
    assert without != text
    plain = bundle(tmp_path, {"workflows.d/order.yaml": without})
    assert with_cases.revision == plain.revision
    assert with_cases.programs == plain.programs
    only = text.replace("      timezone: Europe/Berlin\n", "")
    bare = without.replace("  metadata:\n    iogate:\n      timezone: Europe/Berlin\n", "")
    assert "metadata" not in bare
    digests = {
        digest_of(bundle(tmp_path, {"workflows.d/order.yaml": each}).revision) for each in (only, bare)
    }
    assert len(digests) == 1


CALLING = """\
document: {dsl: 1.0.3, namespace: shop, name: order, version: 1.0.0}
do:
- done: {call: http, with: {method: get, endpoint: https://pay.example.com/}}
- count: {set: {n: 1}}
- each:
    for: {in: "${ .items }"}
    do: [{send: {call: http, with: {method: get, endpoint: https://a.example/}}}]
- own: {call: charge}
use: {functions: {charge: {set: {n: 2}}}}
"""
API = """\
module: orders
auth: none
timeout: 5m
methods:
  submit:
    workflow: shop/order
    debug:
      - name: a
        mocks:
          /do/0/done:
            error: {error}
"""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("{type: communication, status: 422, response: {headers: {Retry-After: '7'}, body: {a: 1}}}", None),
        ("{response: {status: 503}}", None),
        ("{process: {code: 3, stderr: no paper}}", None),
        ("{process: {exitCode: 3}}", '31 IOG101 unknown key "exitCode"; did you mean "code"?'),
        ("{tpye: timeout}", '21 IOG101 unknown key "tpye"; did you mean "type"?'),
        ("{message: no}", '21 IOG101 unknown key "message"; did you mean "detail"?'),
        ("{instance: /do/0}", '21 IOG101 unknown key "instance"; leave it out: the run sets it'),
        ("{body: {a: 1}}", '21 IOG101 unknown key "body"; it belongs under "response"'),
        ("{response: {statusCode: 4}}", '32 IOG101 unknown key "statusCode"; did you mean "status"?'),
        ("{response: {status: 42}}", '40 IOG105 "status"; '),
        (
            "{status: 9999}",
            '29 IOG105 "status" in "debug.0.mocks./do/0/done.error" of method orders/submit must be',
        ),
        (
            "{type: comunication}",
            '27 IOG318 "type" of the error of a mock must be a URI or one of the standard\'s types:'
            ' authentication, authorization, ; did you mean "communication"?',
        ),
        ("{type: https://pay.example.com/errors/declined}", None),
        (
            "{response: {headers: {retry-after: '7'}}}",
            '42 IOG101 unknown key "retry-after"; did you mean "Retry-After"?',
        ),
        (
            "{response: {headers: {Set-Cookie: a}}}",
            '42 IOG101 unknown key "Set-Cookie"; a real error never shows this header; shown are Allow, ',
        ),
        ("{response: down}", '31 IOG103 "response"; '),
    ],
)
def test_the_error_of_a_mock_has_the_members_of_a_real_one(
    tmp_path: Path, error: str, expected: str | None
) -> None:
    files = {"workflows.d/order.yaml": CALLING, "apis.d/orders.yaml": API.format(error=error)}
    problems = compiled(tmp_path, files).problems
    if expected is None:
        assert problems == ()
        return
    place, _, hint = expected.partition("; ")
    (problem,) = problems
    assert f"{problem.column} {problem.code} {problem.message}".startswith(place)
    assert problem.hint.startswith(hint)


SEND = 'did you mean "/do/2/each/for/do/0/send"?'
UNUSED = "is never used: only tasks that call or run something ask for one"


@pytest.mark.parametrize(
    ("mock", "severity", "message", "hint"),
    [
        (
            "send: {output: 1}",
            "error",
            'no task at "send" in this API\'s workflow; it has /do/0/done, ',
            SEND,
        ),
        ("do/0/done: {output: 1}", "error", 'no task at "do/0/done" in', 'did you mean "/do/0/done"?'),
        ("/do/3/send: {output: 1}", "error", 'no task at "/do/3/send" in', SEND),
        ("/do/1/count: {output: 1}", "warning", f"the mock of /do/1/count {UNUSED}", "remove it"),
        ("/do/2/each: {output: 1}", "warning", f"the mock of /do/2/each {UNUSED}", SEND),
        (
            "/do/0/done: [{output: 1}, {error: {type: sold-out}}]",
            "error",
            '"type" of the error of a mock',
            "",
        ),
        ("/do/3/own: [{output: 1}, {error: {type: sold-out}}]", None, "", ""),
    ],
)
def test_a_mock_that_no_task_asks_for_is_reported(
    tmp_path: Path, mock: str, severity: str | None, message: str, hint: str
) -> None:
    api = API.replace("/do/0/done:\n            error: {error}", "{mock}").format(mock=mock)
    files = {"workflows.d/order.yaml": CALLING, "apis.d/orders.yaml": api}
    problems = compiled(tmp_path, files).problems
    if severity is None:
        assert problems == ()
        return
    (problem,) = problems
    assert (problem.path, problem.line, problem.code) == ("apis.d/orders.yaml", 10, "IOG318")
    assert (problem.severity, problem.hint) == (severity, hint)
    assert problem.message.startswith(message)
