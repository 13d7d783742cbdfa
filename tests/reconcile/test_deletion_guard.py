"""Guard: nothing is deleted without its permission, and nothing protected with any."""

from __future__ import annotations

import json

import pytest

from iogate.compiler.revision import Revision
from iogate.errors import Refused
from iogate.reconcile import deletion_guard
from iogate.reconcile.deletion_guard import EMPTY, FOLDER, MANY, PROTECTED, PRUNE, Allowed, Deletions
from tests.reconcile.revisions import api, revision


def many(apis: int, workflows: int, *, protected: int = 0) -> Revision:
    """Return a revision of so many APIs, of which the first are protected, and of so many workflows."""
    return revision(
        *(api(f"a/m{number}", protect=number < protected) for number in range(apis)),
        workflows={f"s/w{number}:1.0.0": f"p{number}" for number in range(workflows)},
    )


NOTHING = Allowed()
PRUNED = Allowed(prune=True)
ALL = Allowed(prune=True, empty=True, max_deletes=1000)

Sizes = tuple[int, int]
SITUATIONS: list[tuple[Sizes, Sizes, Allowed, str | None]] = [
    # APIs and workflows before, those that are left, permissions, code of the refusal
    ((8, 8), (8, 8), NOTHING, None),
    ((8, 8), (7, 8), NOTHING, PRUNE),
    ((8, 8), (7, 8), PRUNED, None),
    ((8, 8), (7, 8), Allowed(empty=True), PRUNE),
    ((8, 8), (7, 8), Allowed(max_deletes=9), PRUNE),
    ((8, 8), (7, 8), Allowed(empty=True, max_deletes=9), PRUNE),
    ((8, 8), (8, 7), NOTHING, PRUNE),
    ((8, 8), (8, 7), PRUNED, None),
    ((8, 8), (8, 7), Allowed(empty=True), PRUNE),
    ((8, 8), (8, 7), Allowed(max_deletes=9), PRUNE),
    ((8, 8), (7, 7), NOTHING, PRUNE),
    ((8, 8), (7, 7), PRUNED, None),
    ((8, 8), (6, 8), NOTHING, PRUNE),
    ((8, 8), (6, 8), PRUNED, None),
    ((8, 8), (8, 6), PRUNED, None),
    ((8, 8), (6, 6), PRUNED, None),
    ((8, 8), (5, 8), NOTHING, PRUNE),
    ((8, 8), (5, 8), PRUNED, MANY),
    ((8, 8), (5, 8), Allowed(prune=True, empty=True), MANY),
    ((8, 8), (5, 8), Allowed(prune=True, max_deletes=2), MANY),
    ((8, 8), (5, 8), Allowed(prune=True, max_deletes=3), None),
    ((8, 8), (5, 8), Allowed(max_deletes=3), PRUNE),
    ((8, 8), (8, 5), PRUNED, MANY),
    ((8, 8), (8, 5), Allowed(prune=True, max_deletes=3), None),
    ((8, 8), (8, 5), Allowed(prune=True, max_deletes=2), MANY),
    ((8, 8), (5, 5), PRUNED, MANY),
    ((8, 8), (5, 5), Allowed(prune=True, max_deletes=3), MANY),
    ((8, 8), (5, 5), Allowed(prune=True, max_deletes=6), None),
    ((8, 8), (7, 8), Allowed(prune=True, max_deletes=0), MANY),
    ((8, 8), (8, 7), Allowed(prune=True, max_deletes=0), MANY),
    ((8, 8), (8, 8), Allowed(prune=True, max_deletes=0), None),
    ((8, 8), (1, 8), PRUNED, MANY),
    ((8, 8), (1, 8), Allowed(prune=True, max_deletes=7), None),
    ((8, 8), (0, 8), NOTHING, EMPTY),
    ((8, 8), (0, 8), PRUNED, EMPTY),
    ((8, 8), (0, 8), Allowed(prune=True, max_deletes=8), EMPTY),
    ((8, 8), (0, 8), Allowed(empty=True), PRUNE),
    ((8, 8), (0, 8), Allowed(prune=True, empty=True), None),
    ((8, 8), (8, 0), NOTHING, EMPTY),
    ((8, 8), (8, 0), PRUNED, EMPTY),
    ((8, 8), (8, 0), Allowed(prune=True, max_deletes=8), EMPTY),
    ((8, 8), (8, 0), Allowed(prune=True, empty=True), None),
    ((8, 8), (0, 0), NOTHING, EMPTY),
    ((8, 8), (0, 0), PRUNED, EMPTY),
    ((8, 8), (0, 0), Allowed(prune=True, empty=True), None),
    ((8, 8), (0, 0), Allowed(prune=True, empty=True, max_deletes=15), MANY),
    ((8, 8), (0, 0), Allowed(prune=True, empty=True, max_deletes=16), None),
    ((8, 8), (0, 5), Allowed(prune=True, empty=True), MANY),
    ((8, 8), (0, 5), ALL, None),
    ((8, 8), (5, 0), Allowed(prune=True, empty=True), MANY),
    ((8, 8), (5, 0), ALL, None),
    ((1, 1), (0, 1), NOTHING, EMPTY),
    ((1, 1), (0, 1), PRUNED, EMPTY),
    ((1, 1), (0, 1), Allowed(prune=True, empty=True), None),
    ((1, 0), (0, 0), Allowed(prune=True, max_deletes=1), EMPTY),
    ((3, 3), (2, 3), PRUNED, MANY),
    ((3, 3), (2, 3), Allowed(prune=True, max_deletes=1), None),
    ((4, 4), (3, 4), PRUNED, None),
    ((4, 4), (3, 3), PRUNED, None),
    ((100, 4), (76, 4), PRUNED, None),
    ((100, 4), (75, 4), PRUNED, None),
    ((100, 4), (74, 4), PRUNED, MANY),
    ((100, 4), (0, 4), FOLDER, EMPTY),
    ((100, 4), (1, 1), FOLDER, None),
    ((0, 8), (0, 0), PRUNED, EMPTY),
    ((0, 8), (0, 7), NOTHING, PRUNE),
    ((0, 0), (0, 0), NOTHING, None),
    ((0, 0), (8, 8), NOTHING, None),
]


