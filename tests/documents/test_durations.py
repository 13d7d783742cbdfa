"""Durations: all notations, and calendar arithmetic."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iogate.timing.durations import (
    Duration,
    InvalidDuration,
    TooLong,
    format_duration,
    format_iso,
    format_seconds,
    from_object,
    parse_duration,
    parse_iso,
    read_duration,
)


def instant(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("5s", 5),
        ("5m", 300),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("24h", 86_400),
        ("7d", 604_800),
        ("1w", 604_800),
        ("1w2d3h4m5s6ms", 788_645.006),
        ("0s", 0),
        ("PT5M", 300),
        ("PT0.5S", 0.5),
        ("PT1H30M", 5400),
        ("P1D", 86_400),
        ("P1DT12H", 129_600),
        ("P1.5D", 129_600),
        ("P2W", 1_209_600),
        ("P1W2DT3H", 788_400),
    ],
)
def test_a_duration_is_parsed_to_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text).seconds == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "m",
        "5 m",
        "1m1h",
        "5x",
        "-5m",
        "5M",
        "P",
        "PT",
        "P1DT",
        "P1S",
        "PT1D",
        "p1d",
        "P-1D",
        "P1H",
        "five",
    ],
)
def test_an_invalid_duration_is_refused_with_the_valid_forms(text: str) -> None:
    with pytest.raises(InvalidDuration, match=r"expected .*duration such as .*PT5M"):
        parse_duration(text)


def test_the_dsls_text_form_is_iso_8601_only() -> None:
    with pytest.raises(InvalidDuration, match="expected an ISO 8601 duration"):
        parse_iso("5m")


def test_a_duration_beyond_all_calendars_is_refused() -> None:
    for text in ("9" * 90 + "d", "P99999Y", "P" + "9" * 500 + "D"):
        with pytest.raises(InvalidDuration):
            parse_duration(text)


@pytest.mark.parametrize("seconds", [10**400, -(10**400), 1e300])
def test_an_object_with_a_number_beyond_all_calendars_is_refused(seconds: float) -> None:
    for parts in ({"seconds": seconds}, {"minutes": 0.5, "seconds": seconds}):
        with pytest.raises(TooLong, match="the duration is longer than ten thousand years"):
            from_object(parts)


def test_an_object_is_the_sum_of_its_parts() -> None:
    assert from_object({"days": 1, "hours": 2, "minutes": 3, "seconds": 4, "milliseconds": 5}) == Duration(
        milliseconds=93_784_005
    )
    assert from_object({"minutes": 1, "seconds": -30}).seconds == 30
    with pytest.raises(InvalidDuration, match="a duration has no 'weeks'; it has days, hours"):
        from_object({"weeks": 1})
    with pytest.raises(InvalidDuration, match="seconds of a duration must be a number"):
        from_object({"seconds": "5"})


def test_only_text_and_objects_are_durations() -> None:
    assert read_duration("5m") == read_duration({"minutes": 5}) == Duration(milliseconds=300_000)
    others: list[object] = [5, None, [], True]
    for value in others:
        with pytest.raises(InvalidDuration, match="or an object such as"):
            read_duration(value)


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("P1M", "2024-01-31T10:00:00", "2024-02-29T10:00:00"),
        ("P1M", "2023-01-31T10:00:00", "2023-02-28T10:00:00"),
        ("P1M", "2024-12-15T00:00:00", "2025-01-15T00:00:00"),
        ("P1Y", "2024-02-29T00:00:00", "2025-02-28T00:00:00"),
        ("P1Y2M10DT2H30M", "2024-01-01T00:00:00", "2025-03-11T02:30:00"),
        ("P2W", "2024-02-20T00:00:00", "2024-03-05T00:00:00"),
        ("PT36H", "2024-03-30T12:00:00", "2024-04-01T00:00:00"),
    ],
)
def test_calendar_parts_are_counted_from_an_instant(text: str, start: str, end: str) -> None:
    assert parse_duration(text).after_ms(instant(start)) == instant(end)


def test_milliseconds_survive_a_calendar_step() -> None:
    assert parse_duration("P1MT0.001S").after_ms(instant("2024-01-01T00:00:00") + 1) == (
        instant("2024-02-01T00:00:00") + 2
    )


def test_months_have_no_fixed_number_of_seconds() -> None:
    with pytest.raises(InvalidDuration, match="P1Y2M has no fixed length; use days"):
        _ = parse_duration("P14M").seconds


def test_a_step_beyond_the_calendar_is_refused() -> None:
    with pytest.raises(InvalidDuration, match="beyond the year 9999"):
        parse_duration("P9000Y").after_ms(instant("2024-01-01T00:00:00"))


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (0.25, "250ms"), (90, "1m30s"), (5400, "1h30m"), (604_800, "7d")]
)
def test_seconds_are_formatted_in_the_short_form(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


@given(months=st.integers(0, 1_200), milliseconds=st.integers(0, 10**12))
def test_a_formatted_duration_is_parsed_to_the_same(months: int, milliseconds: int) -> None:
    duration = Duration(months=months, milliseconds=milliseconds)
    assert parse_duration(format_duration(duration)) == duration


@given(st.text("PTYMWDHS0123456789.smhdw", max_size=12))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        duration = parse_duration(text)
    except InvalidDuration:
        return
    assert duration.milliseconds >= 0
    assert duration.months >= 0


@pytest.mark.parametrize(
    ("short", "iso"),
    [
        ("1h", "PT1H"),
        ("1h30m", "PT1H30M"),
        ("90s", "PT1M30S"),
        ("2w", "P14D"),
        ("250ms", "PT0.25S"),
        ("0s", "PT0S"),
    ],
)
def test_api_documents_accept_both_forms_and_workflows_suggest_iso(short: str, iso: str) -> None:
    from iogate.cli.options import parse_seconds
    from iogate.documents.api import ApiModule
    from iogate.settings import read

    length = parse_duration(short)
    assert format_iso(length) == iso
    assert parse_duration(iso) == length == parse_iso(iso)
    if not 1 <= length.seconds <= 3600:
        return
    for text in (short, iso):
        method = {"workflow": "n/w", "timeout": text}
        module = ApiModule.model_validate({"module": "m", "auth": "none", "methods": {"a": method}})
        assert module.methods["a"].timeout == length.seconds
        assert read({"drain_timeout": text}).drain_timeout == length.seconds
        assert parse_seconds(text, "--timeout") == length.seconds


@given(months=st.integers(0, 2000), milliseconds=st.integers(0, 10**12))
def test_iso_is_parsed_to_the_same_duration(months: int, milliseconds: int) -> None:
    length = Duration(months=months, milliseconds=milliseconds)
    assert parse_iso(format_iso(length)) == length
