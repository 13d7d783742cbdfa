"""A graceful shutdown takes at most `drain_timeout`, and reports its progress."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from iogate.settings import Settings, read, to_environment
from iogate.settings.reader import HANDOVER
from iogate.store.embedded.server import start_embedded
from tests.cli.conftest import Cli
from tests.cli.place import API, WORKFLOW, until, up, write_project

SETTINGS = "allow_run: [shell]\ndrain_timeout: {limit}\n"


def slow_project(root: Path, limit: str) -> None:
    write_project(root)
    shell = "slow: {run: {shell: {command: 'touch begun; sleep 300'}}}"
    (root / "workflows.d/slow.yaml").write_text(WORKFLOW.format(name="slow", task=shell))
    more = "  slow: {workflow: shop/slow, enabled: true, timeout: 10m}\n"
    (root / "apis.d/shop.yaml").write_text(API + more)
    (root / "iogate.yaml").write_text(SETTINGS.format(limit=limit))


def test_a_shutdown_reports_what_it_waits_for_and_ends_at_another_signal(tmp_path: Path) -> None:
    slow_project(tmp_path, "100s")
    with up(tmp_path) as place:
        place.buy("slow")
        until((tmp_path / "begun").exists)
        place.process.send_signal(signal.SIGTERM)
        until(lambda: "waiting for 1 run, up to " in place.err)
        told = re.search(r"waiting for 1 run, up to (\d+) s; another signal ends at once\n", place.err)
        assert told is not None, place.err
        assert 20 < int(told[1]) <= 100, "20 s is the default"
        assert "waiting for 0" not in place.err

        def ended() -> bool:
            place.process.send_signal(signal.SIGTERM)  # it counts a second after the first
            with suppress(subprocess.TimeoutExpired):
                place.process.wait(1)
            return place.process.poll() is not None

        until(ended)
        assert "second signal: killing all children" in place.err


def test_a_shutdown_waits_for_runs_up_to_the_setting(tmp_path: Path, cli: Cli) -> None:
    slow_project(tmp_path, "1s")
    with up(tmp_path) as place:
        uid = place.buy("slow")
        until((tmp_path / "begun").exists)
        place.process.send_signal(signal.SIGTERM)
        assert place.process.wait(18) == 0, "300 s is the length of the run, 20 s the default"
        assert "handing back 1 run" in place.err
    embedded = start_embedded(tmp_path / ".iogate")
    try:
        assert cli("runs", "show", uid, "-o", "json").json["status"] in {"pending", "running"}
    finally:
        embedded.stop()


def test_the_setting_is_a_length_of_time_and_reaches_the_children() -> None:
    assert Settings().drain_timeout == 20
    for text, seconds in (("90s", 90), ("PT2M", 120), (45, 45), ("45", 45)):
        assert read({"drain_timeout": text}).drain_timeout == seconds
    handed = json.loads(to_environment(read({"drain_timeout": "1m"}))[HANDOVER])
    assert read(handed).drain_timeout == 60


def test_a_wrong_duration_is_reported(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IOGATE_DRAIN_TIMEOUT", "2h")
    told = cli("runs", "list", code=3).err
    assert told.startswith("iogate: IOGATE_DRAIN_TIMEOUT: expected ")
    assert "from 1s to 1h" in told