@pytest.mark.parametrize(("before", "after", "allowed", "code"), SITUATIONS)
def test_nothing_is_deleted_without_its_permission(
    before: Sizes, after: Sizes, allowed: Allowed, code: str | None
) -> None:
    live = many(*before)
    # The first ones are left out, as protected ones come first below.
    left = revision(
        *list(live.apis.values())[before[0] - after[0] :]
        if after[0] <= before[0]
        else many(*after).apis.values(),
        workflows={
            name: workflow.program
            for name, workflow in list((live if after[1] <= before[1] else many(*after)).workflows.items())[
                max(0, before[1] - after[1]) :
            ]
        },
    )
    if code is None:
        deletion_guard.check(live, left, allowed)
    else:
        with pytest.raises(Refused) as caught:
            deletion_guard.check(live, left, allowed)
        assert (caught.value.code, caught.value.exit_code) == (code, 4)


def test_there_are_at_least_sixty_situations() -> None:
    assert len(SITUATIONS) >= 60


@pytest.mark.parametrize("allowed", [NOTHING, PRUNED, ALL, FOLDER])
@pytest.mark.parametrize("left", [0, 1, 6])
def test_a_protected_api_is_never_deleted(allowed: Allowed, left: int) -> None:
    live = many(8, 8, protected=2)
    kept = revision(*list(live.apis.values())[8 - left :], workflows={"s/w0:1.0.0": "p0"})
    with pytest.raises(Refused) as caught:
        deletion_guard.check(live, kept, allowed)
    assert caught.value.message == "a/m0, a/m1 are protected and would be deleted"
    assert caught.value.hint == "restore the file; or write protect: false, apply that, and then delete it"
    assert (caught.value.code, caught.value.exit_code) == (PROTECTED, 4)


