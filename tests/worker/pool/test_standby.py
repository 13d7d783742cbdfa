"""A standby worker runs while another is silent, not while one starts, and a while longer."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from iogate.supervision.supervisor import Child, Supervisor
from iogate.worker.pool import standby
from iogate.worker.pool.standby import AGAIN_S, CALM_S, PREFIX, SILENT_S, Standby
from tests.worker.site import until
from tests.worker.test_supervisor import SLEEP, TICKER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@dataclass
class Clock:
    now_s: float = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def test_a_starting_worker_neither_starts_nor_ends_a_standby_worker() -> None:
    clock = Clock()
    extra = Standby("worker-", clock=clock)
    assert not extra.needed([None, 0.5])
    assert extra.needed([SILENT_S, 0.5])
    for _ in range(10):
        clock.now_s += CALM_S / 2
        assert extra.needed([None, 0.5])
    clock.now_s += CALM_S / 2
    assert extra.needed([0.5, 0.5])
    clock.now_s += CALM_S / 2
    assert not extra.needed([0.5, 0.5])


def test_a_standby_worker_stays_until_all_workers_tick_for_a_while() -> None:
    clock = Clock()
    extra = Standby("worker-", clock=clock)
    assert extra.needed([SILENT_S])
    for silent_s in (0.1, SILENT_S, 0.1):
        clock.now_s += CALM_S - 1
        assert extra.needed([silent_s])
    clock.now_s += CALM_S
    assert not extra.needed([])


def child(name: str) -> Child:
    return Child(name=name, command=SLEEP, ticks=True)


@pytest.fixture
async def supervisor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Supervisor]:
    """Start a supervisor with one worker, which is not silent, also while a busy machine stalls it."""
    monkeypatch.setattr(standby, "SILENT_S", 60.0)
    ticker = (*TICKER, str(tmp_path / "never"))
    async with Supervisor() as kept:
        kept.add(Child(name="worker-1", command=ticker, ticks=True, tick_s=600.0))
        await until(lambda: kept.silences()["worker-1"] is not None)
        yield kept


async def test_standby_workers_run_one_at_a_time_with_different_names(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last one may still drain; and one that cannot live is not restarted repeatedly."""

    async def worker(number: signal.Signals) -> None:
        os.kill(supervisor.pids()["worker-1"], number)
        silent = number == signal.SIGSTOP
        monkeypatch.setattr(standby, "SILENT_S", 0.5 if silent else 60.0)
        await until(lambda: ((supervisor.silences()["worker-1"] or 0) >= standby.SILENT_S) == silent)

    def beside() -> set[str]:
        return supervisor.pids().keys() - {"worker-1"}

    clock = Clock()
    extra = Standby("worker-", clock=clock)
    extra.update(supervisor, child)
    assert supervisor.silences().keys() == {"worker-1"}
    await worker(signal.SIGSTOP)
    for _ in range(3):
        extra.update(supervisor, child)
    await until(lambda: beside() == {f"{PREFIX}1"})

    os.kill(supervisor.pids()[f"{PREFIX}1"], signal.SIGKILL)
    await until(lambda: supervisor.silences().keys() == {"worker-1"})
    clock.now_s += AGAIN_S - 1
    extra.update(supervisor, child)
    assert supervisor.silences().keys() == {"worker-1"}
    clock.now_s += 1
    extra.update(supervisor, child)
    await until(lambda: beside() == {f"{PREFIX}2"})

    await worker(signal.SIGCONT)
    clock.now_s += CALM_S
    extra.update(supervisor, child)
    await until(lambda: supervisor.silences().keys() == {"worker-1"})
    await worker(signal.SIGSTOP)
    extra.update(supervisor, child)
    await until(lambda: beside() == {f"{PREFIX}3"})
    await worker(signal.SIGCONT)
    await extra.close()


async def test_no_standby_worker_starts_while_the_parent_ends(supervisor: Supervisor) -> None:
    extra = Standby("worker-", clock=Clock())
    assert extra.needed([standby.SILENT_S])
    await supervisor.stop()
    extra.update(supervisor, child)
    assert supervisor.silences() == {}
    await extra.close()
