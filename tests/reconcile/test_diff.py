"""Difference of two revisions: complete, ordered, and empty only if nothing changes."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from iogate.auth.model import EnvSecret, TokenAuth
from iogate.compiler.revision import Revision, Workflow
from iogate.compiler.schedules import Schedule
from iogate.reconcile.diff import ChangedField, difference
from tests.reconcile.revisions import api, revision


def test_added_removed_and_changed_objects_are_listed() -> None:
    before = revision(api("a/gone"), api("a/kept"), api("a/new-auth"), workflows={"s/a:1.0.0": "p1"}, x="1")
    after = revision(
        api("a/came"),
        api("a/kept"),
        api("a/new-auth", auth=TokenAuth(tokens={"token": (EnvSecret(name="T"),)}), timeout_s=5.0),
        workflows={"s/a:1.0.0": "p2", "s/b:1.0.0": "p1"},
        x="2",
    )
    found = difference(before, after)
    assert (found.apis.added, found.apis.removed) == (("a/came",), ("a/gone",))
    (changed,) = found.apis.changed
    assert changed.id == "a/new-auth"
    assert changed.fields == (
        ChangedField(
            name="auth",
            before={"type": "none"},
            after={"type": "token", "tokens": {"token": [{"type": "env", "name": "T"}]}},
        ),
        ChangedField(name="timeout_s", before=None, after=5.0),
    )
    assert found.workflows.added == ("s/b:1.0.0",)
    assert found.workflows.changed[0].fields == (ChangedField(name="program", before="p1", after="p2"),)
    assert found.resources.changed[0].fields == (ChangedField(name="content", before="1", after="2"),)
    assert found.summary() == (
        "1 API added, 1 changed, 1 removed; 1 workflow added, 1 changed; 1 resource changed"
    )


def test_the_path_of_a_file_is_no_difference() -> None:
    found = difference(revision(api(source="a.yaml")), revision(api(source="b.yaml")))
    assert not found
    assert found.summary() == "no changes"


def scheduled(program: str, **fields: Any) -> Revision:
    schedule = Schedule(**{"kind": "every", "program": program, "milliseconds": 1_000, **fields})
    return Revision(apis={}, workflows={"s/a:1.0.0": Workflow(program=program, schedule=schedule)})


def test_a_schedule_is_compared_separately_from_its_workflow() -> None:
    found = difference(scheduled("p1"), scheduled("p2"))
    assert (bool(found.workflows), bool(found.schedules)) == (True, False)
    found = difference(scheduled("p1"), scheduled("p1", missed="all"))
    assert found.schedules.changed[0].fields == (ChangedField(name="missed", before=None, after="all"),)
    assert found.summary() == "1 schedule changed"
    found = difference(scheduled("p1"), revision(workflows={"s/a:1.0.0": "p1"}))
    assert (found.schedules.removed, found.summary()) == (("s/a",), "1 schedule removed")
    assert difference(scheduled("p1", kind="on"), scheduled("p2", kind="on")).schedules, "another strategy"


def test_all_objects_are_new_without_a_previous_revision() -> None:
    found = difference(None, revision(api("a/b"), api("a/c"), workflows={"s/a:1.0.0": "p"}))
    assert found.summary() == "2 APIs added; 1 workflow added"


revisions = st.builds(
    lambda apis, workflows: revision(
        *(api(name, timeout_s=time) for name, time in apis.items()), workflows=workflows
    ),
    st.dictionaries(st.sampled_from(["a/a", "a/b", "a/c"]), st.sampled_from([1.0, 2.0])),
    st.dictionaries(st.sampled_from(["s/a:1.0.0", "s/b:1.0.0"]), st.sampled_from(["p1", "p2"])),
)


@given(revisions, revisions)
def test_the_difference_is_empty_only_for_equal_revisions_and_symmetric(
    before: Revision, after: Revision
) -> None:
    forth, back = difference(before, after), difference(after, before)
    assert bool(forth) is (before.digest != after.digest)
    assert forth.apis.added == back.apis.removed
    assert [one.id for one in forth.apis.changed] == [one.id for one in back.apis.changed]
    json.dumps(forth.to_json())