def test_a_protected_api_may_change_and_lose_its_protection() -> None:
    deletion_guard.check(revision(api(protect=True)), revision(api(protect=False)), NOTHING)


def refusal(before: Revision, after: Revision, allowed: Allowed) -> tuple[str, str]:
    with pytest.raises(Refused) as caught:
        deletion_guard.check(before, after, allowed)
    return caught.value.message, caught.value.hint


def test_the_messages_name_what_would_be_deleted_and_the_option() -> None:
    live = many(8, 8)
    assert refusal(live, revision(*list(live.apis.values())[1:]), PRUNED) == (
        "this would delete all 8 workflows: the files contain none",
        "check that this is the right folder; to delete them all, pass --allow-empty",
    )
    assert refusal(live, revision(), Allowed(restores=True)) == (
        "this would delete all 8 APIs: the revision contains none",
        "check that this is the right revision; to delete them all, pass --prune --allow-empty",
    )
    fewer = revision(
        *list(live.apis.values())[2:], workflows={f"s/w{number}:1.0.0": "p" for number in range(7)}
    )
    assert refusal(live, fewer, NOTHING) == (
        "this would delete 2 APIs (a/m0, a/m1) and 1 workflow (s/w7:1.0.0)",
        "pass --prune to delete, or --keep-orphans to keep what the files lack",
    )
    assert refusal(live, fewer, Allowed(restores=True))[1] == "pass --prune to delete"
    assert (
        refusal(many(8, 0), many(1, 0), Allowed(restores=True))[1] == "pass --prune --max-deletes 7 to delete"
    )
    assert refusal(many(8, 0), many(1, 0), Allowed(restores=True, prune=True))[1] == (
        "check that this is the right revision; then pass --max-deletes 7"
    )
    assert refusal(many(8, 0), many(1, 0), PRUNED) == (
        "this would delete 7 of 8 APIs, more than a quarter: "
        "7 APIs (a/m1, a/m2, a/m3, a/m4, a/m5 and 2 more)",
        "check that these are the right files; then pass --max-deletes 7",
    )
    assert refusal(many(8, 0), many(6, 0), Allowed(prune=True, max_deletes=1)) == (
        "this would delete 2 APIs (a/m6, a/m7), more than 1",
        "check that these are the right files; then pass --max-deletes 2",
    )
    assert refusal(many(1, 0), many(0, 0), PRUNED)[0] == (
        "this would delete the only API: the files contain none"
    )


def test_a_version_that_a_new_one_replaces_is_not_deleted() -> None:
    before = revision(workflows={"s/w:1.0.0": "p1", "s/w:2.0.0": "p2"})
    deletion_guard.check(before, revision(workflows={"s/w:1.0.0": "p1", "s/w:3.0.0": "p3"}), NOTHING)
    deletion_guard.check(before, revision(workflows={"s/w:3.0.0": "p3", "s/w:4.0.0": "p4"}), NOTHING)
    for version in ("3.0.0", "10.0.0"):
        text, _ = refusal(before, revision(workflows={f"s/w:{version}": "p3"}), NOTHING)
        assert text == "this would delete 1 workflow (s/w:1.0.0)", "one new version replaces one"
    assert "1 workflow (s/w:2.0.0)" in refusal(before, revision(workflows={"s/w:1.0.0": "p1"}), NOTHING)[0]


def test_an_empty_project_may_be_the_first() -> None:
    deletion_guard.check(revision(), revision(), NOTHING)


def test_deletions_are_the_same_after_their_way_as_json() -> None:
    before = revision(api(protect=True), workflows={"s/w:1.0.0": "p1"})
    made = Deletions.between(before, revision())
    assert (made.apis.deleted, made.workflows.deleted, made.protected) == (
        ("orders/submit",),
        ("s/w:1.0.0",),
        ("orders/submit",),
    )
    assert Deletions.read(json.loads(json.dumps(made.to_json()))) == made
