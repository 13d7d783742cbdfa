"""Plans, publications and rollbacks from a machine that reaches the gateway only, as on that of the store."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.cli.conftest import token
from tests.cli.place import WORKFLOW, Place, until
from tests.cli.system.conftest import FORMATS, WHY, Machines, edit, refused
from tests.cli.system.proxy import Exchange, forwarding

SCHEMA = (
    "workflow: shop/buy\n    input: {schema: {type: object, required: [sku, size]}}\n    auth: {token: {env"
)
"""Input schema of `shop/guarded` that refuses its debug case."""


@pytest.mark.parametrize("output", [*FORMATS, ("-o", "markdown")])
def test_a_plan_is_the_same(two: Machines, output: tuple[str, ...]) -> None:
    assert "No changes" in two.same("plan").out
    two.here("disable", "shop/fail", "--ttl", "2h", "--reason", "stocktaking")
    edit(two, "workflow: shop/buy\n    auth: {token: {env", SCHEMA)
    edit(two, "verbs: [GET, POST]", "verbs: [POST]")
    edit(two, "  sleep:\n", "  doze:\n")
    (two.shop.root / "workflows.d/echoing.yaml").unlink()
    (two.elsewhere / "workflows.d/echoing.yaml").unlink()
    edit(
        two,
        "  echoing:\n    attributes: {sku: /sku}\n    workflow: shop/echoing",
        "  echoing:\n    workflow: shop/buy",
    )
    ran = two.same("plan", *output)
    if output == ("-o", "text"):
        told = "input schema narrowed: 1 of 1 debug cases are now refused (type none → object"
        assert told in ran.out, ran.out
        assert "! override shop/fail: disabled by " in ran.out
        assert "an apply needs --prune to delete" in ran.err
        assert "compared with live revision" in ran.err
    two.same("plan", "--exit-code", "--fail-on", "breaking", "--fail-on", "deleting", *output, code=2)
    two.same("plan", "--keep-orphans", *output)
    two.same("plan", "--select", "shop", *output)
    two.same("plan", "--select", "shp", *output, code=8)
    assert two.there("plan", *output, role="read").out == ran.out


def test_a_workflow_with_build_metadata_in_its_version_is_shown(two: Machines) -> None:
    document = WORKFLOW.format(name="numbered", task="a: {set: {x: 1}}")
    path = two.shop.root / "workflows.d/numbered.yaml"
    path.write_text(document.replace("version: 1.0.0", "version: 1.0.0+b1"))
    two.here("apply", "--yes")
    assert "1.0.0+b1" in two.same("workflow", "show", "shop/numbered:1.0.0+b1").out


def test_a_plan_against_git_needs_no_server(two: Machines) -> None:
    ran = two.there("plan", "--base", "main", IOGATE_SERVER="http://127.0.0.1:1", code=64)
    assert "git" in ran.err


@pytest.mark.parametrize("output", FORMATS)
def test_an_apply_publishes_the_files_and_says_the_same(two: Machines, output: tuple[str, ...]) -> None:
    def without_numbers(text: str) -> str:
        # Beside a worker that a busy machine has stalled, another one runs for half a minute.
        text = re.sub(r"[0-9]+/[0-9]+|(?:total|loaded)['\"]?: [0-9]+", "P", text)
        return re.sub(
            r"[0-9]+\.[0-9]+", "T", re.sub(r"revision['\"]?:? [0-9]+|previous['\"]?: [0-9]+", "N", text)
        )

    edit(two, "verbs: [GET, POST]", "verbs: [POST]")
    unconfirmed = two.same("apply", *WHY, *output, code=64)
    assert "there is no terminal to confirm it [IOG702]" in unconfirmed.err
    before = two.here("history", "-o", "json").json["revisions"][0]["revision"]
    there = two.there("apply", "--yes", *WHY, *output)
    entry = two.here("history", "-o", "json").json["revisions"][0]
    assert (entry["revision"], entry["author"], entry["message"]) == (before + 1, "adminer", "new prices")
    assert (entry["action"], entry["changes"]) == ("apply", "1 API changed")
    recorded = two.here("activity", "--limit", "1", "-o", "json").json["activity"][0]
    assert (recorded["action"], recorded["via"], recorded["reason"]) == (
        "revisions.publish",
        "http",
        "new prices",
    )
    unchanged = two.there("apply", *WHY, *output).out
    assert without_numbers(unchanged) == without_numbers(two.here("apply", *WHY, *output).out)
    two.here("rollback", "--yes")
    here = two.here("apply", "--yes", *WHY, *output)
    assert without_numbers(there.out) == without_numbers(here.out)


def test_a_new_api_is_named_with_the_command_that_enables_it(two: Machines) -> None:
    edit(two, "  nested:\n", "  fresh: {workflow: shop/buy, timeout: 1m}\n  nested:\n")
    ran = two.there("apply", "--yes", *WHY)
    assert "\nnot enabled yet: iogate enable shop/fresh\nwarning: api shop/lacking: environment " in ran.err
    assert re.search(r"revision [0-9]+: 1 API added\n([23])/\1 on revision [0-9]+ in ", ran.out), ran.out


def test_deletions_are_guarded_alike(two: Machines) -> None:
    edit(two, "  sleep:\n    workflow: shop/sleep\n    enabled: true\n    timeout: 10m\n", "")
    ran = two.same("apply", "--yes", *WHY, code=4)
    assert refused(ran) == (
        "iogate: this would delete 1 API (shop/sleep) [IOG708]; "
        "pass --prune to delete, or --keep-orphans to keep what the files lack"
    )
    two.same("apply", "--yes", "--prune", "--max-deletes", "0", *WHY, code=4)
    assert "no changes" in two.there("apply", "--yes", "--keep-orphans", *WHY).out
    assert "1 API deleted" in two.there("apply", "--yes", "--prune", *WHY).out


def test_a_part_is_applied_and_overrides_are_cleared(two: Machines) -> None:
    two.here("disable", "shop/fail", "--reason", "stocktaking")
    (two.elsewhere / "apis.d/tape.yaml").write_text(
        "module: tape\nauth: none\ntimeout: 1m\nmethods: {hello: {workflow: shop/buy, tags: [new]}}\n"
    )
    edit(two, "verbs: [GET, POST]", "verbs: [POST]")
    assert "1 API added\n" in two.there("apply", "--yes", "--select", "tape", *WHY).out
    assert "shop/fail" in two.here("override", "list").out
    ran = two.there("apply", "--clear-overrides", *WHY, code=64)
    assert "- override shop/fail: disabled by " in ran.out
    two.there("apply", "--yes", "--clear-overrides", *WHY)
    assert "shop/fail" not in two.here("override", "list").out


def test_a_role_or_a_reason_that_is_missing_is_named(two: Machines) -> None:
    edit(two, "verbs: [GET, POST]", "verbs: [POST]")
    assert refused(two.there("apply", "--yes", code=64)) == (
        f"iogate: {two.shop.url} records why each change is made, and no reason is given [IOG822]; "
        "add --message TEXT"
    )
    assert refused(two.there("apply", "--yes", "-m", "x" * 501, code=64)) == (
        "iogate: --message: expected at most 500 characters over HTTP, got 501; put the rest into the commit"
    )
    ran = two.there("apply", "--yes", *WHY, code=4, role="operate")
    assert "This takes the role admin; operator operateer has the role operate [IOG818]" in ran.err


def test_what_works_on_the_store_only_is_refused(two: Machines) -> None:
    chosen = (
        f"works on the store only, and IOGATE_SERVER chooses {two.shop.url} [IOG823]; run it on a machine"
    )
    for command in (
        ("plan", "--replay", "3"),
        ("apply", "--repair", *WHY),
        ("rollback", "1", "--repair", *WHY),
    ):
        ran = two.there(*command, code=64)
        option = next(each for each in command if each.startswith("--re"))
        assert f"iogate: {option} {chosen}" in refused(ran)
    assert refused(two.there("apply", "--yes", "--wait", "2m", *WHY, code=64)) == (
        'iogate: --wait 2m: over HTTP at most 30s; then see "iogate status"'
    )


def test_a_saved_plan_is_applied_and_refused_alike(two: Machines) -> None:
    file = str(two.elsewhere / "prices.plan")
    edit(two, "verbs: [GET, POST]", "verbs: [POST]")
    two.there("plan", "--out", file)
    here = two.here("plan", "--out", f"{file}.here")
    assert Path(file).read_bytes() == Path(f"{file}.here").read_bytes()
    assert here.code == 0
    assert "1 API changed" in two.there("apply", file, "--wait", "30s", *WHY).out
    assert "the plan was applied already: live revision " in two.same("apply", file, *WHY, code=4).err
    two.here("rollback", "--yes", "-m", "too cheap")
    ran = two.same("apply", file, *WHY, code=4)
    assert "the plan is stale: it starts from revision " in ran.err
    assert re.search(r"\n  revision [0-9]+ by \S+@\S+: too cheap\n", ran.err), ran.err
    assert "rolled back this content" in two.same("apply", "--yes", "--keep-rollback", *WHY, code=4).err
    two.same("apply", "--yes", "--expect", "1", *WHY, code=4)


@pytest.mark.parametrize("output", FORMATS)
def test_a_rollback_restores_the_revision_before(two: Machines, output: tuple[str, ...]) -> None:
    edit(two, "verbs: [GET, POST]", "verbs: [POST]")
    live = two.here("show", "-o", "json").json["revision"]
    two.here("apply", "--yes")
    assert (
        f"restores revision {live} over live revision {live + 1}" in two.same("rollback", *WHY, code=64).err
    )
    two.there("rollback", "--yes", *WHY, *output)
    entry = two.here("history", "-o", "json").json["revisions"][0]
    assert (entry["author"], entry["action"], entry["restores"], entry["message"]) == (
        "adminer",
        "rollback",
        live,
        "new prices",
    )
    assert (
        f"live revision {live + 2} is a rollback to {live}, and this takes it back"
        in two.same("rollback", *WHY, code=64).err
    )
    two.same("rollback", "9999", "--yes", *WHY, code=8)
    two.same("rollback", str(live), "--yes", *WHY)
    ran = two.there("rollback", "--yes", *WHY, code=4, role="operate")
    assert "[IOG818]" in ran.err


@pytest.mark.parametrize("output", FORMATS)
def test_drift_is_the_same(two: Machines, output: tuple[str, ...]) -> None:
    assert two.same("drift").out.endswith(": no drift\n")
    two.here("disable", "shop/fail", "--reason", "stocktaking")
    edit(two, "verbs: [GET, POST]", "verbs: [POST]")
    two.same("drift", *output, code=2)
    two.same("drift", "--live-only", *output, code=2)
    assert "no drift" not in two.there("drift", code=2, role="read").out
    edit(two, "module: shop", "module: [shop]")
    two.same("drift", *output, code=3)


@pytest.mark.parametrize("output", FORMATS)
def test_an_export_writes_the_same_files(two: Machines, output: tuple[str, ...]) -> None:
    for revision in ((), ("1",)):
        folders = [
            folder / f"exported{''.join(revision)}{output[1]}" for folder in (two.shop.root, two.elsewhere)
        ]
        two.same("export", *revision, "--to", folders[0].name, *output)
        here, there = (
            {each.relative_to(folder): each.read_bytes() for each in folder.rglob("*.yaml")}
            for folder in folders
        )
        assert here == there
        assert Path("apis.d/shop.yaml") in here
        two.same("export", *revision, "--to", folders[0].name, *output, code=4)
    two.same("export", "9999", "--to", "none", code=8)
    ran = two.there("export", "--to", "none", code=4, role="operate")
    assert "This takes the role admin; operator operateer has the role operate [IOG818]" in ran.err


def test_of_two_publishers_the_second_is_told(two: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another revision goes live while a person reads the plan."""
    edit(two, "timeout: 10m", "timeout: 12m")
    two.here("apply", "--yes")
    live = two.here("show", "-o", "json").json["revision"]
    edit(two, "verbs: [GET, POST]", "verbs: [POST]")
    answer(monkeypatch, lambda: roll_back(two.shop, live - 1))
    ran = two.there("apply", *WHY, code=4)
    assert refused(ran) == (
        f"iogate: the live revision is {live + 1}, not {live}: someone else applied in between [IOG613]; "
        "fetch what they committed, then apply again"
    )
    assert two.here("show", "-o", "json").json["revision"] == live + 1


