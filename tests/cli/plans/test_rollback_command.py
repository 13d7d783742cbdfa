"""`iogate rollback` and `diff`: earlier revisions, compared and published again."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Cli
from tests.cli.place import API
from tests.cli.plans.conftest import Git

OPENED = API.replace("auth: {token: {env: SHOP_TOKEN}}", "auth: none")
RENAMED = API.replace("  lacking:", "  needing:")


@pytest.fixture
def two(project: Cli) -> Cli:
    """A project with two revisions."""
    project("apply", "--yes", "-m", "first")
    project.write("apis.d/shop.yaml", OPENED)
    project("apply", "--yes")
    return project


def digests(project: Cli) -> list[str]:
    return [each["digest"] for each in project("history", "-o", "json").json["revisions"]]


def test_a_rollback_shows_its_plan_and_publishes_the_old_content(two: Cli) -> None:
    ran = two("rollback", code=64)
    assert "restores revision 1 over live revision 2" in ran.err
    assert "    BREAKING   auth strengthened (none → token)" in ran.out
    assert "add --yes" in ran.err
    assert len(digests(two)) == 2
    ran = two("rollback", "--yes", "-m", "undo")
    assert "revision 3: 1 API changed\n" in ran.out
    newest, middle, oldest = digests(two)
    assert newest == oldest != middle
    (entry, *_) = two("history", "-o", "json").json["revisions"]
    assert (entry["action"], entry["restores"], entry["message"]) == ("rollback", 1, "undo")
    assert two("diff", "1", "live").out == "no changes\n"


def test_a_rollback_names_the_commit_that_it_restores(git: Git, project: Cli) -> None:
    project("apply", "--yes")
    first = project("history", "-o", "json").json["revisions"][0]["commit"]
    project.write("apis.d/shop.yaml", OPENED)
    git.commit()
    project("apply", "--yes")
    project("rollback", "1", "--yes")
    (entry, *_) = project("history", "-o", "json").json["revisions"]
    assert (entry["commit"], entry["dirty"]) == (first, False)


def test_a_rollback_to_what_is_live_changes_nothing(two: Cli) -> None:
    assert "revision 2: no changes\n" in two("rollback", "2").out
    assert len(digests(two)) == 2


def test_a_second_rollback_says_that_it_takes_the_first_one_back(two: Cli) -> None:
    assert "takes it back" not in two("rollback", "--yes").err
    ran = two("rollback", "--yes")
    assert "live revision 3 is a rollback to 1, and this takes it back; to go further back, name a" in ran.err
    assert "restores revision 2 over live revision 3" in ran.err
    assert "takes it back" not in two("rollback", "1", "--yes").err


def test_a_rollback_deletes_only_with_permission(project: Cli) -> None:
    project("apply", "--yes")
    project.write("apis.d/shop.yaml", RENAMED)
    project("apply", "--yes", "--prune")
    assert "this would delete 1 API (shop/needing) [IOG708]" in project("rollback", "--yes", code=4).err
    assert "  pass --prune to delete\n" in project("rollback", "--yes", code=4).err
    out = project("rollback", "--yes", "--prune", "-o", "json").json
    assert (out["schema"], out["revision"]) == ("iogate.rollback/v1", 3)
    assert {each["id"]: each["action"] for each in out["plan"]["changes"]} == {
        "shop/lacking": "add",
        "shop/needing": "delete",
    }
    states = {each["api"]: each["enabled"] for each in project("api", "list", "-o", "json").json["apis"]}
    assert states["shop/lacking"], "it returns as it was"


def test_without_an_earlier_revision_there_is_no_rollback(project: Cli) -> None:
    assert "there is no earlier revision to restore [IOG712]" in project("rollback", code=8).err
    project("apply", "--yes")
    assert "there is no earlier revision to restore [IOG712]" in project("rollback", "--yes", code=8).err
    ran = project("rollback", "7", "--yes", code=8)
    assert "there is no revision 7" in ran.err


def test_revisions_are_compared_in_both_directions(two: Cli) -> None:
    ran = two("diff", "1", "2")
    assert ran.err.splitlines()[-1] == "from revision 1 to revision 2"
    assert ran.out.splitlines() == [
        "~ api shop/guarded  (apis.d/shop.yaml)",
        "    WEAKENING  auth weakened (token → none)",
        "",
        "1 API changed (1 weakening)",
    ]
    assert "auth strengthened (none → token)" in two("diff", "2", "1", "--exit-code", code=2).out
    found = two("diff", "1", "-o", "json").json
    assert (found["schema"], found["from"]["revision"], found["to"]["revision"]) == ("iogate.diff/v1", 1, 2)
    assert "**1 API changed (1 weakening)**" in two("diff", "1", "-o", "markdown").out


def test_the_files_can_be_compared(two: Cli) -> None:
    assert two("diff", "live", "files", "--exit-code").out == "no changes\n"
    two.write("apis.d/shop.yaml", RENAMED)
    ran = two("diff", "files")
    assert ran.err.splitlines()[-1] == "from the files to live revision 2"
    assert "1 API added, 1 changed, 1 deleted" in ran.out


@pytest.mark.parametrize("name", ["x", "-1", "1.0", "²", "9" * 20])
def test_another_name_is_no_revision(two: Cli, name: str) -> None:
    ran = two("diff", "--", name, code=64)
    assert f"{name}: expected the number of a revision, live or files" in ran.err


def test_unknown_revisions_are_told(project: Cli) -> None:
    assert "no revision was applied yet" in project("diff", "live", code=8).err
    assert "there is no revision 9" in project("diff", "9", code=8).err
