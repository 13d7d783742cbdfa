"""Events in the engine: relevance for a subscription, stored state of a listener, and cost."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from iogate.compiler.program import load
from iogate.engine.commands import Arrived, Cancelled
from iogate.engine.event_prefilter import event_type, may_match
from iogate.engine.state.frame import frame_to_json
from iogate.engine.state.run_state import diff_frames
from tests.engine.engine_runs import HEADER, NOW_MS, program
from tests.engine.listeners import Listener, event, listening


def test_a_frame_exposes_the_filters_that_need_no_run() -> None:
    run = Listener(
        program("""
            do:
              - l:
                  listen:
                    to:
                      all:
                        - with: {type: order.paid, source: 'https://[a-z]+', data: '${ .n > 1 }', priority: 2}
                          correlate: {id: {from: '${ .data.id }'}, of: {from: .subject, expect: '${ .me }'}}
                        - with: {type: '${ $input.kind }'}
                          correlate: {id: {from: .data.order}}
        """),
        data={"me": "x", "kind": "y"},
    )
    wants = run.state.frames[run.frame].wants
    assert wants == [
        {"match": {"type": "order.paid", "source": "https://[a-z]+"}, "correlate": [[".subject", "x"]]},
        {"match": {}, "correlate": []},
    ]
    assert [event_type(each) for each in wants] == ["order.paid", ""]
    run.receive(event("order.paid", {"n": 2, "id": 7}, source="https://s", subject="x", priority=2))
    assert run.state.frames[run.frame].wants == [{"match": {}, "correlate": [[".data.order", 7]]}]


@pytest.mark.parametrize(
    ("wanted", "value", "fits"),
    [
        ("a.b", "a.b", True),
        ("a.b", "axb", False),
        ("a\\.b.*", "a.b.c", True),
        ("b", "abc", False),
        ("a|b", "b", True),
        ("a|b", "ab", False),
        ("a+", "aaa\n", False),
        ("(", "(", True),
        ("(", "x", False),
        ("5", 5, True),
        ("true", True, True),
        (".*", None, False),
        (".*", {"a": 1}, False),
        ("", "", True),
        ("\\d+", "12", True),
        ("x.+", "xé", True),
    ],
)
def test_a_text_matches_literally_or_as_a_pattern_of_the_whole_value(
    wanted: str, value: Any, fits: object
) -> None:
    assert may_match({"match": {"subject": wanted}, "correlate": []}, {"subject": value}) is fits


@pytest.mark.parametrize(
    ("source", "expected", "concerned"),
    [
        (".data.k", 7, True),
        (".data.k", "7", True),
        (".data.k", 8, False),
        (".subject", "s", True),
        (".data.none", 7, False),
        (".data.k.deeper", 7, False),
        (".data.o", {"a": 1}, True),
        (".data | .k", 8, True),
        ("$input.k", 8, True),
    ],
)
def test_correlation_keys_with_plain_paths_are_prefiltered(
    source: str, expected: Any, concerned: object
) -> None:
    happened = event("a", {"k": 7, "o": {"a": 1}}, subject="s")
    assert may_match({"match": {}, "correlate": [[source, expected]]}, happened) is concerned


@pytest.mark.usefixtures("no_old_garbage")
def test_a_pattern_takes_linear_time() -> None:
    began = time.process_time()
    assert not may_match({"match": {"subject": "(a+)+b"}, "correlate": []}, {"subject": "a" * 50_000})
    assert time.process_time() - began < 1


def test_an_event_writes_one_small_frame() -> None:
    to = {"any": [{"with": {"type": "a"}, "correlate": {"k": {"from": ".data.k"}}}], "until": "${ false }"}
    run = Listener(listening(to, input={"from": "${ [range(1000)] }"}))
    run.receive(event("a", {"k": 1}), event("a", {"k": 1}))
    for number in range(50):
        before = run.state
        run.receive(event("a", {"k": 1, "n": number}))
        written, gone = diff_frames(before, run.state)
        assert not gone
        assert [frame.kind for frame in written.values()] == ["item"]
        assert len(json.dumps(frame_to_json(next(iter(written.values()))))) < 150


def test_a_thousand_events_are_processed_quickly() -> None:
    to = {"any": [{"with": {"type": "a"}}], "until": {"one": {"with": {"type": "stop"}}}}
    run = Listener(listening(to, foreach={"output": {"as": ".n"}}))
    began = time.process_time()
    run.receive(*(event("a", {"n": number}) for number in range(1000)), event("stop"))
    assert time.process_time() - began < 10
    assert run.state.output == list(range(1000))


def test_an_event_for_an_ended_frame_is_ignored() -> None:
    run = Listener(program("do: [{l: {listen: {to: {one: {with: {type: a}}}}}}, {w: {wait: PT1H}}]"))
    gone = run.frame
    run.receive(event("a", 1))
    before = run.state
    run.advance(Arrived(frame=gone, number=9, event=event("a", 2)))
    assert run.state.frames == before.frames
    assert run.state.inbox_done == 9


def test_the_head_stores_the_number_of_the_last_message() -> None:
    run = Listener(program("do: [{l: {listen: {to: {any: [], until: '${ false }'}}}}]"), stores=True)
    run.receive(event("a"), event("b"))
    assert run.state.inbox_done == 2
    run.advance(Cancelled())
    assert run.state.inbox_done == 2


def test_a_run_waits_for_events_without_a_timer() -> None:
    run = Listener(program("do: [{l: {listen: {to: {one: {with: {type: a}}}}}}]"))
    waiting = run.state.waiting_for
    assert waiting is not None
    assert (waiting.kind, waiting.task, waiting.until_ms) == ("event", "/do/0/l", None)
    assert run.state.due_ms is None


def test_a_wait_for_events_ends_with_the_timeout_of_the_task_or_around_it() -> None:
    hears = "{listen: {to: {one: {with: {type: a}}}}, timeout: {after: PT9S}}"
    for text, length_ms in ((hears, 9_000), (f"{{do: [{{l: {hears}}}], timeout: {{after: PT5S}}}}", 5_000)):
        run = Listener(program(f"do: [{{t: {text}}}]"))
        assert run.state.waiting_for is not None
        assert run.state.waiting_for.until_ms == run.now_ms + length_ms


def test_the_end_of_a_correlation_reports_its_keys() -> None:
    to = {
        "all": [
            {"with": {"type": "a"}, "correlate": {"k": {"from": ".data.k"}}},
            {"with": {"type": "b"}, "correlate": {"k": {"from": ".data.k"}, "s": {"from": ".subject"}}},
        ]
    }
    run = Listener(listening(to)).receive(event("a", {"k": 1}), event("b", {"k": 1}, subject="x"))
    assert run.notes("workflow.correlation-completed") == [{"correlationKeys": {"k": 1, "s": "x"}}]


def test_too_deeply_nested_data_faults_no_listener() -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    to = {"any": [{"with": {"data": [1]}}, {"with": {"type": "b"}}]}
    run = Listener(listening(to)).receive(event("a", deep), event("b", 1))
    assert run.state.output == [1]
    raw = Listener(load({"document": HEADER, "do": [{"l": {"listen": {"to": {"any": []}, "read": "raw"}}}]}))
    raw.receive(event("a", deep))
    assert raw.state.error is not None
    assert raw.state.error["detail"] == 'task "l": the data of the event is nested too deeply'


def test_the_stored_state_of_a_listener_is_a_stable_format() -> None:
    run = Listener(
        program("""
            do:
              - l:
                  listen: {to: {all: [{with: {type: a}, correlate: {k: {from: .data}}}, {with: {type: b}}]}}
                  foreach: {do: [{w: {wait: PT1H}}]}
        """)
    ).receive(event("a", 7))
    frames = [frame_to_json(frame) for frame in run.state.frames.values()][2:]
    common = {"pointer": "/do/0/l", "started_ms": NOW_MS}
    assert frames == [
        {
            **common,
            "id": 3,
            "parent": 2,
            "kind": "task",
            "phase": "event",
            "input": {},
            "wants": [{"match": {"type": "b"}, "correlate": []}],
            "terms": {"keys": [{"k": 7}, {}], "filled": [0]},
        },
        {"id": 4, "parent": 3, "kind": "item", "pointer": "/do/0/l", "turn": 0, "value": 7},
        {
            "id": 5,
            "parent": 3,
            "kind": "scope",
            "pointer": "/do/0/l/foreach/do",
            "turn": 0,
            "value": 7,
            "variables": {"item": 7, "index": 0},
        },
        {
            "id": 6,
            "parent": 5,
            "kind": "task",
            "pointer": "/do/0/l/foreach/do/0/w",
            "phase": "timer",
            "input": 7,
            "started_ms": NOW_MS,
            "due_ms": NOW_MS + 3_600_000,
        },
    ]
