"""Log lines: text for people, JSON for machines, never secrets."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from iogate import logs
from iogate.worker.worker_process import log_ended
from tests.worker.site import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def written(form: str | None) -> tuple[logging.Logger, io.StringIO]:
    stream = io.StringIO()
    logs.set_up("json" if form == "json" else "text" if form == "text" else None, stream=stream)
    return logging.getLogger("iogate.test"), stream


def test_json_line_contains_action_and_fields() -> None:
    log, stream = written("json")
    log.warning("run %s faulted", 7, extra={"action": "run.faulted", "uid": "7"})
    line = json.loads(stream.getvalue())
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "warning",
        "logger": "iogate.test",
        "message": "run 7 faulted",
        "action": "run.faulted",
        "uid": "7",
    }


async def test_the_end_of_a_background_task_of_a_worker_is_logged() -> None:
    _, stream = written("json")

    async def fail() -> None:
        raise RuntimeError("a defect")

    task = asyncio.create_task(fail(), name="maintenance")
    task.add_done_callback(log_ended)
    await asyncio.wait({task})
    line = json.loads(stream.getvalue())
    assert (line["level"], line["action"]) == ("error", "worker.background")
    assert line["message"] == (
        "background task maintenance of the worker ended unexpectedly; restart the worker"
    )
    assert line["traceback"].endswith("RuntimeError: a defect")


def test_form_is_json_away_from_a_terminal() -> None:
    log, stream = written(None)
    log.info("here")
    assert json.loads(stream.getvalue())["message"] == "here"


def test_text_line_has_level_message_and_fields() -> None:
    log, stream = written("text")
    log.info("worker started", extra={"action": "worker.started"})
    assert stream.getvalue().split(maxsplit=1)[1] == "info    worker started  action=worker.started\n"


@pytest.mark.parametrize("form", ["json", "text"])
def test_no_line_and_no_traceback_contains_a_secret(form: str) -> None:
    log, stream = written(form)
    logs.hide(["correct-horse", 'quote"d'])
    try:
        int("correct-horse")
    except ValueError:
        log.exception('with correct-horse and quote"d', extra={"action": "correct-horse"})
    assert "correct-horse" not in stream.getvalue()
    assert "quote" not in stream.getvalue()
    assert "[redacted]" in stream.getvalue()
    assert "Traceback" in stream.getvalue()


def test_worker_that_cannot_start_logs_its_error_without_a_traceback(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        [sys.executable, "-m", "iogate.worker"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    record = json.loads(ran.stderr)
    assert ran.returncode == 64
    assert (record["level"], record["action"], record["code"]) == ("error", "worker.failed", "IOG600")
    assert record["message"].startswith("a worker needs a store: redis_url is not set")
    assert "traceback" not in record
