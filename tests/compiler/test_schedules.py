"""When a schedule is due: over changes of the clock, over absences, and equal for every worker."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iogate.compiler.compile import Compiled, compile_documents
from iogate.compiler.schedules import LATE_MS, MOST, Missed, Schedule, standing
from iogate.documents import load
from iogate.settings import Settings
from iogate.timing.crontab import Cron, InvalidCron, UnknownZone
from tests.examples import examples

BERLIN = "Europe/Berlin"


def ms(text: str, zone: str = "UTC") -> int:
    moment = datetime.fromisoformat(text)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone))).timestamp() * 1000)


def following(text: str, zone: str, begin: str, count: int) -> list[str]:
    cron, moment, found = Cron(text, zone), ms(begin, zone), []
    for _ in range(count):
        moment = cron.after_ms(moment)
        found.append(datetime.fromtimestamp(moment / 1000, ZoneInfo(zone)).strftime("%m-%d %H:%M %z"))
    return found


def test_a_daily_tick_keeps_its_wall_clock_over_both_changes_of_the_clock() -> None:
    spring = following("0 6 * * *", BERLIN, "2026-03-28T00:00", 3)
    assert spring == ["03-28 06:00 +0100", "03-29 06:00 +0200", "03-30 06:00 +0200"]
    autumn = following("0 6 * * *", BERLIN, "2026-10-24T00:00", 3)
    assert autumn == ["10-24 06:00 +0200", "10-25 06:00 +0100", "10-26 06:00 +0100"]


def test_a_tick_in_a_skipped_hour_is_due_when_the_clock_jumps() -> None:
    found = following("30 2 * * *", BERLIN, "2026-03-28T00:00", 3)
    assert found == ["03-28 02:30 +0100", "03-29 03:00 +0200", "03-30 02:30 +0200"]
    assert following("*/20 2 * * *", BERLIN, "2026-03-29T00:00", 2) == [
        "03-29 03:00 +0200",
        "03-30 02:00 +0200",
    ]


def test_a_tick_in_a_repeated_hour_is_due_the_first_time() -> None:
    found = following("30 2 * * *", BERLIN, "2026-10-25T00:00", 2)
    assert found == ["10-25 02:30 +0200", "10-26 02:30 +0100"]


def test_hourly_ticks_follow_elapsed_time() -> None:
    spring = following("*/30 * * * *", BERLIN, "2026-03-29T01:15", 3)
    assert spring == ["03-29 01:30 +0100", "03-29 03:00 +0200", "03-29 03:30 +0200"]
    autumn = following("0 * * * *", BERLIN, "2026-10-25T01:30", 4)
    assert autumn == ["10-25 02:00 +0200", "10-25 02:00 +0100", "10-25 03:00 +0100", "10-25 04:00 +0100"]


def test_a_clock_that_changes_by_half_an_hour_or_at_midnight_is_no_exception() -> None:
    assert following("*/15 * * * *", "Australia/Lord_Howe", "2026-10-04T01:30", 2) == [
        "10-04 01:45 +1030",
        "10-04 02:30 +1100",
    ]
    # In Santiago there is no midnight on this day.
    assert following("0 0 * * *", "America/Santiago", "2026-09-05T12:00", 2) == [
        "09-06 01:00 -0300",
        "09-07 00:00 -0300",
    ]


@settings(max_examples=examples(60))
@given(
    text=st.sampled_from(
        ["*/7 * * * *", "15 2 * * *", "0 0 1 * *", "30 1,2,3 * * sun", "*/20 * * * * *", "@weekly"]
    ),
    zone=st.sampled_from(["UTC", BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
    begin=st.integers(1_700_000_000_000, 1_900_000_000_000),
)
def test_moments_only_go_forward_and_asking_in_between_changes_nothing(
    text: str, zone: str, begin: int
) -> None:
    cron = Cron(text, zone)
    first = cron.after_ms(begin)
    second = cron.after_ms(first)
    assert begin < first < second
    assert cron.after_ms((first + second) // 2 if second - first > 2 else first) == second
    assert cron.after_ms(first - 1) == first
    assert cron.newest_ms(first, second, 5) == [first, second]


FIELDS = "expected 5 fields (minute, hour, day of month, month, day of week), or 6 with the seconds first"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("61 * * * *", '"61" is not a valid minute'),
        ("* 24 * * *", '"24" is not a valid hour'),
        ("* * 0 * *", '"0" is not a valid day of month'),
        ("* * * jam *", '"jam" is not a valid month'),
        ("* * * * 8", '"8" is not a valid day of week'),
        ("60 * * * * *", '"60" is not a valid second'),
        ("R * * * *", '"R" is not a valid minute'),
        ("R/5 * * * *", '"R/5" is not a valid minute'),
        ("0 r/2 * * *", '"r/2" is not a valid hour'),
        ("H * * * *", '"H" is not a valid minute'),
        ("*/0 * * * *", '"*/0" is not a valid minute'),
        ("0 0 30 2 *", '"0 0 30 2 *" never fires'),
        (
            "@reboot",
            'unknown schedule "@reboot"; expected one of @yearly, @annually, @monthly, @weekly, @daily,'
            " @midnight, @hourly",
        ),
        ("* *", f"{FIELDS}; got 2"),
        ("", f"{FIELDS}; got 0"),
    ],
)
def test_an_invalid_cron_expression_is_reported_by_field(text: str, why: str) -> None:
    with pytest.raises(InvalidCron) as raised:
        Cron(text)
    assert str(raised.value) == why


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd", "Europe", "Europe/Berlin\0"])
def test_an_unknown_zone_is_reported_with_an_example(name: str) -> None:
    with pytest.raises(UnknownZone, match="expected an IANA name such as Europe/Berlin"):
        Cron("* * * * *", name)


def every(milliseconds: int = 60_000, missed: Missed = "once") -> Schedule:
    return Schedule(kind="every", program="p", milliseconds=milliseconds, missed=missed)


def test_a_tick_that_is_late_is_no_missed_one() -> None:
    for missed in ("once", "skip", "all"):
        assert every(1_000, missed).due(5_000, 5_000 + LATE_MS) == ([5_000, 6_000, 7_000], 8_000)


@pytest.mark.parametrize(
    ("missed", "ticks"), [("once", [180_000]), ("skip", []), ("all", [0, 60_000, 120_000, 180_000])]
)
def test_missed_ticks_go_by_their_policy_and_the_phase_stays(missed: Missed, ticks: list[int]) -> None:
    assert every(missed=missed).due(0, 180_000 + LATE_MS + 1) == (ticks, 240_000)
    cron = Schedule(kind="cron", program="p", cron="* * * * *", missed=missed)
    assert cron.due(0, 180_000 + LATE_MS + 1) == (ticks, 240_000)


def test_a_tick_that_is_on_time_is_not_skipped_with_those_that_were_missed() -> None:
    assert every(missed="skip").due(0, 180_000) == ([180_000], 240_000)
    assert every(missed="once").due(0, 180_000) == ([180_000], 240_000)


def test_of_all_the_newest_count_however_long_the_absence() -> None:
    ticks, next_ms = every(missed="all").due(0, 10_000 * 60_000)
    assert (len(ticks), ticks[-1], next_ms) == (MOST, 10_000 * 60_000, 10_001 * 60_000)
    cron = Schedule(kind="cron", program="p", cron="0 0 * * *", zone=BERLIN, missed="all")
    ticks, _ = cron.due(cron.next_ms(0), ms("2026-06-01T12:00", BERLIN))
    assert len(ticks) == MOST
    assert ticks[-1] == ms("2026-06-01T00:00", BERLIN)


def test_months_are_those_of_the_calendar() -> None:
    monthly = Schedule(kind="every", program="p", months=1)
    assert monthly.next_ms(ms("2026-01-31T10:00")) == ms("2026-02-28T10:00")
    ticks, _ = monthly.due(ms("2026-01-15T10:00"), ms("2026-04-15T10:00"))
    assert ticks == [ms("2026-04-15T10:00")]


def test_ends_bring_the_ticks_of_after_and_on() -> None:
    after = Schedule(kind="after", program="p", milliseconds=5_000)
    assert after.first_ms(1_000) == 1_000
    assert after.due(1_000, 9_999_999) == ([1_000], None)
    assert after.again_ms(0) == 5_000
    assert Schedule(kind="after", program="p", months=1).again_ms(ms("2026-02-01T00:00")) == 28 * 86_400_000


def test_the_phase_depends_on_due_times_and_not_on_the_program() -> None:
    assert every().phase == Schedule(kind="every", program="other", milliseconds=60_000, missed="all").phase
    assert every().phase != every(30_000).phase
    on = Schedule(kind="on", program="p")
    assert on.phase != Schedule(kind="on", program="other").phase


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (every(90_000), "every 1m30s"),
        (Schedule(kind="cron", program="p", cron="0 6 * * *"), "cron 0 6 * * *"),
        (Schedule(kind="cron", program="p", cron="@daily", zone=BERLIN), "cron @daily (Europe/Berlin)"),
        (Schedule(kind="after", program="p", milliseconds=5_000), "5s after each run"),
        (Schedule(kind="on", program="p"), "on events"),
    ],
)
def test_a_schedule_reads_in_words(schedule: Schedule, words: str) -> None:
    assert str(schedule) == words


HEAD = "document: {dsl: 1.0.3, namespace: shop, name: report, version: %s%s}\ndo: [a: {set: {x: 1}}]\n"
TIMED = "timeout: {after: PT1M}\n"


def compiled(folder: Path, *texts: str) -> Compiled:
    (folder / "workflows.d").mkdir()
    for number, text in enumerate(texts):
        (folder / "workflows.d" / f"w{number}.yaml").write_text(text)
    return compile_documents(load(folder), Settings(), root=folder)


def test_a_revision_contains_the_schedules_of_its_workflows(tmp_path: Path) -> None:
    said = ", metadata: {iogate: {timezone: Europe/Berlin, missed: all}}"
    text = HEAD % ("1.0.0", said) + TIMED + "schedule: {cron: '0  6 * * *'}\n"
    found = compiled(tmp_path, text)
    assert found.problems == ()
    assert found.bundle is not None
    ((name, schedule),) = found.bundle.revision.scheduled.values()
    assert name == "shop/report:1.0.0"
    assert (schedule.cron, schedule.zone, schedule.missed) == ("0 6 * * *", BERLIN, "all")
    assert schedule.program == found.bundle.revision.workflows[name].program


def test_the_zone_is_that_of_iogate_or_else_that_of_all(tmp_path: Path) -> None:
    text = HEAD % ("1.0.0", ", metadata: {timezone: Asia/Tokyo}") + TIMED + "schedule: {cron: '0 6 * * *'}\n"
    found = compiled(tmp_path, text)
    assert found.bundle is not None
    ((_, schedule),) = found.bundle.revision.scheduled.values()
    assert schedule.zone == "Asia/Tokyo"


@pytest.mark.parametrize(
    ("schedule", "code", "message"),
    [
        (
            "{}",
            "IOG334",
            "a schedule has one of every, cron, after or on; this one has none of them",
        ),
        (
            "{every: '${ .x }'}",
            "IOG331",
            '"every" of a schedule is no expression: there is no run yet that has data',
        ),
        ("{every: {seconds: 0}}", "IOG331", '"every" of a schedule is longer than nothing'),
        ("{cron: '* * 30 2 *'}", "IOG330", '"* * 30 2 *" never fires'),
    ],
)
def test_impossible_schedules_are_reported(tmp_path: Path, schedule: str, code: str, message: str) -> None:
    found = compiled(tmp_path, HEAD % ("1.0.0", "") + TIMED + f"schedule: {schedule}\n")
    assert [(problem.code, problem.message) for problem in found.errors] == [(code, message)]


def test_the_highest_version_is_the_one_that_is_scheduled(tmp_path: Path) -> None:
    old = HEAD % ("1.9.0", "") + TIMED + "schedule: {every: PT1M}\n"
    new = HEAD % ("1.10.0", "") + TIMED + "schedule: {after: PT2M}\n"
    found = compiled(tmp_path, old, new)
    assert found.bundle is not None
    ((name, schedule),) = found.bundle.revision.scheduled.values()
    assert (name, schedule.kind) == ("shop/report:1.10.0", "after")
    (problem,) = found.problems
    assert (problem.code, problem.path, problem.severity) == ("IOG511", "workflows.d/w0.yaml", "warning")
    assert problem.message == (
        "this schedule has no effect: shop/report:1.10.0 is the version that is scheduled, if it says so"
    )


def test_a_standing_run_survives_changes_of_the_workflow_that_it_starts(tmp_path: Path) -> None:
    text = HEAD % ("1.0.0", "") + TIMED + "schedule: {on: {one: {with: {type: a}}}}\n"
    found = compiled(tmp_path, text)
    assert found.bundle is not None
    ((_, schedule),) = found.bundle.revision.scheduled.values()
    assert schedule.kind == "on"
    assert schedule.program in found.bundle.programs
    definition = {"document": {"dsl": "1.0.3", "namespace": "shop", "name": "report", "version": "1.0.0"},
                  "do": [], "schedule": {"on": {"one": {"with": {"type": "a"}}}}}  # fmt: skip
    changed = definition | {"do": [{"b": {}}], "document": {**definition["document"], "version": "2.0.0"}}  # type: ignore[dict-item]  # a mapping
    assert standing(definition) == standing(changed)