def answer(monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], None]) -> None:
    """Answer the question of a command on a terminal with yes, after something else has happened."""

    def confirm(*_: object, **__: object) -> bool:
        meanwhile()
        return True

    monkeypatch.setattr(typer, "confirm", confirm)
    for stream in (sys.stdin, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)


def roll_back(place: Place, number: int) -> None:
    headers = {"Authorization": f"Bearer {token('admin')}", "If-Match": "*", "Idempotency-Key": f"{number}"}
    body = {"reason": "wrong prices", "prune": True, "max_deletes": 99}

    def answered() -> tuple[int, Any] | None:
        """Return the response, unless an attempt before, whose store was stalled, is still being executed."""
        status, found = place.call(f"/v1/revisions/{number}/rollback", body, headers)
        return None if status == 409 and "still being executed" in str(found) else (status, found)

    status, found = until(answered)
    assert status == 200, found


@contextmanager
def losing(place: Place, lost: int) -> Iterator[str]:
    """Forward requests to the gateway, and lose the first responses to publications; yield the URL."""
    left = [lost]

    def change(found: Exchange) -> Exchange | None:
        if (found.method, found.path) != ("POST", "/v1/revisions") or not left[0]:
            return found
        left[0] -= 1
        return None

    with forwarding(place, change) as url:
        yield url


