"""Progress of a batch: shown until it ends; Ctrl-C stops it.

Used by `runs retry` and `cancel` with filters, and by `batches continue`. Invariant: Ctrl-C leaves no batch
in progress without a word about how to stop it.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from typing import TYPE_CHECKING, Any, Final, Self

from iogate.cli.render import is_capable_terminal
from iogate.errors import IogateError, Refused, Unreachable
from iogate.messages import counted

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from iogate.cli.session import Session
    from iogate.cli.system.system import Batches, Json

LOOK_S: Final = 0.25
LINE_S: Final = 5.0
"""Interval of lines without a terminal."""
AWAY_S: Final = 60.0
"""Time for which a server or store that is out of reach is asked again."""
STOPPED: Final = "IOG786"


async def follow(session: Session, batches: Batches, batch: Json) -> Json:
    """Show the progress of a batch until it ends or is stopped, and return it then.

    Raises:
        asyncio.CancelledError: after Ctrl-C; the batch is stopped.
        Unreachable: nothing has answered for a minute; the batch goes on.
    """
    id_ = batch["id"]
    if not batch["workers"] and batch["state"] == "running":
        session.screen.warn(
            "no worker is running: this command carries out the batch, and the runs wait for a worker"
            if batches.carries_out
            else "no worker is running: the batch waits for one"
        )
    try:
        with _Display(session, batch) as display:
            until = time.monotonic() + AWAY_S
            while batch["state"] in ("running", "stopping"):
                try:
                    await _pause(batches, batch)
                    batch = await batches.show(id_)
                    until = time.monotonic() + AWAY_S
                except Unreachable as error:
                    if time.monotonic() > until:
                        raise Unreachable(
                            f"{error.message}: batch {id_} goes on",
                            code=error.code,
                            hint=f"look at it later: iogate batches show {id_}",
                        ) from None
                    await asyncio.sleep(LOOK_S)
                display.update(batch)
    except asyncio.CancelledError:
        await _stop(session, batches, id_)
        raise
    return batch


async def begin(session: Session, batches: Batches, begun: Coroutine[Any, Any, Json]) -> Json:
    """Create or continue a batch, and return it; if Ctrl-C comes before it has answered, stop it.

    Raises as the operation does, and asyncio.CancelledError after Ctrl-C.
    """
    task = asyncio.ensure_future(begun)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        with contextlib.suppress(IogateError):
            await _stop(session, batches, (await task)["id"])
        raise


async def _pause(batches: Batches, batch: Json) -> None:
    """Wait for progress of a batch; without a worker, make some if possible."""
    if batch["workers"] or not batches.carries_out:
        await asyncio.sleep(LOOK_S)
        return
    due_s = await batches.step()
    await asyncio.sleep(LOOK_S if due_s is None else min(LOOK_S, due_s))


async def _stop(session: Session, batches: Batches, id_: str) -> None:
    """Stop a batch after Ctrl-C, and tell how it can be continued."""
    try:
        batch = await batches.stop(id_, "Ctrl-C")
    except Unreachable as error:
        session.screen.warn(f"{error.message}: batch {id_} goes on; stop it with: iogate batches stop {id_}")
        return
    # A worker that is at a run of the batch ends that one first.
    session.screen.note(f"{batch['state']}: {progress(batch)}")
    if batch["left"]:
        session.screen.note(f"continue with: iogate batches continue {id_}")


def progress(batch: Json) -> str:
    """Return the progress of a batch in words: `retried 310 of 1000 runs, refused 2`."""
    from iogate.operators.batches.batch_selection import KINDS

    text = f"{KINDS[batch['action']].past} {batch['changed']} of {counted(batch['count'], 'run')}"
    text += f", left {batch['unchanged']} unchanged" if batch["unchanged"] else ""
    text += f", refused {batch['refused']}" if batch["refused"] else ""
    return text


def report(session: Session, command: str, batch: Json) -> None:
    """Print the results of a batch that has ended or was stopped.

    Raises Refused if runs were refused, it was stopped, or it has failed.
    """
    for remark in batch["remarks"]:
        session.screen.note(remark)
    session.screen.data(command, {"batch": batch}, [progress(batch)])
    if batch["state"] == "stopped":
        raise Refused(
            f"batch {batch['id']} was stopped, and {counted(batch['left'], 'run')} are left",
            code=STOPPED,
            hint=f"continue with: iogate batches continue {batch['id']}",
        )
    if batch["failure"]:
        raise Refused(f"batch {batch['id']} has failed: {batch['failure']}", code="IOG783")
    if batch["refused"]:
        first = batch["refusals"][0]["message"] if batch["refusals"] else "see the activity"
        more = f" (and {batch['refused'] - 1} more)" if batch["refused"] > 1 else ""
        raise Refused(f"{first}{more}", hint=f"iogate batches show {batch['id']} lists the first ones")


class _Display:
    """Progress on stderr: a bar on a terminal, else a line every few seconds."""

    def __init__(self, session: Session, batch: Json) -> None:
        self._session = session
        self._waiting = ""
        self._said_s = time.monotonic()
        self._bar, self._task = None, None
        if is_capable_terminal(sys.stderr) and not session.screen.quiet:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

            from iogate.cli.render import console
            from iogate.operators.batches.batch_selection import KINDS

            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=console(sys.stderr),
                transient=True,
            )
            past = KINDS[batch["action"]].past
            self._task = self._bar.add_task(f"{past}, Ctrl-C stops", total=batch["count"])

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, batch: Json) -> None:
        """Show the progress of a batch, and once the reason why it waits."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=batch["count"] - batch["left"])
        elif time.monotonic() - self._said_s >= LINE_S:
            self._said_s = time.monotonic()
            self._session.screen.note(progress(batch))
        waiting = batch["waiting"] or ""
        if waiting and waiting != self._waiting:
            self._session.screen.note(f"the batch waits: {waiting}")
        self._waiting = waiting or self._waiting
