"""Events and child runs in the engine: what a listener hears, and that stopping anywhere changes nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iogate.compiler.program import load, trigger
from iogate.compiler.schedules import standing
from iogate.engine import triggering
from iogate.engine.advance import Advance, RunFacts, advance
from iogate.engine.commands import Arrived, Cancelled, ChildEnded, Happening
from iogate.engine.events import concerns, type_of
from iogate.engine.frame import frame_to_json
from iogate.engine.state import State, changes
from tests.engine.engine_runs import HEADER, NOW_MS, program, stored

FACTS = RunFacts(uid="42", started_at_ms=NOW_MS, input={})


def event(type_: str, data: Any = None, **attributes: Any) -> dict[str, Any]:
    return {"specversion": "1.0", "id": "i", "source": "/s", "type": type_, "data": data, **attributes}


class Told:
    """A run that is told what arrives, as a worker tells it: by its wants, numbered, on a given budget."""

    def __init__(self, made: Any, *, budget: int = 200, stores: bool = False, data: Any = None) -> None:
        self.program, self.budget, self.stores = made, budget, stores
        self.facts = RunFacts(uid="42", started_at_ms=NOW_MS, input={} if data is None else data)
        self.state, self.number, self.now_ms = State(), 0, NOW_MS
        self.steps: list[Advance] = []
        self.tell()

    def tell(self, *happened: Happening) -> None:
        news: tuple[Happening, ...] = happened
        while True:
            if self.stores:
                self.state = stored(self.state)
            step = advance(self.program, self.state, news, self.now_ms, self.facts, budget=self.budget)
            self.steps.append(step)
            self.state, news = step.state, ()
            if not step.more:
                return

    def messages(self, happened: Mapping[str, Any]) -> list[Arrived]:
        made = []
        for frame in self.state.frames.values():
            if any(concerns(wanted, happened) for wanted in frame.wants or ()):
                self.number += 1
                made.append(Arrived(frame=frame.id, number=self.number, event=happened))
        return made

    def hear(self, *events: Mapping[str, Any]) -> Told:
        """Events that come one after the other."""
        for each in events:
            self.tell(*self.messages(each))
        return self

    @property
    def frame(self) -> int:
        """The one that waits."""
        (found,) = [each.id for each in self.state.frames.values() if each.phase in ("event", "child")]
        return found

    @property
    def emitted(self) -> list[Mapping[str, Any]]:
        return [emit.event for step in self.steps for emit in step.emits]

    @property
    def started(self) -> list[Any]:
        return [child.input for step in self.steps for child in step.children]

    def notes(self, kind: str) -> list[Mapping[str, Any]]:
        return [note.detail for step in self.steps for note in step.notes if note.kind == kind]


def listening(to: Mapping[str, Any], **more: Any) -> Any:
    return load({"document": HEADER, "do": [{"l": {"listen": {"to": to}, **more}}]})


# a naive reader of the standard: strategies over lists of events, without frames or numbers

EVENTS = st.lists(
    st.builds(
        event,
        st.sampled_from(["a", "a", "b", "c"]),
        st.builds(
            lambda n, k: {"n": n} | ({} if k is None else {"k": k}),
            st.integers(0, 3),
            st.sampled_from([0, 1, 1, 2, None]),
        ),
    ),
    min_size=4,
    max_size=14,
)
TYPES = st.sampled_from(["a", "b", "[ab]", "[abc]"])
DATA = st.sampled_from(["${ .n > 1 }", "${ .n < 2 }", {"n": 1}])
KEYS = st.sampled_from(
    [{"x": {"from": ".data.k"}}, {"y": {"from": ".data.k"}}, {"x": {"from": ".data.k", "expect": "1"}}]
)
FILTERS = st.builds(
    lambda kind, data, keys: {"with": {"type": kind} | data} | keys,
    TYPES,
    st.just({}) | st.just({}) | st.builds(lambda data: {"data": data}, DATA),
    st.just({}) | st.builds(lambda keys: {"correlate": keys}, KEYS),
)
SIMPLE = st.one_of(
    st.builds(lambda one: {"one": one}, FILTERS),
    st.builds(lambda several: {"any": several}, st.lists(FILTERS, min_size=1, max_size=3)),
    st.builds(lambda several: {"all": several}, st.lists(FILTERS, min_size=2, max_size=3)),
)
ANY = st.lists(FILTERS, max_size=2)
CONDITIONS = st.sampled_from(["length > 2", "${ false }"])
STRATEGIES = st.one_of(
    SIMPLE,
    st.builds(lambda several, until: {"any": several, "until": until}, ANY, CONDITIONS),
    st.builds(
        lambda several, until: {"any": several, "until": until},
        ANY,
        SIMPLE | st.builds(lambda several: {"all": several}, st.lists(FILTERS, min_size=2, max_size=2)),
    ),
)


class Naive:
    def __init__(self, to: Mapping[str, Any]) -> None:
        self.own, self.mode = self._split(to)
        until = to.get("until")
        self.most = {"length > 2": 3, "${ false }": 10**9}.get(until) if isinstance(until, str) else None
        self.stop, self.stop_mode = self._split(until) if isinstance(until, dict) else ([], "")
        self.keys: dict[str, Any] = {}
        for one in (*self.own, *self.stop):
            for name, each in one.get("correlate", {}).items():
                if "expect" in each:
                    self.keys.setdefault(name, 1)
        self.heard: list[Any] = []

    @staticmethod
    def _split(to: Mapping[str, Any]) -> tuple[list[Any], str]:
        for mode in ("one", "any", "all"):
            if mode in to:
                return (list(to[mode]) if mode != "one" else [to[mode]]), mode
        raise AssertionError(to)

    def run(self, events: Sequence[Mapping[str, Any]]) -> list[Any] | None:
        own, stop, every = list(self.own), list(self.stop), self.mode == "any" and not self.own
        for each in events:
            found = next((one for one in stop if self._fits(one, each)), None)
            if found is not None:
                stop.remove(found)
                if self.stop_mode != "all" or not stop:
                    return self.heard
                continue
            found = next((one for one in own if self._fits(one, each)), None)
            if found is None and not every:
                continue
            self.heard.append(each["data"])
            if self.mode == "all":
                own.remove(found)
                if not own:
                    return self.heard
            elif self.most is not None:
                if len(self.heard) >= self.most:
                    return self.heard
            elif not self.stop:
                return self.heard
        return None

    def _fits(self, one: Mapping[str, Any], each: Mapping[str, Any]) -> bool:
        types = one["with"]["type"].strip("[]")
        wanted, data = one["with"].get("data"), each["data"]
        if each["type"] not in types:
            return False
        if wanted is not None and not {
            "${ .n > 1 }": data["n"] > 1,
            "${ .n < 2 }": data["n"] < 2,
        }.get(wanted if isinstance(wanted, str) else "", data["n"] == 1):
            return False
        for name, correlation in one.get("correlate", {}).items():
            expected = 1 if "expect" in correlation else self.keys.get(name)
            found = data.get("k")
            if found is None or (expected is not None and found != expected):
                return False
            self.keys.setdefault(name, found)
        return True


@settings(max_examples=400)
@given(STRATEGIES, EVENTS)
def test_a_listener_hears_what_a_naive_reader_of_the_standard_hears(
    to: Mapping[str, Any], events: list[dict[str, Any]]
) -> None:
    run = Told(listening(to)).hear(*events)
    expected = Naive(to).run(events)
    if expected is None:
        assert run.state.status == "waiting"
    else:
        assert (run.state.status, run.state.output) == ("completed", expected)


EACH: list[dict[str, Any]] = [
    {},
    {"foreach": {"output": {"as": ".n"}}},
    {"foreach": {"do": [{"s": {"set": {"n": "${ $item.n + $index }"}}}], "output": {"as": ".n"}}},
    {
        "foreach": {
            "do": [{"e": {"emit": {"event": {"with": {"type": "z", "data": "${ $item }"}}}}}],
            "output": {"as": "${ {data, id} }"},
            "export": {"as": "${ {n: (($context.n // 0) + 1)} }"},
        },
        "output": {"as": "${ {all: ., n: $context.n} }"},
    },
]


@settings(max_examples=300, suppress_health_check=list(HealthCheck))
@given(STRATEGIES, st.sampled_from(EACH), EVENTS, st.data())
def test_stopping_anywhere_and_messages_that_come_twice_change_nothing(
    to: Mapping[str, Any], each: dict[str, Any], events: list[dict[str, Any]], data: st.DataObject
) -> None:
    plain = Told(listening(to, **each)).hear(*events)
    run = Told(listening(to, **each), budget=data.draw(st.integers(1, 4)), stores=True)
    inbox: list[Arrived] = []
    for number, one in enumerate(events, 1):
        # without the matcher's judgement: every event reaches the frame that listened first
        frame = next((each.id for each in plain.steps[0].state.frames.values() if each.wants), 0)
        inbox.append(Arrived(frame=frame, number=number, event=one))
    at = 0
    while at < len(inbox):
        upto = data.draw(st.integers(at + 1, len(inbox)))
        again = data.draw(st.integers(0, at))
        run.tell(*inbox[again:upto])  # those up to `at` were told before
        at = upto
    assert (run.state.status, run.state.output, run.state.error) == (
        plain.state.status,
        plain.state.output,
        plain.state.error,
    )
    assert run.emitted == plain.emitted


@settings(max_examples=50)
@given(STRATEGIES, EVENTS)
def test_what_is_pure_says_the_same_twice(to: Mapping[str, Any], events: list[dict[str, Any]]) -> None:
    run = Told(listening(to, **EACH[3]))
    for each in events:
        messages = run.messages(each)
        first, second = (
            advance(run.program, run.state, messages, NOW_MS, run.facts, budget=200) for _ in range(2)
        )
        assert first == second
        run.tell(*messages)


# the subscription


def test_a_frame_says_what_can_be_judged_without_the_run() -> None:
    run = Told(
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
    assert [type_of(each) for each in wants] == ["order.paid", ""]
    run.hear(event("order.paid", {"n": 2, "id": 7}, source="https://s", subject="x", priority=2))
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
def test_text_stands_for_itself_or_is_a_pattern_of_the_whole_text(
    wanted: str, value: Any, fits: object
) -> None:
    assert concerns({"match": {"subject": wanted}, "correlate": []}, {"subject": value}) is fits


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
def test_keys_are_judged_where_the_path_is_plain(source: str, expected: Any, concerned: object) -> None:
    happened = event("a", {"k": 7, "o": {"a": 1}}, subject="s")
    assert concerns({"match": {}, "correlate": [[source, expected]]}, happened) is concerned


def test_a_pattern_takes_linear_time() -> None:
    began = time.perf_counter()
    assert not concerns({"match": {"subject": "(a+)+b"}, "correlate": []}, {"subject": "a" * 50_000})
    assert time.perf_counter() - began < 1


def test_an_event_writes_one_small_frame() -> None:
    to = {"any": [{"with": {"type": "a"}, "correlate": {"k": {"from": ".data.k"}}}], "until": "${ false }"}
    run = Told(listening(to, input={"from": "${ [range(1000)] }"}))
    run.hear(event("a", {"k": 1}), event("a", {"k": 1}))
    for number in range(50):
        before = run.state
        run.hear(event("a", {"k": 1, "n": number}))
        written, gone = changes(before, run.state)
        assert not gone
        assert [frame.kind for frame in written.values()] == ["item"]
        assert len(json.dumps(frame_to_json(next(iter(written.values()))))) < 150


def test_a_thousand_events_are_worked_off_in_little_time() -> None:
    to = {"any": [{"with": {"type": "a"}}], "until": {"one": {"with": {"type": "stop"}}}}
    run = Told(listening(to, foreach={"output": {"as": ".n"}}))
    began = time.perf_counter()
    run.hear(*(event("a", {"n": number}) for number in range(1000)), event("stop"))
    assert time.perf_counter() - began < 10
    assert run.state.output == list(range(1000))


def test_an_event_for_a_frame_that_is_gone_counts_for_nothing() -> None:
    run = Told(program("do: [{l: {listen: {to: {one: {with: {type: a}}}}}}, {w: {wait: PT1H}}]"))
    gone = run.frame
    run.hear(event("a", 1))
    before = run.state
    run.tell(Arrived(frame=gone, number=9, event=event("a", 2)))
    assert run.state.frames == before.frames
    assert run.state.inbox_done == 9


def test_the_last_message_taken_in_is_in_the_head() -> None:
    run = Told(program("do: [{l: {listen: {to: {any: [], until: '${ false }'}}}}]"), stores=True)
    run.hear(event("a"), event("b"))
    assert run.state.inbox_done == 2
    run.tell(Cancelled())
    assert run.state.inbox_done == 2


def test_a_run_waits_for_events_without_a_time() -> None:
    run = Told(program("do: [{l: {listen: {to: {one: {with: {type: a}}}}}}]"))
    waiting = run.state.waiting_for
    assert waiting is not None
    assert (waiting.kind, waiting.task, waiting.until_ms) == ("event", "/do/0/l", None)
    assert run.state.due_ms is None


def test_the_keys_of_a_correlation_are_told_at_its_end() -> None:
    to = {
        "all": [
            {"with": {"type": "a"}, "correlate": {"k": {"from": ".data.k"}}},
            {"with": {"type": "b"}, "correlate": {"k": {"from": ".data.k"}, "s": {"from": ".subject"}}},
        ]
    }
    run = Told(listening(to)).hear(event("a", {"k": 1}), event("b", {"k": 1}, subject="x"))
    assert run.notes("workflow.correlation-completed") == [{"correlationKeys": {"k": 1, "s": "x"}}]


# emit


def test_a_walk_that_is_walked_again_emits_the_very_same_events() -> None:
    made = program("do: [{e: {emit: {event: {with: {type: a}}}}}, {g: {emit: {event: {with: {type: a}}}}}]")
    first, second = Told(made), Told(made, budget=1, stores=True)
    assert first.emitted == second.emitted
    assert len({each["id"] for each in first.emitted}) == 2


def test_an_event_tells_whether_its_id_is_the_authors() -> None:
    run = Told(
        program(
            "do: [{e: {emit: {event: {with: {type: a}}}}}, {g: {emit: {event: {with: {id: '1', type: a}}}}}]"
        )
    )
    assert [emit.generated for step in run.steps for emit in step.emits] == [True, False]


def test_a_slice_holds_a_hundred_events_at_most() -> None:
    run = Told(
        program("do: [{f: {for: {in: '${ [range(250)] }'}, do: [{e: {emit: {event: {with: {type: a}}}}}]}}]"),
        budget=100_000,
    )
    assert [len(step.emits) for step in run.steps] == [100, 100, 50]
    assert [step.more for step in run.steps] == [True, True, False]
    assert len({each["id"] for each in run.emitted}) == 250


def test_who_listens_after_an_emit_subscribes_after_its_commit() -> None:
    run = Told(
        program(
            "do: [{e: {emit: {event: {with: {type: a}}}}}, {l: {listen: {to: {one: {with: {type: a}}}}}}]"
        )
    )
    first, second = run.steps
    assert (len(first.emits), first.more, len(second.emits)) == (1, True, 0)
    assert not any(frame.wants for frame in first.state.frames.values())
    assert any(frame.wants for frame in second.state.frames.values())


def test_who_listened_before_an_emit_of_the_same_step_is_subscribed_in_it() -> None:
    run = Told(
        program("""
            do:
              - f:
                  fork:
                    branches:
                      - l: {listen: {to: {one: {with: {type: a}}}}}
                      - e: {emit: {event: {with: {type: a}}}}
        """)
    )
    (step,) = run.steps
    assert step.emits
    assert any(frame.wants for frame in step.state.frames.values())


def test_a_try_that_is_tried_again_emits_a_new_event_only_after_a_definite_answer() -> None:
    made = program("""
        do:
          - t:
              try:
                - e: {emit: {event: {with: {type: a}}}}
                - w: {wait: PT1H}
              catch: {retry: {limit: {attempt: {count: 1, duration: PT5S}}}}
    """)
    run = Told(made)
    run.now_ms += 5000
    run.tell()
    ids = [each["id"] for each in run.emitted]
    assert len(ids) == 2
    assert len(set(ids)) == 1  # the timeout says nothing of what receivers did: they can tell it is one event


# children

CHILD = "{run: {workflow: {namespace: n, name: c, version: 1.0.0, input: {x: 1}}}}"


def test_a_child_is_asked_for_once_and_waited_for() -> None:
    run = Told(program(f"do: [{{r: {CHILD}}}]"), stores=True)
    (step,) = run.steps
    (start,) = step.children
    assert (start.frame, start.reference, start.name, start.input) == (run.frame, "/do/0/r", "c", {"x": 1})
    assert run.state.waiting_for is not None
    assert run.state.waiting_for.kind == "child"
    run.tell()
    assert not run.steps[-1].children
    run.tell(ChildEnded(frame=run.frame, number=1, status="completed", output={"y": 2}))
    assert run.state.output == {"y": 2}


def test_the_end_of_a_child_that_comes_twice_counts_once() -> None:
    run = Told(program(f"do: [{{r: {CHILD}}}, {{w: {{wait: PT1H}}}}]"))
    ended = ChildEnded(frame=run.frame, number=1, status="completed", output=1)
    run.tell(ended)
    before = run.state
    run.tell(ended)
    assert run.state == before


def test_a_cancelled_child_is_a_runtime_error() -> None:
    run = Told(program(f"do: [{{r: {CHILD}}}]"))
    run.tell(ChildEnded(frame=run.frame, number=1, status="cancelled"))
    assert run.state.error is not None
    assert run.state.error["type"].endswith("/runtime")
    assert run.state.error["detail"].endswith("the workflow that it ran was cancelled")


def test_what_could_not_be_started_needs_no_number() -> None:
    run = Told(program(f"do: [{{r: {CHILD}}}]")).hear()
    error = {
        "type": "https://e.example/none",
        "status": 400,
        "title": "Unknown",
        "detail": "no such workflow",
    }
    run.tell(ChildEnded(frame=run.frame, number=0, status="faulted", error=error))
    assert run.state.error == {**error, "instance": "/do/0/r"}
    assert run.state.inbox_done == 0


def test_a_child_whose_task_went_away_in_the_same_step_is_not_started() -> None:
    run = Told(
        program(
            f"do: [{{f: {{fork: {{compete: true, branches: [{{r: {CHILD}}}, {{s: {{set: {{n: 1}}}}}}]}}}}}}]"
        )
    )
    assert run.state.output == {"n": 1}
    assert run.started == []


def test_a_child_that_is_not_awaited_is_started_though_the_run_ends() -> None:
    run = Told(
        program("do: [{r: {run: {await: false, workflow: {namespace: n, name: c, version: latest}}}}]")
    )
    (step,) = run.steps
    (start,) = step.children
    assert step.state.status == "completed"
    assert (start.awaits, start.version, start.input) == (False, "latest", {})
    assert start.frame not in step.state.frames


def test_a_slice_holds_a_hundred_children_at_most() -> None:
    run = Told(
        program(
            f"do: [{{f: {{for: {{in: '${{ [range(250)] }}'}}, do: [{{r: {CHILD[:-1]}}}}}]}}}}]".replace(
                "{run: {workflow", "{run: {await: false, workflow"
            )
        ),
        budget=100_000,
    )
    assert [len(step.children) for step in run.steps] == [100, 100, 50]
    frames = [child.frame for step in run.steps for child in step.children]
    assert len(set(frames)) == 250


# schedule.on


def standing_run(on: Mapping[str, Any], **schedule: Any) -> Told:
    definition = {"document": HEADER, "schedule": {"on": on, **schedule}, "do": [{"s": {"set": {"n": 1}}}]}
    return Told(load(json.loads(json.dumps(standing(definition)))), stores=True)


def test_each_event_starts_a_run_with_the_array_of_it() -> None:
    run = standing_run({"one": {"with": {"type": "a"}}}).hear(event("a", 1), event("b", 2), event("a", 3))
    assert run.started == [[event("a", 1)], [event("a", 3)]]
    assert {(each.namespace, each.name, each.awaits) for step in run.steps for each in step.children} == {
        ("test", "sample", False)
    }
    assert run.state.status == "waiting"


def test_read_of_a_schedule_chooses_what_the_run_gets() -> None:
    run = standing_run({"any": []}, read="data").hear(event("a", 1), event("b", 2))
    assert run.started == [[1], [2]]


def test_sets_of_events_that_cross_start_a_run_each() -> None:
    on = {
        "all": [
            {"with": {"type": "a"}, "correlate": {"k": {"from": ".data.k"}}},
            {"with": {"type": "b"}, "correlate": {"k": {"from": ".data.k"}}},
        ]
    }
    run = standing_run(on, read="data").hear(
        event("a", {"k": 1}),
        event("a", {"k": 2}),
        event("b", {"k": 2}),
        event("b", {"k": 3}),
        event("b", {"k": 1}),
    )
    assert run.started == [[{"k": 2}, {"k": 2}], [{"k": 1}, {"k": 1}]]
    assert (
        sum(frame.kind == "round" for frame in run.state.frames.values()) == 1
    )  # 3 waits for its other half


def test_events_of_one_kind_wait_for_the_other_without_a_key() -> None:
    on = {"all": [{"with": {"type": "a"}}, {"with": {"type": "b"}}]}
    run = standing_run(on, read="data").hear(event("a", 1), event("a", 2), event("b", 3), event("b", 4))
    assert run.started == [[1, 3], [2, 4]]


def test_a_schedule_gathers_until_its_condition_holds() -> None:
    run = standing_run({"any": [{"with": {"type": "a"}}], "until": "length == 2"}, read="data")
    run.hear(*(event("a", number) for number in range(5)))
    assert run.started == [[0, 1], [2, 3]]


def test_an_event_of_until_starts_a_run_only_where_something_was_gathered() -> None:
    run = standing_run(
        {"any": [{"with": {"type": "a"}}], "until": {"one": {"with": {"type": "stop"}}}}, read="data"
    ).hear(event("stop"), event("a", 1), event("a", 2), event("stop"), event("stop"))
    assert run.started == [[1, 2]]


def test_the_frame_of_a_schedule_is_written_once() -> None:
    on = {"all": [{"with": {"type": "a"}}, {"with": {"type": "b"}}]}
    run = standing_run(on)
    first = run.state.frames[run.frame]
    run.hear(event("a"), event("b"), event("a"))
    assert run.state.frames[run.frame] == first


def test_sets_that_are_never_complete_are_given_up_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triggering, "MOST", 3)
    on = {"all": [{"with": {"type": "a"}}, {"with": {"type": "b"}}]}
    run = standing_run(on, read="data").hear(*(event("a", number) for number in range(5)))
    run.hear(event("b", "b"))
    assert run.started == [[2, "b"]]


def test_the_program_of_a_schedule_is_one_task() -> None:
    made = trigger({"document": HEADER, "schedule": {"on": {"any": []}}})
    assert list(made.tasks) == ["/do/0/on"]


def test_data_that_is_nested_too_deeply_faults_no_listener() -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    to = {"any": [{"with": {"data": [1]}}, {"with": {"type": "b"}}]}
    run = Told(listening(to)).hear(event("a", deep), event("b", 1))
    assert run.state.output == [1]
    raw = Told(load({"document": HEADER, "do": [{"l": {"listen": {"to": {"any": []}, "read": "raw"}}}]}))
    raw.hear(event("a", deep))
    assert raw.state.error is not None
    assert raw.state.error["detail"] == 'task "l": the data of the event is nested too deeply'


def test_what_is_stored_of_a_listener_is_a_format() -> None:
    run = Told(
        program("""
            do:
              - l:
                  listen: {to: {all: [{with: {type: a}, correlate: {k: {from: .data}}}, {with: {type: b}}]}}
                  foreach: {do: [{w: {wait: PT1H}}]}
        """)
    ).hear(event("a", 7))
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
