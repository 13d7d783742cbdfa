"""`apply` writes gates again that differ; `--repair` replaces a live revision that is refused."""

from __future__ import annotations

import pytest

from iogate.store import keys
from iogate.store.integrity.newest_seals import FILE
from tests.cli.conftest import Cli
from tests.cli.place import WORKFLOW
from tests.cli.plans.conftest import raw
from tests.cli.plans.test_drift_command import NIGHTLY

SEAL = keys.LIVE_SEAL
MORE = "{module: more, auth: none, methods: {b: {workflow: shop/buy, timeout: 1m}}}"


@pytest.fixture
def applied(project: Cli) -> Cli:
    """A project with a schedule, in two revisions."""
    project("apply", "--yes")
    project.write("workflows.d/nightly.yaml", NIGHTLY)
    project("apply", "--yes")
    return project


def record(url: str) -> list[bytes]:
    found: list[bytes] = raw(url, "HMGET", keys.LIVE, "number", "digest", SEAL)
    return found


def test_an_apply_without_changes_repairs_gates_and_schedules(applied: Cli, redis_url: str) -> None:
    gate = f"{keys.GATE}shop/buy"
    raw(redis_url, "HSET", gate, "queued", "7", "on", "0")
    raw(redis_url, "HDEL", keys.SCHEDULES, "schedule:shop/nightly")
    planned = applied("plan")
    differs = "! gate shop/buy: its gate has another limits.queued and state than the revision"
    lost = "! schedule shop/nightly: the schedule (cron 0 6 * * *) is not in the store: it starts nothing"
    assert planned.out.splitlines() == [differs, lost, "No changes: live is the same as the files"]
    assert planned.err.splitlines()[-1] == "an apply repairs 2 differences of the store"
    assert applied("plan", "-o", "json").json["drift"][0]["id"] == "shop/buy"

    asked = applied("apply", code=64)
    assert (differs in asked.out, "add --yes" in asked.err) == (True, True)
    assert raw(redis_url, "HGET", gate, "queued") == b"7", "nothing was changed"
    ran = applied("apply", "--yes", "-o", "json").json
    assert (ran["revision"], ran["changed"]) == (2, False)
    assert [(each["kind"], each["id"]) for each in ran["repaired"]] == [
        ("gate", "shop/buy"),
        ("schedule", "shop/nightly"),
    ]
    assert applied("drift").out == "revision 2: no drift\n"
    assert applied("apply").out.startswith("revision 2: no changes\n")
    raw(redis_url, "SET", f"{keys.GATE}shop/sleep", "x")
    raw(redis_url, "DEL", f"{keys.GATE}shop/fail")
    assert applied("apply", "--yes").out.splitlines()[-2] == "revision 2: no changes, repaired 2 gates"
    assert applied("drift").out == "revision 2: no drift\n"


def test_a_repair_keeps_overrides_and_switches(applied: Cli, redis_url: str) -> None:
    applied("disable", "shop/buy", "--reason", "incident 12")
    applied("enable", "shop/hashed")
    raw(redis_url, "HSET", f"{keys.GATE}shop/buy", "on", "1", "queued", "7")
    applied("apply", "--yes")
    states = {each["api"]: each for each in applied("api", "list", "-o", "json").json["apis"]}
    assert (states["shop/buy"]["enabled"], states["shop/hashed"]["enabled"]) == (False, True)
    assert states["shop/buy"]["override"]["reason"] == "incident 12"


def test_a_repair_of_what_is_refused_ends_overrides_too(applied: Cli, redis_url: str) -> None:
    applied("disable", "shop/buy", "--reason", "incident 12")
    raw(redis_url, "HSET", keys.LIVE, SEAL, "1 x")
    asked = applied("apply", "--repair", "--clear-overrides", code=64)
    assert "- override shop/buy: disabled by " in asked.out
    ran = applied("apply", "--repair", "--clear-overrides", "--yes", "-o", "json").json
    assert (ran["revision"], bool(ran["faults"])) == (3, True)
    assert applied("override", "list", "-o", "json").json["overrides"] == []
    assert applied("api", "show", "shop/buy", "-o", "json").json["enabled"] is True


