"""`iogate apply`: shows its plan, asks, deletes only what is allowed, and applies saved plans."""

from __future__ import annotations

import io
import json
import sys

import pytest

from iogate.store import keys
from tests.cli.conftest import Cli
from tests.cli.place import API, WORKFLOW
from tests.cli.plans.conftest import Git, raw

OPENED = API.replace("auth: {token: {env: SHOP_TOKEN}}", "auth: none")
FEWER = API.replace("  lacking:", "  needing:")
ONE = "module: shop\nauth: none\nmethods: {buy: {workflow: shop/buy, timeout: 1m, enabled: true}}\n"


def revision(project: Cli) -> int | None:
    found: int | None = project("status", "-o", "json").json["revision"]
    return found


def test_without_a_terminal_changes_need_yes(project: Cli) -> None:
    ran = project("apply", code=64)
    assert "Plan: 13 to add, 0 to change, 0 to delete" in ran.out
    assert "this changes the live revision, and there is no terminal to confirm it [IOG702]" in ran.err
    assert "review the plan, and add --yes" in ran.err
    assert revision(project) is None
    ran = project("apply", "-o", "json", code=64)
    assert (ran.out, "Plan: 13 to add" in ran.err) == ("", True)
    project("apply", "--yes")
    assert "revision 1: no changes" in project("apply").out, "nothing to confirm"


