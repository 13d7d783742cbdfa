"""The one function that RQ jobs of iogate name, and the only one that they may.

A job is a wake-up: iogate's workers take it in a script of their own and never call this. It is called
when somebody runs a plain `rq worker` on iogate's queue. Then it refuses, and nothing is lost: the
run's record is the truth, and the audit queues the run again.
"""

from __future__ import annotations

from iogate.errors import IogateError


def advance(uid: str) -> None:
    """Refuse: only an iogate worker can advance a run."""
    raise IogateError(
        f"run {uid} was taken by a plain RQ worker, which cannot advance it; the run is safe and"
        " continues in an iogate worker",
        code="IOG640",
        hint='stop "rq worker iogate" and start "iogate worker"',
    )
