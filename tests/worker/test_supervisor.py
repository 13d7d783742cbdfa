"""The supervisor of child processes, with real processes and without a store."""

from __future__ import annotations

import asyncio
import functools
import gc
import os
import resource
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from iogate.supervision.supervisor import Child, Exit, Supervisor
from tests.processes import alive

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

SLEEP = (sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)")
STUBBORN = (
    sys.executable,
    "-I",
    "-S",
    "-c",
    "import signal, time, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); open(sys.argv[1], 'w').close();"
    " time.sleep(60)",
)
# Ticks for as long as the file named by its argument does not exist, then hangs.
TICKER = (
    sys.executable,
    "-I",
    "-S",
    "-c",
    "import os, sys, time\n"
    "fd = int(os.environ['IOGATE_TICK_FD'])\n"
    "while not os.path.exists(sys.argv[1]):\n"
    "    os.write(fd, b'.'); time.sleep(0.05)\n"
    "time.sleep(60)",
)


async def until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.01)


@pytest.fixture
def exits() -> list[Exit]:
    return []


@pytest.fixture
async def supervisor(exits: list[Exit]) -> AsyncIterator[Supervisor]:
    async def exited(left: Exit) -> None:
        exits.append(left)

    async with Supervisor(exited=exited) as kept:
        yield kept


async def test_supervisor_restarts_a_killed_child_with_a_new_identity(
    supervisor: Supervisor, exits: list[Exit]
) -> None:
    supervisor.add(Child(name="sleeper", command=SLEEP))
    await until(lambda: "sleeper" in supervisor.pids())
    first = supervisor.pids()["sleeper"]
    os.kill(first, signal.SIGKILL)
    await until(lambda: supervisor.pids().get("sleeper", first) != first)
    await supervisor.remove("sleeper")
    assert [(left.reason, left.code) for left in exits] == [("exited", -9), ("stopped", -15)]
    assert exits[0].identity != exits[1].identity


