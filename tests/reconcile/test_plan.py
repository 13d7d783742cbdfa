"""Plan of two revisions: complete, symmetric, empty only if nothing changes, and summed up in one line."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from iogate.auth.model import EnvSecret, TokenAuth
from iogate.compiler.revision import FaultHandler, Revision, Workflow, canonical, digest_of
from iogate.compiler.schedules import Schedule
from iogate.reconcile.plan import Plan, Side, plan
from iogate.reconcile.plan_facts import NO_FACTS
from tests.reconcile.revisions import api, revision

DEFINITIONS: dict[str, dict[str, Any]] = {
    name: {"document": {"name": "a"}, "do": [{name: {"set": {}}}]} for name in ("one", "two")
}
ONE, TWO = map(digest_of, DEFINITIONS.values())
PROGRAMS = {digest_of(each): canonical(each) for each in DEFINITIONS.values()}


def compared(before: Revision | None, after: Revision) -> Plan:
    """Return the plan from one revision to another."""
    old = None if before is None else Side(revision=before, programs=PROGRAMS)
    return plan(old, Side(revision=after, programs=PROGRAMS), NO_FACTS)


def test_added_deleted_and_changed_objects_are_listed_and_counted() -> None:
    before = revision(api("a/gone"), api("a/kept"), api("a/new-auth"), workflows={"s/a:1.0.0": ONE}, x="1")
    after = revision(
        api("a/came"),
        api("a/kept"),
        api("a/new-auth", auth=TokenAuth(tokens={"token": (EnvSecret(name="T"),)}), timeout_s=5.0),
        workflows={"s/a:1.0.0": TWO, "s/b:1.0.0": ONE},
        x="2",
    )
    found = compared(before, after)
    assert (found.ids("add"), found.ids("delete")) == (["a/came", "s/b:1.0.0"], ["a/gone"])
    assert found.ids("change") == ["a/new-auth", "s/a:1.0.0", "x"]
    assert found.ids("change", "api") == ["a/new-auth"]
    assert found.past_counts() == (
        "1 API added, 1 changed, 1 deleted; 1 workflow added, 1 changed; 1 resource changed"
    )
    assert found.summary() == "Plan: 2 to add, 3 to change, 1 to delete (2 breaking)"
    assert found.past_summary() == found.past_counts() + " (2 breaking)"


def test_the_path_of_a_file_is_no_difference() -> None:
    found = compared(revision(api(source="a.yaml")), revision(api(source="b.yaml")))
    assert not found
    assert (found.past_counts(), found.past_summary()) == ("no changes", "no changes")


def test_a_new_program_of_a_fault_handler_is_a_change_of_its_workflow_only() -> None:
    before, after = (
        revision(
            api(on_fault=FaultHandler(workflow="s/a:1.0.0", program=program)),
            workflows={"s/a:1.0.0": program},
        )
        for program in (ONE, TWO)
    )
    found = compared(before, after)
    assert (found.ids("change"), found.changes[0].used_by) == (["s/a:1.0.0"], ("orders/submit",))


def scheduled(program: str, **fields: Any) -> Revision:
    """Return a revision with a scheduled workflow."""
    schedule = Schedule(**{"kind": "every", "program": program, "milliseconds": 1_000, **fields})
    return Revision(apis={}, workflows={"s/a:1.0.0": Workflow(program=program, schedule=schedule)})


def test_a_schedule_that_a_new_version_takes_over_starts_other_runs() -> None:
    schedule = Schedule(kind="every", program=ONE, milliseconds=1_000)
    older, newer = Workflow(program=ONE), Workflow(program=TWO)
    before = Revision(apis={}, workflows={"s/a:1.0.0": msgspec.structs.replace(older, schedule=schedule)})
    after = Revision(
        apis={},
        workflows={"s/a:1.0.0": older, "s/a:1.1.0": msgspec.structs.replace(newer, schedule=schedule)},
    )
    found = compared(before, after)
    assert found.past_counts() == "1 workflow added; 1 schedule changed"
    (change,) = [each for each in found.changes if each.type == "schedule"]
    assert [(each.text, each.severity) for each in change.meanings] == [
        ("starts runs of s/a:1.1.0, was s/a:1.0.0", "caution")
    ]


def test_a_new_version_is_run_by_the_callers_of_the_latest_one() -> None:
    def parent(name: str, version: str) -> dict[str, Any]:
        run = {"run": {"workflow": {"namespace": "s", "name": "a", "version": version}}}
        return {"document": {"namespace": "s", "name": name}, "do": [{"start": run}]}

    latest, pinned = parent("latest", "latest"), parent("pinned", "1.0.0")
    names = {"s/a:1.0.0": ONE, "s/latest:1.0.0": digest_of(latest), "s/pinned:1.0.0": digest_of(pinned)}
    programs = PROGRAMS | {digest_of(each): canonical(each) for each in (latest, pinned)}

    def added(version: str) -> list[tuple[str, str]]:
        before, after = revision(workflows=names), revision(workflows={**names, f"s/a:{version}": TWO})
        (change,) = plan(Side(revision=before), Side(revision=after, programs=programs), NO_FACTS).changes
        return [(each.text, each.severity) for each in change.meanings]

    assert added("1.1.0") == [
        ("s/latest:1.0.0 runs it in place of s/a:1.0.0 (version: latest)", "caution"),
        ("workflow added", "neutral"),
    ]
    assert added("0.9.0") == [("workflow added", "neutral")]


def test_a_new_version_shows_its_differences_from_the_one_that_it_replaces() -> None:
    def definition(version: str, value: int) -> dict[str, Any]:
        return {
            "document": {"namespace": "s", "name": "a", "version": version},
            "do": [{"one": {"set": {"x": value}}}],
        }

    versions = {
        version: definition(version, value)
        for version, value in {"0.9.0": 0, "1.0.0": 1, "1.1.0": 2, "1.2.0": 1, "1.3.0": 3}.items()
    }
    programs = {digest_of(each): canonical(each) for each in versions.values()}

    def side(*names: str) -> Side:
        workflows = {f"s/a:{name}": digest_of(versions[name]) for name in names}
        used = api("a/a", workflow=f"s/a:{names[-1]}")
        return Side(revision=revision(used, workflows=workflows), programs=programs)

    def added(before: Side, after: Side) -> list[tuple[str, list[str], list[str]]]:
        return [
            (each.id, [meaning.text for meaning in each.meanings], [field.pointer for field in each.fields])
            for each in plan(before, after, NO_FACTS).changes
            if each.action == "add"
        ]

    changed = ["/do/0/one/set/x changed (1 → 2)", "workflow added in place of s/a:1.0.0"]
    live = side("0.9.0", "1.0.0")
    assert added(live, side("0.9.0", "1.1.0")) == [("s/a:1.1.0", changed, ["/do/0/one/set/x"])]
    assert added(live, side("0.9.0", "1.2.0")) == [
        ("s/a:1.2.0", ["workflow added in place of s/a:1.0.0"], []),
    ]
    # The newest version replaces the newest one that is gone; a version beside those that stay replaces none.
    assert [each[1][-1] for each in added(live, side("1.1.0", "1.3.0"))] == [
        "workflow added in place of s/a:0.9.0",
        "workflow added in place of s/a:1.0.0",
    ]
    assert added(live, side("0.9.0", "1.0.0", "1.1.0")) == [("s/a:1.1.0", ["workflow added"], [])]
    (change,) = [
        each for each in plan(live, side("1.0.0", "1.1.0"), NO_FACTS).changes if each.action == "add"
    ]
    assert (change.severity, change.used_by) == ("caution", ("a/a",))


def test_a_schedule_is_compared_separately_from_its_workflow() -> None:
    assert compared(scheduled(ONE), scheduled(TWO)).past_counts() == "1 workflow changed"
    assert compared(scheduled(ONE), scheduled(ONE, missed="all")).past_counts() == "1 schedule changed"
    found = compared(scheduled(ONE), revision(workflows={"s/a:1.0.0": ONE}))
    assert (found.ids("delete"), found.past_counts()) == (["s/a"], "1 schedule deleted")
    found = compared(scheduled(ONE, kind="on"), scheduled(TWO, kind="on"))
    assert found.ids("change", "schedule") == ["s/a"], "another strategy"


def test_all_objects_are_new_without_a_previous_revision() -> None:
    found = compared(None, revision(api("a/b"), api("a/c"), workflows={"s/a:1.0.0": ONE}))
    assert found.past_counts() == "2 APIs added; 1 workflow added"


revisions = st.builds(
    lambda apis, workflows: revision(
        *(api(name, timeout_s=time) for name, time in apis.items()), workflows=workflows
    ),
    st.dictionaries(st.sampled_from(["a/a", "a/b", "a/c"]), st.sampled_from([1.0, 2.0])),
    st.dictionaries(st.sampled_from(["s/a:1.0.0", "s/b:1.0.0"]), st.sampled_from([ONE, TWO])),
)


@given(revisions, revisions)
def test_the_plan_is_empty_only_for_equal_revisions_and_symmetric(before: Revision, after: Revision) -> None:
    forth, back = compared(before, after), compared(after, before)
    assert bool(forth) is (before.digest != after.digest)
    assert (forth.ids("add"), forth.ids("delete")) == (back.ids("delete"), back.ids("add"))
    assert forth.ids("change") == back.ids("change")
    json.dumps(forth.to_json())
