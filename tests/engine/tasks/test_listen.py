"""`listen` against a naive reader of the standard, also when stopped between any two steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iogate.engine.advance import advance
from iogate.engine.commands import Arrived
from tests.engine.engine_runs import NOW_MS
from tests.engine.listeners import Listener, event, listening
from tests.examples import examples

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


@settings(max_examples=examples(400))
@given(STRATEGIES, EVENTS)
def test_a_listener_consumes_the_events_of_a_naive_reader_of_the_standard(
    to: Mapping[str, Any], events: list[dict[str, Any]]
) -> None:
    run = Listener(listening(to)).receive(*events)
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


@settings(max_examples=examples(300), suppress_health_check=list(HealthCheck))
@given(STRATEGIES, st.sampled_from(EACH), EVENTS, st.data())
def test_restarts_and_duplicate_messages_change_nothing(
    to: Mapping[str, Any], each: dict[str, Any], events: list[dict[str, Any]], data: st.DataObject
) -> None:
    plain = Listener(listening(to, **each)).receive(*events)
    run = Listener(listening(to, **each), budget=data.draw(st.integers(1, 4)), stores=True)
    inbox: list[Arrived] = []
    for number, one in enumerate(events, 1):
        # without the matcher's judgement: every event reaches the frame that listened first
        frame = next((each.id for each in plain.steps[0].state.frames.values() if each.wants), 0)
        inbox.append(Arrived(frame=frame, number=number, event=one))
    at = 0
    while at < len(inbox):
        upto = data.draw(st.integers(at + 1, len(inbox)))
        again = data.draw(st.integers(0, at))
        run.advance(*inbox[again:upto])  # those up to `at` were told before
        at = upto
    assert (run.state.status, run.state.output, run.state.error) == (
        plain.state.status,
        plain.state.output,
        plain.state.error,
    )
    assert run.emitted == plain.emitted


@settings(max_examples=50)
@given(STRATEGIES, EVENTS)
def test_pure_functions_are_deterministic(to: Mapping[str, Any], events: list[dict[str, Any]]) -> None:
    run = Listener(listening(to, **EACH[3]))
    for each in events:
        messages = run.messages(each)
        first, second = (
            advance(run.program, run.state, messages, NOW_MS, run.facts, budget=200) for _ in range(2)
        )
        assert first == second
        run.advance(*messages)


# the subscription
