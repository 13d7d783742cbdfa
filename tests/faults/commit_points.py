"""A worker is killed at every commit of a run that uses every kind of task; another goes on.

`python -m tests.faults.commit_points`, part of `make faults`; its short form is a test. What is promised:
the run ends as it does undisturbed; a call that was committed is made once, one that was under way at most
twice and with the same Idempotency-Key; its child is started once, its events are published once.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from iogate.settings import Settings
from iogate.store.embedded.server import temporary_server
from iogate.store.store import open_store
from tests.faults.counting import CountingServer
from tests.faults.every_task import EMITTED, FUNCTION, definitions
from tests.faults.tap import POINTS, Point, Tap
from tests.keys import LINK_KEY, RING
from tests.worker.site import Site, Worker, decoded, until

END_S = 30.0
TRIES = 4
"""Runs for a commit; two commits that are due at once are one, so that a run may have one fewer."""
SINK = "/sink"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run came to, without what differs from run to run."""

    status: str
    output: Any
    tasks: tuple[tuple[str, str], ...]
    keys: frozenset[str]
    """Of all calls; the ids of the run and of its child stand as words."""


@dataclass(kw_only=True)
class Trial:
    commit: int
    """Which commit of the run; 0: nobody is killed."""
    point: Point
    killed: bool = False
    outcome: Outcome | None = None
    repeated: int = 0
    """Calls that came twice."""
    wrong: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class Trials:
    commits: int
    undisturbed: Outcome
    trials: list[Trial] = field(default_factory=list)

    @property
    def hold(self) -> bool:
        return all(trial.killed and not trial.wrong for trial in self.trials)

    def table(self) -> str:
        """A line for each commit: what became of the run at each point."""
        by_commit: dict[int, dict[str, Trial]] = {}
        for trial in self.trials:
            by_commit.setdefault(trial.commit, {})[trial.point] = trial
        lines = [f"{'commit':>6}  " + "".join(f"{point:<26}" for point in POINTS)]
        for commit, points in sorted(by_commit.items()):
            cells = [_cell(points.get(point)) for point in POINTS]
            lines.append(f"{commit:>6}  " + "".join(f"{cell:<26}" for cell in cells).rstrip())
        kills = sum(trial.killed for trial in self.trials)
        repeated = sum(trial.repeated for trial in self.trials)
        lines.append(
            f"{self.commits} commits, {kills} of {len(self.trials)} kills hit, {repeated} calls in flight"
            f" came twice: {'holds' if self.hold else 'DOES NOT HOLD'}"
        )
        lines += [f"commit {t.commit} {t.point}: {each}" for t in self.trials for each in t.wrong]
        return "\n".join(lines)


def _cell(trial: Trial | None) -> str:
    if trial is None:
        return "-"
    if not trial.killed:
        return "NOT REACHED"
    if trial.wrong or trial.outcome is None:
        return "WRONG"
    return f"{trial.outcome.status}, {trial.repeated} repeated"


