"""Runs that faults start (`on_fault`): made with the commit of the fault, or afterwards for poisoned runs.

`commit_builder` calls `fault_run`; `FaultRuns` is started by `worker_process` in each worker, for the faults
that the store itself has recorded. Invariant: a fault starts one run, of the workflow that its API names in
the revision of the faulted run; a run that is a child or was started by a fault starts none.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import msgspec

from iogate.errors import Unreachable
from iogate.store.connection.connection import CommandFailed
from iogate.store.integrity.seals import Facts, seal_facts
from iogate.store.runs.commits import Child
from iogate.store.runs.compression import deflate
from iogate.store.runs.uids import UidSource

if TYPE_CHECKING:
    from collections.abc import Mapping

    from iogate.compiler.revision import FaultHandler
    from iogate.store.runs.views import RunView
    from iogate.store.store import Store
    from iogate.worker.events.run_end_rules import RunEndRules

log = logging.getLogger(__name__)

POLL_S: Final = 5.0
FRAME: Final = 0
"""No frame of the faulted run waits for the run that its fault starts."""
NOT_AUTHENTIC: Final = "Run is not authentic"
_MEMBERS: Final = ("type", "status", "title", "detail", "instance")
"""Members of an error that a workflow sees; the others are for operators."""
_uids: Final = UidSource()
_encode = msgspec.json.Encoder(decimal_format="number").encode


def fault_run(
    handler: FaultHandler,
    *,
    uid: str,
    api: str,
    workflow: str,
    revision: int,
    caller: str,
    error: Mapping[str, Any],
    data: bytes,
) -> Child:
    """Return the run that a fault starts by `on_fault`; `data` is the input of the faulted run as JSON.

    Raises ValueError or TypeError for an error that JSON cannot hold.
    """
    given = {
        "uid": uid,
        "api": api,
        "workflow": workflow,
        "task": error.get("instance") or "",
        "error": {name: error[name] for name in _MEMBERS if error.get(name) is not None},
        "input": msgspec.Raw(data or b"null"),
    }
    facts = Facts(
        revision=revision,
        workflow=handler.workflow,
        program=handler.program,
        caller=caller,
        timeout_s=None,
        nonce="",
        parent=f"{uid}/{FRAME}",
    )
    return Child(uid=_uids.next(), api=api, frame=FRAME, facts=facts, input=_encode(given), awaits=False)


class FaultRuns:
    """Starts the runs of faults that no commit of a worker recorded."""

    def __init__(self, store: Store, rules: RunEndRules) -> None:
        self._store = store
        self._rules = rules

    async def run(self) -> None:
        """Start the runs of faults until cancelled."""
        bell, wired = self._store.callbacks.doorbell()
        async with wired:
            while True:
                try:
                    for uid in await self._store.callbacks.faults():
                        await self._start(uid)
                except (Unreachable, CommandFailed) as error:
                    log.debug("faults: %s", error, extra={"action": "fault.postponed"})
                except Exception:
                    log.exception("starting the run of a fault failed", extra={"action": "fault.failed"})
                await bell.wait(POLL_S)

    async def _start(self, uid: str) -> None:
        run = await self._store.runs.show(uid)
        found = None if run is None else await self._rules.handler(run.revision, run.api)
        if run is None or found is None or _error(run).get("title") == NOT_AUTHENTIC:
            await self._store.callbacks.handle_fault(uid, "", b"", b"")
            return
        revision, handler = found
        while True:
            child = fault_run(
                handler,
                uid=uid,
                api=run.api,
                workflow=run.workflow,
                revision=revision,
                caller=run.caller,
                error=_error(run),
                data=run.input,
            )
            data = deflate(child.input)
            facts = seal_facts(self._store.keyring, child.uid, child.api, child.facts, data)
            if await self._store.callbacks.handle_fault(uid, child.uid, facts, data):
                return


def _error(run: RunView) -> Mapping[str, Any]:
    found = msgspec.json.decode(run.error) if run.error else {}
    return found if isinstance(found, dict) else {}
