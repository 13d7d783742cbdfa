"""Replay of the debug cases that the live revision keeps, by a server for an operator.

Called by `debug_commands` over HTTP. Invariants: a run that the server has started does not outlive its
replay, unless the user asks for that; a run of an earlier call is never cancelled.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from iogate.cli.documents.case_report import Result
from iogate.cli.documents.case_selection import ApiCase
from iogate.cli.runs.run_display import LiveDisplay, waiting_text
from iogate.cli.runs.run_outcome import DISPLAY_POLL_S, MAX_WAIT_S
from iogate.cli.system.system import RunChange
from iogate.errors import IogateError, NotFound
from iogate.operators.debug_cases import case_failures, case_not_found
from iogate.store.keys import ENDED

if TYPE_CHECKING:
    from iogate.cli.render import Screen
    from iogate.cli.system.system import System

FIRST_S: Final = 1.0
"""Time in which most runs end; the wait for the others shows their tasks."""


async def kept_cases(system: System, api: str, names: Collection[str]) -> list[ApiCase]:
    """Return the debug cases that an operator can replay: those that the live revision keeps of an API.

    With names, only these. Raises NotFound for an unknown API or name, and if there is no case.
    """
    from iogate.documents.api.debug_cases import DebugCase

    contract = await system.apis.contract(api)
    kept = (await system.apis.show(api))["debugCases"]
    known = [each["name"] for each in kept]
    for name in names:
        if name not in known:
            raise case_not_found(api, name, known)
    if not kept:
        raise NotFound(
            f"the live revision keeps no debug case of {api}",
            hint="it keeps the first five that expect a completed run, and have neither files nor headers "
            "in their input",
        )
    return [
        ApiCase(
            api=contract,
            stored=DebugCase.model_validate(
                {"name": each["name"], **({"expect": {"output": each["output"]}} if "output" in each else {})}
            ),
        )
        for each in kept
        if not names or each["name"] in names
    ]


class OperatorReplay:
    """Replays of cases by one server."""

    def __init__(
        self, screen: Screen, system: System, *, reason: str, limit: tuple[float, str], keep: bool
    ) -> None:
        """Create replays by an operator; `limit`: seconds, and the text that the user wrote."""
        self._screen, self._system = screen, system
        self._reason, self._keep = reason, keep
        self._limit_s, self._limit = limit

    async def replay(self, case: ApiCase) -> Result:
        """Let the server replay one debug case for the operator, wait for its run, and return the result.

        Raises Refused if the API is disabled, or the role of the operator does not suffice.
        """
        name, deadline = case.stored.name, time.monotonic() + self._limit_s
        wait_s = min(FIRST_S, self._limit_s)
        found = await self._system.apis.debug(case.id, name, reason=self._reason, wait_s=wait_s)
        failures: Sequence[str] = found["failures"]
        run: Mapping[str, Any] = found
        took_s = found["tookS"]
        if found["passed"] is None:
            started = time.monotonic() - took_s
            cancels = not (self._keep or found.get("coalesced"))
            try:
                run = await self._wait_for_end(case, found["uid"], deadline)
            except asyncio.CancelledError:
                if cancels:
                    await self._cancel(found["uid"])
                raise
            took_s = time.monotonic() - started
            failures = await self._verdict(run, found["expect"], cancels=cancels)
        return Result(
            case=case,
            http=found["http"],
            message=found["message"] or "",
            run=run if run["uid"] is not None else {},
            failures=tuple(failures),
            took_s=took_s,
        )

    async def _wait_for_end(self, case: ApiCase, uid: str, deadline: float) -> Mapping[str, Any]:
        """Return the run of an operator's replay at its end, or at the deadline; show its tasks meanwhile."""
        run = await self._system.runs.wait(uid, 0)
        with LiveDisplay(self._screen) as watching:
            while run["status"] not in ENDED and (left_s := deadline - time.monotonic()) > 0:
                watching.show(run, f"{case.label}  ")
                pause_s = DISPLAY_POLL_S if watching.active else MAX_WAIT_S
                run = await self._system.runs.wait(uid, min(pause_s, left_s))
        return run

    async def _verdict(
        self, run: Mapping[str, Any], expect: Mapping[str, Any], *, cancels: bool
    ) -> list[str]:
        """Compare the run of an operator's replay with the expectation; return the differences.

        With `cancels`, a run that has not ended is cancelled.
        """
        uid, status = run["uid"], run["status"]
        if status in ENDED:
            return case_failures(status, run.get("output"), run.get("error"), expect)
        waits = waiting_text(run)
        found = f"run {uid} is still {status} after {self._limit}" + (f": it {waits}" if waits else "")
        if not cancels:
            return [found, f"cancel it with: iogate runs cancel {uid}"]
        return [found, await self._cancel(uid)]

    async def _cancel(self, uid: str) -> str:
        """Cancel the run of an operator's replay as this operator; return the outcome, for the report."""
        change = RunChange(action="cancel", verb="cancelled", reason=self._reason)
        try:
            for error in (await self._system.runs.change(change, [uid])).left:
                return f"it was not cancelled: {error.message}; use: iogate runs cancel {uid}"
        except IogateError as error:
            return f"it was not cancelled: {error.message}; use: iogate runs cancel {uid}"
        return "debug has cancelled it; --keep leaves it"
