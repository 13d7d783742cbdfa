"""Difference of JSON documents: complete, and aligned by the names of tasks."""

from __future__ import annotations

import copy
import time
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from iogate.json_values import is_same
from iogate.reconcile.json_diff import ABSENT, changes

values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
task_lists = st.lists(st.sampled_from("abcdef"), max_size=5, unique=True).flatmap(
    lambda names: st.tuples(*(st.fixed_dictionaries({name: values}) for name in names)).map(list)
)


def told(before: Any, after: Any) -> list[str]:
    return [f"{change.mark} {change.pointer}" for change in changes(before, after)]


@given(values | task_lists, values | task_lists)
def test_a_difference_is_empty_only_for_equal_values(before: Any, after: Any) -> None:
    found = list(changes(before, after))
    assert bool(found) is not is_same(before, after)
    assert not list(changes(after, copy.deepcopy(after)))
    for change in found:
        assert change.before is not ABSENT or change.after is not ABSENT


def test_an_inserted_task_does_not_change_the_others() -> None:
    before = [{"a": {"set": 1}}, {"b": {"set": 2}}]
    after = [{"new": {"set": 0}}, {"a": {"set": 1}}, {"b": {"set": 3}}]
    assert told({"do": before}, {"do": after}) == ["+ /do/0/new", "~ /do/2/b/set"]


def test_a_renamed_and_a_moved_task_are_told_with_their_previous_places() -> None:
    before = [{"a": 1}, {"b": 2}, {"c": 3}]
    found = {change.pointer: change.was for change in changes(before, [{"b": 2}, {"a": 1}, {"x": 3}])}
    assert found["/2/x"] == (2, "c")
    assert [was for pointer, was in found.items() if pointer != "/2/x"] in ([(1, "b")], [(0, "a")])


def test_lists_of_other_values_are_compared_as_a_whole() -> None:
    assert told({"tags": ["a"]}, {"tags": ["a", "b"]}) == ["~ /tags"]
    assert told([{"a": 1, "b": 1}], [{"a": 1, "b": 2}]) == ["~ /0/b"]


def test_true_is_not_one() -> None:
    assert told({"a": True}, {"a": 1}) == ["~ /a"]
    assert told({"a": 1, "b": 2}, {"b": 2, "a": 1}) == []


def test_many_replaced_tasks_are_compared_in_linear_time() -> None:
    before = [{f"a{number}": {"set": {"v": number}}} for number in range(1500)]
    after = [{f"b{number}": {"set": {"v": -number - 1}}} for number in range(1500)]
    started_s = time.process_time()
    assert len(list(changes(before, after))) == 3000
    assert time.process_time() - started_s < 5, "0.1 s; minutes if each task were compared with each other"