def test_a_publication_whose_response_is_lost_is_made_once(two: Machines) -> None:
    live = two.here("show", "-o", "json").json["revision"]
    edit(two, "verbs: [GET, POST]", "verbs: [POST]")
    with losing(two.shop, 2) as url:
        ran = two.there("apply", "--yes", *WHY, IOGATE_SERVER=url)
    assert f"revision {live + 1}: 1 API changed\n" in ran.out
    assert two.here("show", "-o", "json").json["revision"] == live + 1
    edit(two, "timeout: 10m", "timeout: 11m")
    with losing(two.shop, 9) as url:
        ran = two.there("apply", "--yes", *WHY, code=6, IOGATE_SERVER=url)
    assert ": it is not known whether a revision was published [IOG815]" in ran.err
    assert ran.err.endswith("\n  repeat the command: it publishes only what is not live yet\n")
    assert f"revision {live + 2}: no changes" in two.there("apply", "--yes", *WHY).out


def test_ctrl_c_at_the_question_ends_the_command(two: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    live = two.here("show", "-o", "json").json["revision"]
    edit(two, "verbs: [GET, POST]", "verbs: [POST]")
    waited: list[bool] = []

    def interrupt() -> None:
        signal.raise_signal(signal.SIGINT)
        waited.append(True)

    answer(monkeypatch, interrupt)
    two.there("apply", *WHY, code=130)
    assert waited == []
    assert two.here("show", "-o", "json").json["revision"] == live
