"""Index of subscriptions: a look-up finds the same as a scan of all subscriptions."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from iogate.engine.event_prefilter import may_match
from iogate.store.events.bus import Subscription
from iogate.worker.events.subscription_index import SubscriptionIndex
from tests.examples import examples

WORDS = st.sampled_from(["a", "b", "7", "a.b", "com.shop.paid"])
PATTERNS = st.sampled_from(["a|b", "com\\..*", "[", "(a)\\1"])
KEYS = st.sampled_from(["a", 7, "7", 7.5, True, None, ["a"], {"x": 1}])
FILTERS = st.fixed_dictionaries(
    {
        "match": st.dictionaries(
            st.sampled_from(["type", "source", "subject"]), WORDS | PATTERNS, max_size=3
        ),
        "correlate": st.lists(
            st.tuples(st.sampled_from([".data.k", ".subject", ".data | keys", "$context.k"]), KEYS),
            max_size=2,
        ),
    }
)
EVENTS = st.fixed_dictionaries(
    {"type": WORDS, "source": WORDS},
    optional={"subject": WORDS, "data": KEYS | st.fixed_dictionaries({"k": KEYS})},
)


def subscription(number: int, filters: Any) -> Subscription:
    return Subscription(uid=str(number), frame=1, filters=json.dumps(filters).encode())


@settings(max_examples=examples(300))
@given(wants=st.lists(st.lists(FILTERS, min_size=1, max_size=3), max_size=8), event=EVENTS)
def test_a_look_up_finds_the_same_as_a_scan(wants: list[Any], event: dict[str, Any]) -> None:
    index = SubscriptionIndex()
    for number, filters in enumerate(wants):
        index.add(subscription(number, filters))
    found = {entry.subscription.uid for entry in index.candidates(event)}
    expected = {
        str(number)
        for number, filters in enumerate(wants)
        if any(may_match(json.loads(json.dumps(each)), event) for each in filters)
    }
    assert found == expected


def test_an_event_finds_its_subscription_among_ten_thousand() -> None:
    """By counting evaluations: only the entry with the key of the event is evaluated."""
    index = SubscriptionIndex()
    for number in range(10_000):
        index.add(
            subscription(number, [{"match": {"type": "paid"}, "correlate": [[".data.order", f"o{number}"]]}])
        )
    event = {"type": "paid", "source": "s", "data": {"order": "o77"}}
    assert [entry.subscription.uid for entry in index.candidates(event)] == ["77"]


def test_an_unreadable_subscription_is_a_candidate_for_every_event() -> None:
    index = SubscriptionIndex()
    index.add(Subscription(uid="1", frame=1, filters=b"rubbish"))
    index.add(Subscription(uid="2", frame=1, filters=b'[{"match": 7, "correlate": null}]'))
    assert {entry.subscription.uid for entry in index.candidates({"type": "a"})} == {"1", "2"}
