"""Log of the refresh: each reason once, by its kind."""

from __future__ import annotations

import logging
import time

import pytest

from iogate.errors import Unreachable, WrongStore
from iogate.gateway import refresh_log
from iogate.gateway.refresh_log import RefreshLog


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(vars(each)["action"], each.getMessage()) for each in caplog.records]


@pytest.fixture(autouse=True)
def level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, refresh_log.__name__)


def test_alternating_reasons_are_logged_once_each(caplog: pytest.LogCaptureFixture) -> None:
    log = RefreshLog(quiet_s=0.0)
    for _ in range(3):
        log.failed(ValueError("a defect"), about_revision=False)
        log.failed(WrongStore("of another release"), about_revision=True)
    assert logged(caplog) == [
        ("refresh.failed", "cannot follow the store, trying again: ValueError('a defect')"),
        ("revision.refused", "of another release"),
    ]
    log.revision_loaded()
    log.failed(WrongStore("of another release"), about_revision=True)
    assert len(logged(caplog)) == 3


def test_a_wrong_password_is_an_outage_beside_a_refused_revision(caplog: pytest.LogCaptureFixture) -> None:
    log = RefreshLog(quiet_s=0.0)
    log.failed(WrongStore("of another release"), about_revision=True)
    log.failed(WrongStore("the password is wrong"), about_revision=False)
    log.announced()
    log.announced()
    assert [action for action, _ in logged(caplog)] == [
        "revision.refused", "store.unreachable", "store.reachable",
    ]  # fmt: skip


def test_changing_reasons_are_logged_at_a_limited_rate(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = RefreshLog(quiet_s=0.0)
    for number in range(3 * refresh_log.REMEMBERED):
        log.failed(Unreachable(f"reason {number}"), about_revision=False)
    assert refresh_log.BURST <= len(logged(caplog)) <= refresh_log.BURST + 1
    later = time.monotonic() + 1 / refresh_log.PER_S
    monkeypatch.setattr(log._throttle, "_monotonic", lambda: later)
    log.failed(ValueError("a defect"), about_revision=False)
    assert logged(caplog)[-1][0] == "refresh.failed"


def test_an_outage_goes_on_while_requests_fail(caplog: pytest.LogCaptureFixture) -> None:
    log = RefreshLog(quiet_s=3600.0)
    log.failed(TimeoutError(), about_revision=False)
    log.announced()
    assert logged(caplog) == [("store.unreachable", "the store did not respond in time")]
