"""`iogate plan`: against the live revision, and against a tree of git without a store."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest

from iogate.cli.plans.plan_markdown import escape, plan_markdown
from iogate.reconcile.meanings.change_kinds import Meaning
from iogate.reconcile.plan import ObjectChange, Plan
from tests.cli.conftest import Cli
from tests.cli.place import API, WORKFLOW, until
from tests.cli.plans.conftest import Git

OPENED = API.replace("auth: {token: {env: SHOP_TOKEN}}", "auth: none")


def test_a_plan_shows_all_changes_and_changes_nothing(project: Cli) -> None:
    first = project("plan")
    assert "+ api shop/buy  (apis.d/shop.yaml)" in first.out.splitlines()
    assert first.out.endswith("\nPlan: 13 to add, 0 to change, 0 to delete\n")
    assert "compared with an empty store of " in first.err
    assert project("status", "-o", "json").json["revision"] is None
    project("plan", "--exit-code", code=2)

    project("apply", "--yes")
    assert project("plan", "--exit-code").out == "No changes: live is the same as the files\n"
    project.write("apis.d/shop.yaml", OPENED.replace("  lacking:", "  needing:"))
    ran = project("plan")
    assert "compared with live revision 1 of " in ran.err
    assert ran.out.splitlines() == [
        "- api shop/lacking  (apis.d/shop.yaml)",
        "    BREAKING   API removed: callers get a 404",
        "~ api shop/guarded  (apis.d/shop.yaml)",
        "    WEAKENING  auth weakened (token → none)",
        "+ api shop/needing  (apis.d/shop.yaml)",
        "               API added: POST /v1/api/shop/needing/async, enabled",
        "",
        "Plan: 1 to add, 1 to change, 1 to delete (1 breaking, 1 weakening)",
    ]


def test_a_plan_shows_the_content_of_a_version_that_replaces_the_live_one(project: Cli) -> None:
    project("apply", "--yes")
    text = WORKFLOW.format(name="buy", task="buy: {set: {bought: '${ .id }'}}").replace("1.0.0", "1.1.0")
    project.write("workflows.d/buy.yaml", text)
    found = project("plan", "-o", "json").json
    (change,) = [each for each in found["changes"] if each["action"] == "add"]
    assert (change["id"], change["severity"]) == ("shop/buy:1.1.0", "caution")
    assert change["meanings"][0]["text"].startswith("/do/0/buy/set/bought changed (")
    assert change["meanings"][1]["text"] == "workflow added in place of shop/buy:1.0.0"
    assert [each["pointer"] for each in change["fields"]] == ["/do/0/buy/set/bought"]
    assert change["usedBy"] == ["shop/buy", "shop/guarded", "shop/hashed", "shop/lacking"]


def test_the_plan_in_json_names_each_field(project: Cli) -> None:
    project("apply", "--yes")
    project.write("apis.d/shop.yaml", OPENED)
    found = project("plan", "-o", "json").json
    assert found["schema"] == "iogate.plan/v1"
    assert found["summary"] == {"add": 0, "change": 1, "delete": 0, "breaking": 0, "weakening": 1}
    assert found["base"]["revision"] == 1
    assert found["base"]["digest"] != found["wanted"]["digest"]
    (change,) = found["changes"]
    assert change["fields"] == [
        {"pointer": "/auth", "before": {"token": {"env": "SHOP_TOKEN"}}, "after": "none"}
    ]
    assert change["meanings"][0] == {
        "kind": "auth.weakened",
        "severity": "weakening",
        "text": "auth weakened (token → none)",
        "pointer": "/auth",
    }


def test_debug_cases_show_what_a_narrower_schema_breaks(project: Cli) -> None:
    project("apply", "--yes")
    schema = "input: {schema: {type: object, properties: {sku: {maxLength: 2}}}}"
    project.write(
        "apis.d/shop.yaml", API.replace("    verbs: [GET, POST]\n", f"    verbs: [GET, POST]\n    {schema}\n")
    )
    out = project("plan").out
    narrowed = "input schema narrowed: 2 of 2 debug cases are now refused"
    assert f"    BREAKING   {narrowed} (type none → object, /sku has a schema)" in out


def test_an_override_is_shown_and_is_no_change(project: Cli) -> None:
    project("apply", "--yes")
    project("disable", "shop/buy", "--reason", "incident 12")
    ran = project("plan", "--exit-code")
    assert re.search(r"^! override shop/buy: disabled by \S+: incident 12$", ran.out, re.MULTILINE)
    (override,) = project("plan", "-o", "json").json["overrides"]
    assert (override["api"], override["enabled"], override["reason"]) == ("shop/buy", False, "incident 12")
    assert override["held"] is False


def test_a_plan_never_shows_a_hash_or_a_value_that_may_be_secret(project: Cli) -> None:
    digest = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    workflow = (
        "document: {dsl: '1.0.3', namespace: shop, name: buy, version: 1.0.0}\n"
        "do: [{pay: {call: http, with: {method: get, endpoint: 'https://ada:%s@pay.example.com/?api_key=%s',"
        " headers: {Authorization: 'Bearer %s', X-Trace: '%s'}}}}]\n"
    )
    project.write("workflows.d/buy.yaml", workflow % ("canary-1", "canary-2", "canary-3", "token=canary-4"))
    project("apply", "--yes")
    other = workflow % ("canary-5", "canary-6", "canary-7", "token=canary-8")
    project.write("workflows.d/buy.yaml", other)
    project.write("apis.d/shop.yaml", API.replace(digest, digest[::-1]).replace("guarded", "canaryless"))
    for form in ("text", "json", "yaml", "markdown"):
        ran = project("plan", "-o", form)
        shown = ran.out
        assert "canary-" not in shown
        assert digest not in shown
        assert digest[::-1] not in shown
        assert "hashed" in shown
        assert "pay" in shown


def test_git_gives_the_base_without_a_store(git: Git, project: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IOGATE_REDIS_URL", "redis://127.0.0.1:1")  # not used
    same = project("plan", "--base", "main", "--exit-code").out
    assert same == "No changes: main is the same as the files\n"
    project.write("apis.d/shop.yaml", OPENED)
    ran = project("plan", "--base", "main", "--exit-code", code=2)
    assert "WEAKENING  auth weakened (token → none)" in ran.out
    assert ran.err.splitlines()[-1] == "compared with main"
    assert project("plan", "--base", "main", "-o", "json").json["base"] == {"ref": "main"}
    git.commit()
    assert project("plan", "--base", "HEAD~1", "--exit-code", code=2).out == ran.out


def test_a_pipeline_can_fail_on_kinds_of_changes(git: Git, project: Cli) -> None:
    project.write("apis.d/shop.yaml", OPENED.replace("  lacking:", "  needing:"))
    weakening = "--fail-on weakening: the plan has 1 weakening change"
    breaking = "--fail-on breaking: the plan has 1 breaking change"
    deleting = "--fail-on deleting: an apply needs --prune"
    ran = project("plan", "--base", "HEAD", "--fail-on", "weakening", code=2)
    assert ran.err.splitlines()[-1] == weakening
    assert "WEAKENING" in ran.out
    both = ("--fail-on", "deleting", "--fail-on", "breaking", "--fail-on", "breaking")
    assert project("plan", "--base", "HEAD", *both, code=2).err.splitlines()[-2:] == [deleting, breaking]
    project.write("apis.d/shop.yaml", API.replace("enabled: true", "enabled: false", 1))
    project("plan", "--base", "HEAD", "--fail-on", "weakening", "--fail-on", "deleting")
    project("plan", "--base", "HEAD", "--fail-on", "breaking", code=2)
    project("plan", "--fail-on", "breaking", "--fail-on", "weakening", "--fail-on", "deleting")
    assert "is not one of" in project("plan", "--fail-on", "nothing", code=64).err


def test_the_base_has_its_own_variables(git: Git, project: Cli) -> None:
    reading = WORKFLOW.format(name="buy", task="buy: {set: {bought: '${ $runtime.vars.region }'}}")
    project.write("workflows.d/buy.yaml", reading)
    project.write("iogate.yaml", "vars: {region: eu}\n")
    git.commit()
    assert project("plan", "--base", "HEAD").out.startswith("No changes")
    project.write("iogate.yaml", "vars: {region: us}\n")
    assert "/vars/region changed (eu → us)" in project("plan", "--base", "HEAD").out


def test_the_base_may_be_a_folder_of_the_repository(git: Git, project: Cli) -> None:
    project.write("shop/apis.d/a.yaml", "module: a\nauth: none\nmethods: {b: {workflow: s/w, timeout: 1m}}\n")
    project.write(
        "shop/workflows.d/w.yaml",
        "document: {dsl: '1.0.3', namespace: s, name: w, version: 1.0.0}\ndo: [{a: {set: {x: 1}}}]\n",
    )
    git.commit()
    project.write("shop/apis.d/a.yaml", "module: a\nauth: none\nmethods: {c: {workflow: s/w, timeout: 1m}}\n")
    out = project("-C", "shop", "plan", "--base", "HEAD").out
    assert out.endswith("Plan: 1 to add, 0 to change, 1 to delete (1 breaking)\n")


def test_an_unreadable_base_is_told(project: Cli, git: Git) -> None:
    ran = project("plan", "--base", "origin/gone", code=8)
    assert "git has no revision origin/gone [IOG700]" in ran.err
    assert "fetch it first, for example with `git fetch origin gone`" in ran.err
    assert (
        "git has no revision --upload-pack=x [IOG700]"
        in project("plan", "--base=--upload-pack=x", code=8).err
    )
    project.write("apis.d/shop.yaml", API.replace("verbs:", "methods:"))
    git.commit()
    project.write("apis.d/shop.yaml", API)
    ran = project("plan", "--base", "HEAD", code=3)
    assert 'the files of HEAD are invalid: apis.d/shop.yaml:7: unknown key "methods"' in ran.err
    assert "[IOG701]" in ran.err


def test_without_git_a_base_is_refused(project: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = project("plan", "--base", "main", code=64)
    assert "is not in a git repository [IOG700]" in ran.err
    monkeypatch.setenv("PATH", str(project.root))
    assert "git is not installed [IOG700]" in project("plan", "--base", "main", code=64).err


def test_invalid_files_have_no_plan(project: Cli) -> None:
    project.write("apis.d/shop.yaml", API.replace("verbs:", "methods:"))
    assert "IOG101" in project("plan", code=3).err


def test_the_comment_lists_marked_changes_and_hides_the_rest(project: Cli) -> None:
    project("apply", "--yes")
    project.write("apis.d/shop.yaml", OPENED.replace("module: shop", "module: shop\ndescription: a"))
    out = project("plan", "-o", "markdown").out
    assert out.startswith("### iogate plan\n\n**Plan: 0 to add, 1 to change, 0 to delete (1 weakening)**\n")
    assert "- 🟠 **weakening** shop/guarded: auth weakened (token → none)\n" in out
    assert out.index("weakening** shop") < out.index("<details><summary>All changes</summary>")
    assert out.rstrip().endswith("</details>")


HOSTILE = (
    "</details><img src=x onerror=alert(1)> @ada #12 [x](https://evil.example) `a` **b** | c\n# d\x1b[31m"
)


def test_text_of_documents_cannot_form_markup() -> None:
    shown = escape(HOSTILE)
    assert "<" not in shown
    assert "\n" not in shown
    assert "\x1b" not in shown
    for fragment in ("@ada", "#12", "[x]", "https://", "**b", " `a` "):
        assert fragment not in shown
    change = ObjectChange(
        action="change",
        type="api",
        id=HOSTILE,
        meanings=(Meaning(kind="auth.weakened", text=HOSTILE),),
        source=HOSTILE,
        used_by=(HOSTILE,),
    )
    comment = plan_markdown(Plan(changes=(change,)), HOSTILE, [HOSTILE])
    assert "<img" not in comment
    assert comment.count("</details>") == 1
    assert "@ada" not in html.unescape(comment).replace("\\", "")


def test_a_long_comment_is_cut() -> None:
    change = ObjectChange(
        action="add", type="api", id="a/b", meanings=(Meaning(kind="api.added", text="x" * 500),)
    )
    comment = plan_markdown(Plan(changes=(change,) * 500), "iogate plan", [])
    assert len(comment) < 65_536
    assert re.search(r"… and \d+ more; `iogate plan` shows all", comment)


def test_an_api_of_another_project_is_told(project: Cli) -> None:
    project("apply", "--yes")
    project.write("iogate.yaml", "project: other\n")
    ran = project("plan")
    assert "    BREAKING   API belongs to project default: the apply is refused" in ran.out
    assert "compared with the empty project other of " in ran.err
    assert "[IOG635]" in project("apply", "--yes", code=4).err
    project.write("iogate.yaml", "project: default\n")
    assert project("plan").out.startswith("No changes")


def test_a_saved_plan_belongs_to_its_project(project: Cli) -> None:
    project("apply", "--yes")
    project.write("apis.d/shop.yaml", OPENED)
    project("plan", "--out", "plan.json")
    project.write("iogate.yaml", "project: other\n")
    ran = project("apply", "plan.json", code=4)
    assert "the plan was made for another project: default, and this is other" in ran.err


def test_the_plan_tells_who_has_loaded_the_live_revision(live: Cli) -> None:
    def converged() -> dict[str, Any] | None:
        # Other tests of the session may have just ended a process, which its parent starts again.
        found = live("plan", "-o", "json").json
        return found if found["processes"]["loaded"] == found["processes"]["total"] >= 2 else None

    found = until(converged)
    number, total = found["base"]["revision"], found["processes"]["total"]
    assert f"{total}/{total} on revision {number}" in live("plan").err.splitlines()
