"""A graceful shutdown takes at most `drain_timeout`, and reports its progress."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest

from iogate.settings import Settings, read, to_environment
from iogate.settings.reader import HANDOVER
from iogate.store.embedded.server import start_embedded
from tests.cli.conftest import Cli
from tests.cli.place import API, WORKFLOW, until, up, write_project

SETTINGS = "allow_run: [shell]\ndrain_timeout: 4s\n"


def slow_project(root: Path) -> None:
    write_project(root)
    shell = "slow: {run: {shell: {command: 'touch begun; sleep 30'}}}"
    (root / "workflows.d/slow.yaml").write_text(WORKFLOW.format(name="slow", task=shell))
    more = "  slow: {workflow: shop/slow, enabled: true, timeout: 1m}\n"
    (root / "apis.d/shop.yaml").write_text(API + more)
    (root / "iogate.yaml").write_text(SETTINGS)


def test_a_shutdown_waits_for_runs_up_to_the_setting_and_reports_it(tmp_path: Path, cli: Cli) -> None:
    slow_project(tmp_path)
    with up(tmp_path) as place:
        uid = place.buy("slow")
        until((tmp_path / "begun").exists)
        place.process.send_signal(signal.SIGTERM)
        until(lambda: "waiting for 1 run, up to " in place.err)
        assert place.process.wait(18) == 0, "30 s is the length of the run, 20 s the default"
        told = re.search(r"waiting for 1 run, up to ([1-4]) s; another signal ends at once\n", place.err)
        assert told is not None, place.err
        assert "waiting for 0" not in place.err
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