class Answer(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 4), ("\n", 4)])
def test_on_a_terminal_apply_asks(
    project: Cli, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    monkeypatch.setattr(sys, "stdin", Answer(answer))
    errors = Answer()
    monkeypatch.setattr(sys, "stderr", errors)
    assert project("apply", code=code).out
    assert "Apply? [y/N]:" in errors.getvalue()
    assert ("not confirmed: nothing was changed" in errors.getvalue()) is (code == 4)


def test_nothing_is_deleted_without_its_flag(project: Cli) -> None:
    project("apply", "--yes")
    project.write("apis.d/shop.yaml", FEWER)
    ran = project("apply", "--yes", code=4)
    assert "this would delete 1 API (shop/lacking) [IOG708]" in ran.err
    assert "pass --prune to delete, or --keep-orphans to keep what the files lack" in ran.err
    assert revision(project) == 1
    assert "revision 2: 1 API added, 1 deleted" in project("apply", "--yes", "--prune").out
    project.write("apis.d/shop.yaml", ONE)
    assert "pass --prune --max-deletes 7 to delete" in project("apply", "--yes", code=4).err
    assert project("plan", "-o", "json").json["needs"] == ["--prune", "--max-deletes 7"]
    assert "an apply needs --prune --max-deletes 7 to delete\n" in project("plan").err
    assert "\n- an apply needs --prune --max-deletes 7 to delete\n" in project("plan", "-o", "markdown").out
    assert project("plan", "--keep-orphans", "-o", "json").json["needs"] == []
    ran = project("apply", "--yes", "--prune", code=4)
    assert "this would delete 7 of 8 APIs, more than a quarter: " in ran.err
    assert "then pass --max-deletes 7" in ran.err
    assert "[IOG709]" in project("apply", "--yes", "--prune", "--max-deletes", "6", code=4).err
    project("apply", "--yes", "--prune", "--max-deletes", "7")
    assert revision(project) == 3
    assert "cannot be combined" in project("apply", "--prune", "--keep-orphans", code=64).err
    assert (
        'iogate: --commit: expected the id of a git commit, 7 to 64 digits 0-9 and a-f, got "main"\n'
        "  `git rev-parse HEAD` prints it\n"
    ) in project("apply", "--commit", "main", code=64).err


def test_orphans_can_be_kept(project: Cli) -> None:
    project("apply", "--yes")
    project.write("apis.d/shop.yaml", ONE.replace("buy:", "sell:"))
    (project.root / "workflows.d/sleep.yaml").unlink()
    (project.root / "workflows.d/nested.yaml").unlink()
    assert "Plan: 1 to add, 0 to change, 0 to delete" in project("plan", "--keep-orphans").out
    project("apply", "--yes", "--keep-orphans")
    assert len(project("api", "list", "-o", "json").json["apis"]) == 9
    assert project("plan", "--keep-orphans").out.startswith("No changes")
    assert "shop/sleep" in project("workflow", "list").out


def test_a_protected_api_is_never_deleted(project: Cli) -> None:
    project.write("apis.d/shop.yaml", API.replace("    verbs: [GET, POST]", "    protect: true"))
    project("apply", "--yes")
    project.write("apis.d/shop.yaml", API.replace("  buy:", "  purchase:"))
    for flags in ((), ("--prune",), ("--prune", "--allow-empty", "--max-deletes", "99")):
        ran = project("apply", "--yes", *flags, code=4)
        assert "shop/buy is protected and would be deleted [IOG630]" in ran.err
    assert revision(project) == 1


def test_a_renamed_file_makes_no_revision(project: Cli) -> None:
    project("apply", "--yes")
    (project.root / "apis.d/shop.yaml").rename(project.root / "apis.d/renamed.yaml")
    ran = project("apply", "--yes")
    assert ran.out.startswith("revision 1: no changes\n")
    assert revision(project) == 1


TWO = """\
module: other
auth: none
methods:
  first: {workflow: shop/echoing, timeout: 1m, tags: [billing]}
  second: {workflow: shop/echoing, timeout: 1m}
"""


def test_a_selection_leaves_the_rest_as_it_is_live(project: Cli) -> None:
    project.write("apis.d/other.yaml", TWO)
    project("apply", "--yes")
    project.write("apis.d/shop.yaml", FEWER)
    project.write("apis.d/other.yaml", TWO.replace("timeout: 1m", "timeout: 2m"))
    assert "Plan: 0 to add, 1 to change, 0 to delete" in project("plan", "--select", "billing").out
    assert "Plan: 0 to add, 2 to change, 0 to delete" in project("plan", "--select", "other").out
    assert "Plan: 1 to add, 0 to change, 1 to delete" in project("plan", "--select", "shop").out
    project("apply", "--yes", "--select", "billing")
    assert "revision 2: no changes" in project("apply", "--yes", "--select", "billing").out
    assert "Plan: 1 to add, 1 to change, 1 to delete" in project("plan").out
    ran = project("plan", "--select", "biling", code=8)
    assert 'no API has the tag or module biling; did you mean "billing"? [IOG711]' in ran.err


def test_a_selection_may_not_change_what_others_start(project: Cli) -> None:
    project.write("apis.d/other.yaml", TWO)
    project("apply", "--yes")
    project.write("workflows.d/echoing.yaml", WORKFLOW.format(name="echoing", task="a: {set: {x: 1}}"))
    ran = project("apply", "--yes", "--select", "billing", code=4)
    assert (
        "the selection changes workflow shop/echoing:1.0.0, which other/second starts too, and other/second "
        "is not selected [IOG710]"
    ) in ran.err
    project.write(
        "workflows.d/echoing.yaml",
        WORKFLOW.format(name="echoing", task="a: {set: {x: 1}}").replace("1.0.0", "2.0.0"),
    )
    project("apply", "--yes", "--select", "billing", "--keep-orphans")
    apis = {each["api"]: each["workflow"] for each in project("api", "list", "-o", "json").json["apis"]}
    assert apis["other/first"] == "shop/echoing:2.0.0"
    assert apis["other/second"] == apis["shop/echoing"] == "shop/echoing:1.0.0"


def saved(project: Cli, *options: str) -> dict[str, object]:
    project("plan", "--out", "plan.json", *options)
    found = json.loads((project.root / "plan.json").read_text())
    assert isinstance(found, dict)
    return found


def test_a_saved_plan_is_applied_without_a_question(project: Cli) -> None:
    project("apply", "--yes")
    project.write("apis.d/shop.yaml", FEWER)
    found = saved(project)
    assert (found["schema"], found["base"], found["project"]) == ("iogate.plan-file/v1", 1, "default")
    assert "SHOP_TOKEN" not in json.dumps(found)
    assert "[IOG708]" in project("apply", "plan.json", code=4).err, "it needs the flags, too"
    assert "revision 2: 1 API added, 1 deleted" in project("apply", "plan.json", "--prune").out


def test_a_saved_plan_keeps_its_selection(project: Cli) -> None:
    project.write("apis.d/other.yaml", TWO)
    project("apply", "--yes")
    project.write("apis.d/shop.yaml", FEWER)
    project.write("apis.d/other.yaml", TWO.replace("timeout: 1m", "timeout: 2m"))
    assert saved(project, "--select", "other")["select"] == "other"
    assert "already says what is selected" in project("apply", "plan.json", "--select", "shop", code=64).err
    project("apply", "plan.json")
    assert "Plan: 1 to add, 0 to change, 1 to delete" in project("plan").out


def test_a_stale_plan_is_refused_with_what_moved(project: Cli) -> None:
    project("apply", "--yes")
    project.write("apis.d/shop.yaml", FEWER)
    saved(project)
    project.write("apis.d/shop.yaml", OPENED)
    project("apply", "--yes", "-m", "open it\n- api shop/buy")
    assert "\nmessage    open it\n           - api shop/buy\n" in project("show").out
    project.write("apis.d/shop.yaml", FEWER)
    ran = project("apply", "plan.json", "--prune", code=4)
    assert "the plan is stale: it starts from revision 1, and revision 2 is live [IOG705]\n" in ran.err
    assert ": open it\\n- api shop/buy\n" in ran.err, "no line of the message looks like one of the plan"
    assert "~ api shop/guarded  (apis.d/shop.yaml)\n      " in ran.err
    assert "auth weakened (token → none)" in ran.err
    assert "\n  1 API changed (1 weakening)\n" in ran.err
    assert revision(project) == 2


def test_a_plan_is_applied_once(project: Cli) -> None:
    project("apply", "--yes")
    project.write("apis.d/shop.yaml", OPENED)
    saved(project)
    project("apply", "plan.json")
    ran = project("apply", "plan.json", code=4)
    assert "the plan was applied already: live revision 2 has its content [IOG705]\n" in ran.err


def test_a_plan_of_other_files_is_refused(project: Cli) -> None:
    project("apply", "--yes")
    project.write("apis.d/shop.yaml", FEWER)
    saved(project)
    project.write("apis.d/shop.yaml", FEWER.replace("  fail:", "  failing:"))
    ran = project("apply", "plan.json", "--prune", code=4)
    assert "the files are not those of the plan: other changes of api shop/fail, api shop/failing" in ran.err
    assert "[IOG706]" in ran.err
    assert revision(project) == 1


@pytest.mark.parametrize("changes", [5, [1, "x"], [{"type": "api"}], [{"type": "a\n::error::b", "id": [1]}]])
def test_a_plan_that_a_person_has_changed_is_refused(project: Cli, changes: object) -> None:
    project("apply", "--yes")
    project.write("apis.d/shop.yaml", FEWER)
    project.write("plan.json", json.dumps(saved(project) | {"files": "0" * 64, "plan": {"changes": changes}}))
    ran = project("apply", "plan.json", "--prune", code=4)
    assert "the files are not those of the plan: other changes of " in ran.err
    assert "\n::error" not in ran.err
    assert revision(project) == 1


@pytest.mark.parametrize(
    ("member", "value", "text"),
    [
        ("version", "9.9.9", "the plan was made for another release: 9.9.9, and this is "),
        ("project", "shop", "the plan was made for another project: shop, and this is default"),
        ("store", "abc", "the plan was made for another store: abc, and this is "),
        ("store", "a\n::error::b", "the plan was made for another store: a\\n::error::b, and this is "),
    ],
)
def test_a_plan_of_another_place_is_refused(project: Cli, member: str, value: str, text: str) -> None:
    project("apply", "--yes")
    project.write("apis.d/shop.yaml", OPENED)
    found = saved(project) | {member: value}
    project.write("plan.json", json.dumps(found))
    ran = project("apply", "plan.json", code=4)
    assert text in ran.err
    assert "[IOG704]" in ran.err
    assert revision(project) == 1


def test_a_store_has_one_name_for_ever(project: Cli, redis_url: str) -> None:
    project("apply", "--yes")
    name = raw(redis_url, "GET", keys.IDENTITY)
    assert len(name) == 16
    project.write("apis.d/shop.yaml", OPENED)
    project("apply", "--yes")
    assert raw(redis_url, "GET", keys.IDENTITY) == name


@pytest.mark.parametrize("text", ["{}", "no JSON", '{"schema": "iogate.plan/v1"}', "\x00"])
def test_another_file_is_no_plan(project: Cli, text: str) -> None:
    project.write("plan.json", text)
    ran = project("apply", "plan.json", code=64)
    assert "plan.json is not a saved plan: " in ran.err
    assert "`iogate plan --out FILE` writes one" in ran.err
    assert "gone.json: no such file" in project("apply", "gone.json", code=8).err
    assert "cannot be written" in project("plan", "--out", "no/such/folder", code=64).err


def test_a_dirty_tree_is_refused_on_request(git: Git, project: Cli) -> None:
    project("apply", "--yes", "--require-clean")
    project.write("apis.d/shop.yaml", OPENED)
    ran = project("apply", "--yes", "--require-clean", code=4)
    assert "--require-clean: the folder has changes that commit " in ran.err
    assert "[IOG707]" in ran.err
    git.commit()
    assert "revision 2" in project("apply", "--yes", "--require-clean").out


def test_a_folder_without_git_is_not_clean(project: Cli) -> None:
    ran = project("apply", "--yes", "--require-clean", code=4)
    assert "--require-clean: this folder has no git commit [IOG707]" in ran.err
