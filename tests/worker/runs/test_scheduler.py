"""Time slices: long computations leave the loop time for other work."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from iogate.worker.runs.scheduler import FIRST_STEPS, MOST_STEPS, Pace, Scheduler


@dataclass(eq=False)
class ComputingRun:
    """A run whose steps take `step_s` by the clock of the test; `left` steps are to do."""

    step_s: float
    left: int
    api: str = "shop/order"
    careful: bool = False
    pace: Pace = field(default_factory=Pace)
    unfinished: bool = False


@dataclass
class Worker:
    """Loop of a worker: slices of runs, and other work, which records their progress."""

    now_s: float = 0.0
    slices: list[tuple[ComputingRun, int]] = field(default_factory=list)
    seen: list[int] = field(default_factory=list)
    """How many slices there were, each time that the loop did something else."""

    def slice_of(self, thinker: ComputingRun) -> None:
        done = min(thinker.pace.steps, thinker.left)
        self.slices.append((thinker, done))
        self.now_s += done * thinker.step_s
        thinker.left -= done
        thinker.unfinished = thinker.left > 0
        if thinker.unfinished:
            self.turns.add(thinker)

    async def work(self, *thinkers: ComputingRun) -> None:
        self.turns = Scheduler(self.slice_of, clock=lambda: self.now_s)
        for thinker in thinkers:
            self.turns.add(thinker)
        while any(thinker.left for thinker in thinkers):
            await asyncio.sleep(0)
            self.seen.append(len(self.slices))


async def test_other_work_runs_between_long_slices() -> None:
    worker = Worker()
    await worker.work(*(ComputingRun(step_s=0.5, left=3) for _ in range(20)))
    # one that is new, and one that is known to be slow
    assert max(b - a for a, b in zip([0, *worker.seen], worker.seen, strict=False)) <= 2


async def test_runs_alternate() -> None:
    worker = Worker()
    long, short = ComputingRun(step_s=0.001, left=1000), ComputingRun(step_s=0.001, left=1)
    await worker.work(long, short)
    assert [thinker for thinker, _ in worker.slices[:3]] == [long, short, long]


async def test_apis_alternate_so_that_many_runs_of_one_delay_no_other() -> None:
    worker = Worker()
    herd = [ComputingRun(step_s=0.001, left=1) for _ in range(100)]
    other = ComputingRun(step_s=0.001, left=1, api="shop/stock")
    await worker.work(*herd, other)
    assert [thinker for thinker, _ in worker.slices[:3]] == [herd[0], other, herd[1]]


async def test_a_quick_run_does_not_wait_for_all_slow_ones() -> None:
    worker = Worker()
    quick = ComputingRun(step_s=0.004, left=50)
    await worker.work(*(ComputingRun(step_s=0.5, left=20) for _ in range(10)), quick)
    order = [thinker is quick for thinker, _ in worker.slices]
    first, last = order.index(True), len(order) - order[::-1].index(True)
    between = order[first:last]
    assert between.count(False) <= between.count(True)
    assert order.count(False) > between.count(False) > 0


async def test_slices_shrink_with_slow_steps_and_grow_with_quick_ones() -> None:
    slow = Worker()
    await slow.work(ComputingRun(step_s=0.06, left=300))
    assert [done for _, done in slow.slices][:3] == [FIRST_STEPS, 1, 1]
    quick = Worker()
    await quick.work(ComputingRun(step_s=0.00001, left=10_000))
    assert max(done for _, done in quick.slices) == MOST_STEPS
    assert len(quick.slices) < 10_000 / MOST_STEPS + 10


async def test_a_solitary_worker_takes_one_step_at_a_time() -> None:
    """A run that killed its worker by 200 slow steps in one slice completes alone."""
    worker = Worker()
    await worker.work(ComputingRun(step_s=0.00001, left=50, careful=True))
    assert [done for _, done in worker.slices] == [1] * 50
