"""The codec writes changes only, stores big values once, and reads what it wrote."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from iogate.cli.render import to_yaml
from iogate.engine.state.frame import Frame
from iogate.engine.state.run_state import State
from iogate.security.redaction_patterns import redact
from iogate.store.state_codec import BIG, CHECKED, LEVELS, Codec, TooDeep, encode_data
from tests.examples import examples
from tests.stored_run import StoredRun

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


def state(*frames: Frame) -> State:
    return State(frames={frame.id: frame for frame in frames}, next_id=9, status="running")


@settings(max_examples=examples(60))
@given(JSON, JSON)
def test_any_json_value_survives(value: object, context: object) -> None:
    before = state(Frame(id=1, kind="scope", pointer="/do", value=value, context=context, turn=0))
    stored = StoredRun()
    stored.apply(Codec().delta(before))
    assert stored.load() == before


def test_the_input_is_not_stored_again_in_the_state() -> None:
    """The store has it beside the state."""
    value = {"lines": ["x" * 100] * 1_000}
    given = msgspec.json.encode(value)
    other = {"lines": ["y" * 100] * 1_000}
    before = state(Frame(id=1, kind="scope", value=value, context=other))
    stored = StoredRun()
    stored.apply(Codec(input=given).delta(before))
    assert list(stored.values.values()) == [msgspec.json.encode(other)]
    assert Codec(input=given).load(stored.head, stored.frames, stored.values) == before
    full = StoredRun()
    full.apply(Codec().delta(before))  # as an earlier release wrote it
    assert len(full.values) == 2
    assert Codec(input=given).load(full.head, full.frames, full.values) == before


@pytest.mark.parametrize("number", [2**53 + 1, -(2**63), 2**64 - 1, 2**64, 10**40])
def test_big_integers_stay_exact(number: int) -> None:
    before = state(Frame(id=1, kind="scope", value={"n": number}))
    stored = StoredRun()
    stored.apply(Codec().delta(before))
    assert stored.load() == before


@pytest.mark.parametrize("ahead", ["", "x" * 2 * BIG])
def test_data_is_stored_up_to_a_depth_that_every_python_can_read(ahead: str) -> None:
    def nested(levels: int) -> list[Any]:
        value: list[Any] = []
        for level in range(levels - 1):
            value = [ahead if level == 5 else "[[[", {"a": value}] if level % 2 else [value]
        return value

    def depth(value: Any) -> int:
        members = list(value.values()) if isinstance(value, dict) else value
        return 1 + max((depth(each) for each in members if isinstance(each, dict | list)), default=0)

    value = nested(LEVELS * 2 // 3)
    assert depth(value) == LEVELS - 1
    value = [value]
    before = state(Frame(id=1, kind="scope", value=value, pointer="/do/0/grow"))
    stored = StoredRun()
    stored.apply(Codec().delta(before))
    assert stored.load() == before
    # What shows data must go as deep.
    assert redact(value) == value
    assert "[[[" in to_yaml(value)
    for levels in (1, 2_000_000 // LEVELS):
        for _ in range(levels):
            value = [value]
        with pytest.raises(TooDeep, match="the data at /do/0/grow is nested deeper than 300 levels"):
            Codec().delta(state(Frame(id=1, kind="scope", value=value, pointer="/do/0/grow")))


def test_many_brackets_side_by_side_are_not_deep() -> None:
    value = {"text": "[" * 2 * LEVELS, "list": [[]] * 2 * LEVELS}
    assert encode_data(value, "x") == msgspec.json.encode(value)
    assert encode_data("[" * 2 * LEVELS, "x")
    checked: dict[int, Any] = {}
    for _ in range(20):
        value = {**value}
        assert encode_data(value, "x", checked) == encode_data(value, "x", checked)
        assert checked[id(value)] is value
    assert len(checked) <= CHECKED


def test_only_changed_frames_are_written() -> None:
    codec, still, moving = Codec(), Frame(id=1, kind="task"), Frame(id=2, kind="scope", position=0)
    codec.delta(state(still, moving))
    delta = codec.delta(state(still, replace(moving, position=1)))
    assert (list(delta.frames), delta.frames_gone) == (["2"], [])
    assert codec.delta(state(still)).frames_gone == ["2"]


def test_big_value_is_written_once_for_all_frames() -> None:
    big = ["x" * BIG]
    codec, stored = Codec(), StoredRun()
    first = codec.delta(state(Frame(id=1, kind="task", items=big), Frame(id=2, kind="scope", value=big)))
    stored.apply(first)
    assert len(first.values) == 1
    assert all(len(frame) < 1000 for frame in first.frames.values())
    second = codec.delta(
        state(Frame(id=1, kind="task", items=big), Frame(id=2, kind="scope", value=big, position=1))
    )
    stored.apply(second)
    assert second.values == {}
    assert stored.load().frames[2].value == big


def test_unreferenced_big_value_is_deleted() -> None:
    big = "x" * BIG
    codec, stored = Codec(), StoredRun()
    stored.apply(codec.delta(state(Frame(id=1, kind="scope", value=big))))
    stored.apply(codec.delta(state(Frame(id=1, kind="scope", value="small"))))
    assert stored.values == {}
    stored.apply(codec.delta(state(Frame(id=1, kind="scope", value=big))))
    assert stored.load().frames[1].value == big


def test_loaded_codec_continues_from_the_stored_state() -> None:
    big = "x" * BIG
    codec, stored = Codec(), StoredRun()
    stored.apply(codec.delta(state(Frame(id=1, kind="task", input=big), Frame(id=2, kind="scope"))))
    again = Codec()
    loaded = again.load(stored.head, stored.frames, stored.values)
    delta = again.delta(
        State(frames={1: loaded.frames[1], 3: Frame(id=3, kind="scope", value=big)}, next_id=loaded.next_id)
    )
    assert (list(delta.frames), delta.frames_gone) == (["3"], ["2"])
    stored.apply(delta)
    assert stored.load().frames[3].value == big


def test_data_cannot_imitate_a_reference() -> None:
    sly = {"$values": {"input": "0"}, "$value": "0"}
    before = state(Frame(id=1, kind="scope", value=sly))
    stored = StoredRun()
    stored.apply(Codec().delta(before))
    assert stored.load() == before


def test_state_of_a_newer_release_is_refused() -> None:
    with pytest.raises(ValueError, match="format 99"):
        Codec().load(b'{"format":99,"next_id":1,"status":"running"}', {}, {})