async def test_a_child_that_cannot_be_started_is_logged_as_that_only(
    supervisor: Supervisor, exits: list[Exit], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    missing = str(tmp_path / "missing")
    supervisor.add(Child(name="sleeper", command=SLEEP, directory=missing, once=True))
    await until(lambda: bool(exits))
    assert (exits[0].pid, exits[0].code) == (0, 127)
    (record,) = [each for each in caplog.records if each.name == "iogate.supervision.supervisor"]
    assert record.__dict__["action"] == "child.unstartable"


async def test_supervisor_kills_a_child_that_stops_ticking(
    supervisor: Supervisor, exits: list[Exit], tmp_path: Path
) -> None:
    hang = tmp_path / "hang"
    supervisor.add(Child(name="ticker", command=(*TICKER, str(hang)), ticks=True, tick_s=0.5, restart=False))
    assert await supervisor.ready(30)
    hang.touch()
    await until(lambda: bool(exits))
    assert (exits[0].reason, exits[0].code, exits[0].silent_s) == ("hung", -9, 0.5)


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


async def test_supervisor_kills_no_child_that_was_frozen_together_with_it(
    supervisor: Supervisor, exits: list[Exit], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container that was paused: the clock has gone on, and no tick has come yet."""
    command = (*TICKER, str(tmp_path / "hang"))
    supervisor.add(Child(name="ticker", command=command, ticks=True, tick_s=60, once=True))
    assert await supervisor.ready(30)
    pid = supervisor.pids()["ticker"]
    os.kill(pid, signal.SIGSTOP)
    try:
        await until(lambda: is_stopped(pid))
        for _ in range(3):
            await asyncio.sleep(0)  # reads the ticks before the stop
        loop = asyncio.get_running_loop()
        clock = loop.time
        monkeypatch.setattr(loop, "time", lambda: clock() + 100)
        await until(lambda: bool(exits) or (supervisor.silences()["ticker"] or 0) < 50)
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    assert exits == []
    await supervisor.remove("ticker")
    assert [left.reason for left in exits] == ["stopped"]


async def test_supervisor_reports_silent_and_starting_children_but_no_stopping_ones(
    supervisor: Supervisor, exits: list[Exit], tmp_path: Path
) -> None:
    hang = tmp_path / "hang"
    supervisor.add(Child(name="ticker", command=(*TICKER, str(hang)), ticks=True))
    supervisor.add(Child(name="mute", command=SLEEP, ticks=True))
    supervisor.add(Child(name="sleeper", command=SLEEP))
    assert supervisor.silences() == {"ticker": None, "mute": None}
    await until(lambda: supervisor.silences()["ticker"] is not None)
    hang.touch()
    await until(lambda: (supervisor.silences()["ticker"] or 0) > 0.5)
    assert supervisor.silences()["mute"] is None
    os.kill(supervisor.pids()["ticker"], signal.SIGKILL)
    await until(lambda: supervisor.silences()["ticker"] is None)
    await asyncio.gather(supervisor.remove("mute"), until(lambda: supervisor.silences().keys() == {"ticker"}))


async def test_supervisor_never_restarts_a_child_with_once(
    supervisor: Supervisor, exits: list[Exit], caplog: pytest.LogCaptureFixture
) -> None:
    supervisor.add(Child(name="once", command=SLEEP, once=True))
    await until(lambda: "once" in supervisor.pids())
    os.kill(supervisor.pids()["once"], signal.SIGKILL)
    await until(lambda: not supervisor._kept)
    assert [(left.reason, left.code) for left in exits] == [("exited", -9)]
    assert "once was killed by signal 9" in caplog.messages


async def test_supervisor_kills_a_child_that_ignores_sigterm_after_its_grace(
    supervisor: Supervisor, exits: list[Exit], tmp_path: Path
) -> None:
    deaf = tmp_path / "deaf"
    supervisor.add(Child(name="stubborn", command=(*STUBBORN, str(deaf)), grace_s=0.2))
    await until(deaf.exists)
    await supervisor.remove("stubborn")
    assert [left.code for left in exits] == [-9]


async def test_supervisor_scales_named_children_up_and_down(supervisor: Supervisor) -> None:
    def children(count: int) -> tuple[Child, ...]:
        return tuple(Child(name=f"worker-{n}", command=SLEEP) for n in range(1, count + 1))

    await supervisor.scale(children(3), prefix="worker-")
    await until(lambda: set(supervisor.pids()) == {"worker-1", "worker-2", "worker-3"})
    await supervisor.scale(children(1), prefix="worker-")
    assert set(supervisor.pids()) == {"worker-1"}


async def test_supervisor_does_not_restart_a_finished_child_without_restart(
    supervisor: Supervisor, exits: list[Exit]
) -> None:
    done = Child(name="once", command=(sys.executable, "-I", "-S", "-c", ""), restart=False)
    supervisor.add(done)
    await until(lambda: bool(exits))
    await until(lambda: not supervisor._kept)
    supervisor.add(done)
    await until(lambda: len(exits) == 2)


async def test_supervisor_stops_higher_stages_first(supervisor: Supervisor, exits: list[Exit]) -> None:
    supervisor.add(Child(name="store", command=SLEEP, stage=0))
    supervisor.add(Child(name="gateway", command=SLEEP, stage=2))
    supervisor.add(Child(name="worker", command=SLEEP, stage=1))
    await until(lambda: len(supervisor.pids()) == 3)
    await supervisor.stop()
    assert [left.name for left in exits] == ["gateway", "worker", "store"]


async def test_supervisor_reports_a_command_that_does_not_exist(
    supervisor: Supervisor, exits: list[Exit]
) -> None:
    supervisor.add(Child(name="absent", command=("/does/not/exist",)))
    await until(lambda: len(exits) > 1)
    assert exits[0].code != 0


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def has_exited(exits: list[Exit], name: str) -> bool:
    return any(left.name == name for left in exits)


async def test_supervisor_starts_a_child_once_descriptors_are_free(
    supervisor: Supervisor, exits: list[Exit]
) -> None:
    """Without them it gave the child up for good; a failed start leaves none of them open."""
    gc.collect()  # it may close descriptors of earlier tests
    before = descriptors()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    names = [f"child-{free}" for free in range(5)]
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (before + 64, hard))
    try:
        with suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        for name in names:
            supervisor.add(Child(name=name, command=SLEEP, ticks=True))
            await until(functools.partial(has_exited, exits, name))
            os.close(taken.pop())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in taken:
            os.close(fd)
    assert {(left.pid, left.code) for left in exits} == {(0, 127)}
    await until(lambda: set(supervisor.pids()) == set(names))
    await supervisor.stop()
    await until(lambda: descriptors() <= before)


PARENT = """
import asyncio, sys
from iogate.supervision import termination
from iogate.supervision.supervisor import Child, Supervisor
from tests.processes import alive

termination.ECHO_S = 60.0

async def main():
    async with Supervisor() as supervisor:
        supervisor.add(Child(name="sleeper", command=(sys.executable, "-c", "import time; time.sleep(60)")))
        while not supervisor.pids():
            await asyncio.sleep(0.01)
        signalled = asyncio.create_task(supervisor.until_signal())
        await asyncio.sleep(0)  # its handlers stand before anybody can know whom to signal
        print(supervisor.pids()["sleeper"], flush=True)
        await signalled

asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_supervisor_leaves_no_orphans(number: signal.Signals) -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    child = int(await parent.stdout.readline())
    assert alive(child)
    parent.send_signal(number)
    code = await parent.wait()
    await until(lambda: not alive(child))
    assert code == (0 if number == signal.SIGTERM else -9)


async def test_one_request_that_arrives_twice_is_not_a_second_signal() -> None:
    """`make` passes on the signal that its whole group received: children still end gracefully."""
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    await parent.stdout.readline()
    parent.send_signal(signal.SIGTERM)
    parent.send_signal(signal.SIGTERM)
    _, errors = await parent.communicate()
    assert parent.returncode == 0
    assert b"second signal" not in errors


async def test_an_echo_of_the_signal_after_the_end_of_the_children_is_ignored() -> None:
    """At the last moment: when the process has only to exit."""
    parent = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PARENT + "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\nprint('ended')",
        stdout=asyncio.subprocess.PIPE,
    )
    assert parent.stdout is not None
    await parent.stdout.readline()
    parent.send_signal(signal.SIGTERM)
    rest, _ = await parent.communicate()
    assert (parent.returncode, rest) == (0, b"ended\n")
