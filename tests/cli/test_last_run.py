"""`@last`, the run that was started last in this terminal, and `--watch`."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from iogate.cli import live_view
from iogate.cli.last_run import KEPT_S
from iogate.cli.render import Output, Screen
from iogate.errors import NotFound
from tests import fork_server
from tests.cli.conftest import Cli
from tests.cli.place import ENVIRONMENT, Place, until


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "iogate/last_runs.json"


def test_last_is_the_run_that_this_terminal_started(live: Cli, state: Path, shop: Place) -> None:
    ran = live("runs", "show", "@last", code=8)
    assert ran.err == (
        "iogate: @last: no run was started in this terminal in the last day [IOG825]\n"
        "  iogate api call and iogate schedule run start one; iogate runs list shows the others\n"
    )
    uid = live("api", "call", "shop/buy", "--input", '{"sku": "X"}').out.strip()
    assert live("runs", "wait", "@last", "-o", "json").json["uid"] == uid
    shop.buy()
    assert live("runs", "show", "@last", "-o", "json").json["uid"] == uid
    again = live("api", "call", "shop/buy", "--from-run", "@last", "--wait", "-o", "json").json
    assert (again["uid"] != uid, again["output"]) == (True, {"bought": "X"})
    assert again["uid"] in live("runs", "cancel", "@last", code=4).err
    assert state.stat().st_mode & 0o777 == 0o600


def test_an_old_or_damaged_memory_is_none(live: Cli, state: Path) -> None:
    state.parent.mkdir()
    for content in (f'{{"{os.getsid(0)}": ["7", {int(time.time()) - KEPT_S - 1}]}}', "[]", "{", '{"a": 1}'):
        state.write_text(content)
        assert "no run was started" in live("runs", "show", "@last", code=8).err
    uid = live("schedule", "run", "shop/yearly").out.split()[0]
    assert live("runs", "show", "@last", "-o", "json").json["uid"] == uid
    assert list(json.loads(state.read_text())) == [str(os.getsid(0))]


def test_a_watched_list_is_printed_again_when_it_has_changed(shop: Place, tmp_path: Path) -> None:
    uid = shop.buy()
    environment = {**os.environ, **ENVIRONMENT, "IOGATE_PORT": str(shop.port), "NO_COLOR": "1"}
    written = tmp_path / "out"
    with written.open("wb") as out:
        process = fork_server.start(
            *("iogate", "runs", "list", "--api", "shop/buy", "--limit", "1", "--watch"),
            environment=environment, folder=shop.root, stdout=out, stderr=out, patient=True,
        )  # fmt: skip
    try:
        until(lambda: uid in written.read_text())
        other = shop.buy()
        until(lambda: other in written.read_text())
        assert "\n\nUID" in written.read_text()
    finally:
        process.send_signal(2)
        assert process.wait(60) == 130


async def test_a_watched_list_goes_on_when_the_name_that_it_filters_by_is_lost(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_view, "INTERVAL_S", 0)
    unknown = NotFound("no live workflow shop/former")
    answers: Iterator[Any] = iter([["a run"], unknown, asyncio.CancelledError(), unknown])

    async def read() -> Any:
        answer = next(answers)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    screen = Screen(output=Output.TEXT)
    with pytest.raises(asyncio.CancelledError):
        await live_view.watch(screen, read)
    assert capsys.readouterr().out == "a run\n\nno live workflow shop/former\n"
    with pytest.raises(NotFound, match="shop/former"):
        await live_view.watch(screen, read)


def test_a_watched_list_is_text(cli: Cli) -> None:
    for options in (("-o", "yaml"), ("--json", "uid"), ("--jq", ".")):
        ran = cli("runs", "list", "--watch", *options, code=64)
        assert "--watch prints text; it cannot be combined with -o, --json and --jq" in ran.err
    assert "--watch prints text" in cli("status", "--watch", "-o", "json", code=64).err
