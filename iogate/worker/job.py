"""Job function of iogate in RQ, the only one that a job may name.

iogate workers take jobs with a script and never call it. Only a plain `rq worker` on the queue of iogate
calls it. Then it refuses, and nothing is lost: the record of the run is authoritative, and the audit queues
the run again.
"""

from __future__ import annotations

from iogate.errors import IogateError


def advance(uid: str) -> None:
    """Refuse to advance a run as a job of RQ.

    Raises IogateError always: only an iogate worker can advance a run.
    """
    raise IogateError(
        f"run {uid} was taken by a plain RQ worker, which cannot advance it; the run is safe and"
        " continues in an iogate worker",
        code="IOG640",
        hint='stop "rq worker iogate" and start "iogate worker"',
    )