class Experiment:
    """One store, and workers that reach it through a tap."""

    def __init__(self, site: Site, server: CountingServer, tap: Tap) -> None:
        self._site = site
        self._server = server
        self._tap = tap
        self._worker: Worker | None = None

    async def prepare(self) -> None:
        self._server.flaky = "/flaky"
        (self._site.folder / "acme_greets.py").write_text(FUNCTION)
        await self._site.publish(*definitions(self._server))

    async def undisturbed(self) -> Trials:
        """How the run goes, and how many commits that takes."""
        trial = await self._run(Trial(commit=0, point="unsent"))
        assert trial.outcome is not None
        assert not trial.wrong, trial.wrong
        assert trial.repeated == 0
        return Trials(commits=self._tap.commits, undisturbed=trial.outcome)

    async def disturbed(self, trials: Trials, commit: int, point: Point) -> None:
        for _ in range(TRIES):
            trial = await self._run(Trial(commit=commit, point=point))
            if trial.killed:
                break
        if trial.outcome != trials.undisturbed:
            trial.wrong.append(f"{trial.outcome} instead of {trials.undisturbed}")
        trials.trials.append(trial)

    async def _run(self, trial: Trial) -> Trial:
        site = self._site
        if self._worker is None:
            self._worker = await self._start()
        victim = self._worker
        struck = asyncio.Event()

        def strike() -> None:
            victim.signal(signal.SIGKILL)
            struck.set()

        self._tap.set(trial.commit, trial.point, strike)
        seen = set(await site.store.call("KEYS", "iogate:seen:*"))
        uid = await site.call("every")
        ending = asyncio.create_task(site.store.runs.wait(uid, END_S))
        striking = asyncio.create_task(struck.wait())
        await asyncio.wait({ending, striking}, return_when=asyncio.FIRST_COMPLETED)
        striking.cancel()
        if struck.is_set():
            trial.killed = await victim.wait() == -signal.SIGKILL
            await site.store.leases.recover(victim.name)
            self._worker = await self._start()
        await ending
        run = await site.ended(uid, END_S)
        published = len(set(await site.store.call("KEYS", "iogate:seen:*")) - seen)
        if published != len(EMITTED):
            trial.wrong.append(f"{published} events were published instead of {len(EMITTED)}")
        await self._judge(trial, uid, run)
        return trial

    async def _judge(self, trial: Trial, uid: str, run: Any) -> None:
        calls = self._server.calls[uid]

        def sunk() -> set[str]:
            return {call.key for call in calls if call.path == SINK}

        await until(lambda: len(sunk()) >= len(EMITTED), END_S, "events at the sink")
        if len(sunk()) != len(EMITTED):
            trial.wrong.append(f"the sink got {sorted(sunk())}")
        counted = Counter(call.key for call in calls if call.path != SINK)
        children = {call.key.partition("/")[0] for call in calls if call.path == "/child"}
        if len(children) != 1:
            trial.wrong.append(f"{len(children)} children were started")
        twice = [key for key, count in counted.items() if count == 2]
        trial.repeated = len(twice)
        if max(counted.values()) > 2 or len(twice) > 1:
            trial.wrong.append(f"calls came again: {counted}")
        trial.outcome = Outcome(
            status=run.status,
            output=decoded(run.output) if run.status == "completed" else decoded(run.error),
            tasks=tuple((task.reference, task.status) for task in run.tasks),
            keys=frozenset(_plain(key, uid) for key in counted),
        )
        if run.attempt != 1:
            trial.wrong.append(f"attempt {run.attempt} was counted")

    async def _start(self) -> Worker:
        return await self._site.worker(**self._changes())

    def _changes(self) -> dict[str, Any]:
        sinks = {
            "audit": {"url": f"{self._server.url}{SINK}", "headers": {}, "emitted": True, "lifecycle": False}
        }
        return {
            "redis_url": self._tap.tapped,
            "functions": ("acme_greets",),
            "events": {**self._site.settings.events, "sinks": sinks},
        }


def _plain(key: str, uid: str) -> str:
    whose, _, rest = key.partition("/")
    return f"{'run' if whose == uid else 'child'}/{rest}"


async def experiment(site: Site, *, every: int) -> Trials:
    """Kill at each commit and each of its points; or at each `every`th one, at one point in turn."""
    async with CountingServer(delay_s=0.01) as server, Tap(site.settings.redis_url or "") as tap:
        made = Experiment(site, server, tap)
        await made.prepare()
        trials = await made.undisturbed()
        # Two commits that are due at once are one: a run that is slower than others has more of them.
        trials.commits = min(trials.commits, (await made.undisturbed()).commits)
        for number, commit in enumerate(range(1, trials.commits + 1, every)):
            for point in POINTS if every == 1 else (POINTS[number % len(POINTS)],):
                await made.disturbed(trials, commit, point)
        return trials


@asynccontextmanager
async def _site(folder: Path) -> AsyncIterator[Site]:
    with temporary_server() as embedded:
        store = await open_store(embedded.url, client_name="faults", keyring=RING)
        settings = Settings(
            redis_url=embedded.url,
            data_dir=folder / ".iogate",
            allow_run=("script", "shell"),
            log_format="json",
            link_key=LINK_KEY,
        )
        site = Site(store=store, intake=store.intake(), settings=settings, folder=folder)
        try:
            yield site
        finally:
            await site.close()
            await store.close()


async def all_points(folder: Path, *, every: int = 1) -> Trials:
    """The experiment in a store of its own."""
    async with _site(folder) as site:
        return await experiment(site, every=every)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="only each so many commits, one point of each")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="iogate-commits-"))
    trials = asyncio.run(all_points(folder, every=arguments.every))
    sys.stdout.write(trials.table() + "\n")
    if not trials.hold:
        sys.stderr.write(f"the workers' logs: {folder}\n")
        raise SystemExit(1)


if __name__ == "__main__":
    main()