@pytest.mark.parametrize(
    ("key", "field", "value", "fault"),
    [
        (
            f"{keys.REVISION}2",
            "origin",
            "{}",
            "revision 2 in the store is refused: its signature does not match",
        ),
        (
            f"{keys.REVISION}2",
            "data",
            "{}",
            "revision 2 in the store is refused: its signature does not match",
        ),
        (
            keys.LIVE,
            "number",
            "1",
            "the record of the live revision in the store is refused: its seal does not",
        ),
        (keys.LIVE, "number", "x", "the record of the live revision in the store is refused: its number or"),
        (
            keys.LIVE,
            SEAL,
            "1 x",
            "the record of the live revision in the store is refused: its seal does not",
        ),
    ],
)
@pytest.mark.parametrize("command", [("apply",), ("rollback", "1", "--prune")])
def test_what_is_refused_blocks_until_a_repair_replaces_it(
    applied: Cli, redis_url: str, key: str, field: str, value: str, fault: str, command: tuple[str, ...]
) -> None:
    raw(redis_url, "HSET", key, field, value)
    blocked = applied(*command, "--yes", code=4)
    assert fault in blocked.err
    assert "[IOG673]" in blocked.err
    assert "`iogate apply --repair`" in blocked.err
    asked = applied(*command, "--repair", code=64)
    assert f"warning: {fault}" in asked.err
    base = "1" if key != keys.LIVE else "2"
    start = f"the plan starts from revision {base}, the newest authentic one that is kept"
    assert start in asked.err
    ran = applied(*command, "--yes", "--repair", "-o", "json").json
    assert (ran["revision"], ran["changed"]) == (3, True)
    assert any(each.startswith(fault) for each in ran["faults"])
    assert applied("apply", "--yes", "--prune").code == 0
    assert applied("drift").code == 0


def test_the_history_shows_what_a_refused_record_can_be_replaced_with(applied: Cli, redis_url: str) -> None:
    raw(redis_url, "HSET", keys.LIVE, SEAL, "1 x")
    ran = applied("history", "-o", "json")
    assert [(each["revision"], each["live"], each["fault"]) for each in ran.json["revisions"]] == [
        (2, False, None),
        (1, False, None),
    ]
    assert 'none of them is live: see "iogate status"' in ran.err
    assert applied("show", "1", "-o", "json").json["live"] is False
    for command in (("show",), ("rollback",)):
        assert "the record of the live revision in the store is refused" in applied(*command, code=4).err
    applied("rollback", "1", "--prune", "--repair", "--yes")
    ran = applied("history", "-o", "json")
    assert [each["live"] for each in ran.json["revisions"]] == [True, False, False]
    assert "none of them" not in ran.err


def test_a_repair_says_if_there_is_nothing_to_repair(applied: Cli) -> None:
    ran = applied("apply", "--repair")
    assert "nothing is refused: live revision 2 and its record are authentic" in ran.err
    assert ran.out.startswith("revision 2: no changes\n")
    for options in (("--expect", "2"), ("--keep-rollback",), ("plan.json",)):
        assert "--repair cannot be combined" in applied("apply", "--repair", *options, code=64).err
    assert "--repair needs the number" in applied("rollback", "--repair", code=64).err


def test_a_repair_stores_a_lost_program_again(applied: Cli, redis_url: str) -> None:
    program = applied("show", "-o", "json").json["workflows"][0]["program"]
    raw(redis_url, "DEL", keys.PROGRAM + program)
    shown = applied("apply", "--repair", code=64)
    assert f"! program {program[:12]}: there is no program {program[:12]}… in the store" in shown.out
    assert "repaired 1 program" in applied("apply", "--repair", "--yes").out
    assert applied("drift").code == 0


def test_a_change_of_a_workflow_whose_program_is_lost_needs_a_repair(applied: Cli, redis_url: str) -> None:
    found = {each["workflow"]: each for each in applied("show", "-o", "json").json["workflows"]}
    raw(redis_url, "DEL", keys.PROGRAM + found["shop/nightly:1.0.0"]["program"])
    applied.write("workflows.d/nightly.yaml", NIGHTLY.replace("x: 1", "x: 2"))
    blocked = applied("apply", "--yes", code=8)
    assert "`iogate apply --repair` stores what the files have again" in blocked.err
    assert applied("apply", "--yes", "--repair", "-o", "json").json["revision"] == 3
    assert applied("drift").code == 0


