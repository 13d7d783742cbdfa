"""However long runs think, the loop does its other work in between."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from iogate.worker.runs.scheduler import FIRST_STEPS, MOST_STEPS, Pace, Scheduler

if TYPE_CHECKING:
    from iogate.worker.runs.run import Run


@dataclass(eq=False)
class Thinker:
    """A run whose steps take `step_s` by the clock of the test; `left` steps are to do."""

    step_s: float
    left: int
    api: str = "shop/order"
    careful: bool = False
    pace: Pace = field(default_factory=Pace)
    unfinished: bool = False


@dataclass
class Worker:
    """What a worker does with its loop: slices of runs, and other work, which notes how far they are."""

    now_s: float = 0.0
    slices: list[tuple[Thinker, int]] = field(default_factory=list)
    seen: list[int] = field(default_factory=list)
    """How many slices there were, each time that the loop did something else."""

    def slice_of(self, run: Run) -> None:
        thinker = cast("Thinker", run)
        done = min(thinker.pace.steps, thinker.left)
        self.slices.append((thinker, done))
        self.now_s += done * thinker.step_s
        thinker.left -= done
        thinker.unfinished = thinker.left > 0
        if thinker.unfinished:
            self.turns.add(run)

    async def work(self, *thinkers: Thinker) -> None:
        self.turns = Scheduler(self.slice_of, clock=lambda: self.now_s)
        for thinker in thinkers:
            self.turns.add(cast("Run", thinker))
        while any(thinker.left for thinker in thinkers):
            await asyncio.sleep(0)
            self.seen.append(len(self.slices))


async def test_the_loop_turns_between_slices_that_take_long() -> None:
    worker = Worker()
    await worker.work(*(Thinker(step_s=0.5, left=3) for _ in range(20)))
    # one that is new, and one that is known to be slow
    assert max(b - a for a, b in zip([0, *worker.seen], worker.seen, strict=False)) <= 2


async def test_runs_take_turns() -> None:
    worker = Worker()
    long, short = Thinker(step_s=0.001, left=1000), Thinker(step_s=0.001, left=1)
    await worker.work(long, short)
    assert [thinker for thinker, _ in worker.slices[:3]] == [long, short, long]


async def test_apis_take_turns_so_that_a_herd_of_one_delays_no_other() -> None:
    worker = Worker()
    herd = [Thinker(step_s=0.001, left=1) for _ in range(100)]
    other = Thinker(step_s=0.001, left=1, api="shop/stock")
    await worker.work(*herd, other)
    assert [thinker for thinker, _ in worker.slices[:3]] == [herd[0], other, herd[1]]


async def test_who_is_quick_does_not_wait_for_all_who_are_slow() -> None:
    worker = Worker()
    quick = Thinker(step_s=0.004, left=50)
    await worker.work(*(Thinker(step_s=0.5, left=20) for _ in range(10)), quick)
    order = [thinker is quick for thinker, _ in worker.slices]
    first, last = order.index(True), len(order) - order[::-1].index(True)
    between = order[first:last]
    assert between.count(False) <= between.count(True)
    assert order.count(False) > between.count(False) > 0


async def test_a_slice_of_slow_steps_gets_short_and_one_of_quick_steps_long() -> None:
    slow = Worker()
    await slow.work(Thinker(step_s=0.06, left=300))
    assert [done for _, done in slow.slices][:3] == [FIRST_STEPS, 1, 1]
    quick = Worker()
    await quick.work(Thinker(step_s=0.00001, left=10_000))
    assert max(done for _, done in quick.slices) == MOST_STEPS
    assert len(quick.slices) < 10_000 / MOST_STEPS + 10


async def test_the_careful_take_one_step_at_a_time() -> None:
    """A run that killed its worker by 200 slow steps in one slice comes through alone."""
    worker = Worker()
    await worker.work(Thinker(step_s=0.00001, left=50, careful=True))
    assert [done for _, done in worker.slices] == [1] * 50