def test_a_repair_replaces_several_versions_whose_programs_are_lost(applied: Cli, redis_url: str) -> None:
    """Without the newest one, the new version is compared with the one before, which is lost, too."""
    spare = WORKFLOW.format(name="spare", task="stop: {set: {x: 1}}")
    for version in ("1.0.0", "1.1.0"):
        applied.write(f"workflows.d/spare-{version}.yaml", spare.replace("1.0.0", version))
    applied("apply", "--yes")
    for each in applied("show", "-o", "json").json["workflows"]:
        if each["workflow"].startswith("shop/spare:"):
            raw(redis_url, "DEL", keys.PROGRAM + each["program"])
            (applied.root / each["source"]).unlink()
    applied.write("workflows.d/spare-1.2.0.yaml", spare.replace("1.0.0", "1.2.0"))
    assert applied("apply", "--repair", "--prune", "--yes", "-o", "json").json["revision"] == 4
    assert applied("drift").code == 0


def test_without_an_authentic_revision_nothing_is_deleted_without_prune(applied: Cli, redis_url: str) -> None:
    applied.write("apis.d/more.yaml", MORE)
    applied("apply", "--yes")
    (applied.root / "apis.d/more.yaml").unlink()
    for number in ("1", "2", "3"):
        raw(redis_url, "HSET", keys.REVISION + number, "sig", "forged")
    refused = applied("apply", "--repair", "--yes", code=4)
    assert "the plan starts from nothing: no revision that is kept is authentic" in refused.err
    assert "this would delete 1 API (more/b), which only the store names" in refused.err
    assert applied("apply", "--repair", "--yes", "--prune", "-o", "json").json["revision"] == 4
    assert set(raw(redis_url, "SMEMBERS", keys.GATES)).isdisjoint({b"more/b"})


def test_a_record_that_is_no_record_is_replaced(applied: Cli, redis_url: str) -> None:
    raw(redis_url, "SET", keys.LIVE, "x")
    assert "it has another type" in applied("apply", "--yes", code=4).err
    assert applied("apply", "--yes", "--repair", "-o", "json").json["revision"] == 3
    raw(redis_url, "DEL", keys.LIVE)
    ran = applied("apply", "--repair", "--yes")
    assert "warning: the store has revisions of the project, and no record of the live one" in ran.err
    assert applied("status", "-o", "json").json["revision"] == 4


def test_a_writer_to_the_store_makes_no_earlier_revision_live(applied: Cli, redis_url: str) -> None:
    number, digest = raw(redis_url, "HMGET", f"{keys.REVISION}1", "digest", "at")
    raw(redis_url, "HSET", keys.LIVE, "number", "1", "digest", number.decode())
    assert digest
    for command in (("show",), ("drift",), ("plan",), ("api", "list")):
        assert "its seal does not match it" in applied(*command, code=4).err, command
    raw(redis_url, "HDEL", keys.LIVE, SEAL)
    assert "it has no seal, and it had one before" in applied("plan", code=4).err
    (applied.root / ".iogate" / FILE).unlink()  # as on a machine that has not seen it
    assert "it has no seal, and revision 2 is newer" in applied("plan", code=4).err
    status = applied("status")
    assert "revision  refused: it has no seal, and revision 2 is newer" in status.out
    assert applied("status", "-o", "json").json["refusedRecord"] == "it has no seal, and revision 2 is newer"


def test_a_damaged_memory_of_seals_stops_an_apply_until_it_is_deleted(applied: Cli) -> None:
    memory = applied.root / ".iogate" / FILE
    memory.write_text("1 default")
    refused = applied("apply", "--yes", code=4).err
    assert "newest_seals is damaged: its last line is incomplete" in refused
    assert "check with `iogate history` that the live revision is the one that you applied last" in refused
    assert "newest_seals is damaged" in applied("doctor", code=None).out
    assert applied("history").out, "readers show the live revision"
    memory.unlink()
    assert applied("apply", "--yes").out.startswith("revision 2: no changes\n")
    assert memory.read_text().endswith("\n")
