"""Runs of the live system by the HTTP API of operators.

Used by `http_system`. Invariant: a stream of journal entries that breaks off is continued after the last
entry, so that none is missing or repeated.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import time
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from iogate.cli.system.operator_client import UNEXPECTED, AccessDenied
from iogate.cli.system.system import Deletion, RunChange, RunChanges, interrupted
from iogate.errors import IogateError, NotFound, Refused, Unreachable
from iogate.messages import counted
from iogate.operators.batches.batch_selection import filter_json
from iogate.operators.runs.run_details import run_not_found
from iogate.security.redaction_patterns import REDACTED
from iogate.store.runs.presentation import rfc3339

if TYPE_CHECKING:
    from iogate.cli.system.operator_client import OperatorClient
    from iogate.cli.system.system import Json
    from iogate.store.runs.run_index import RunFilter

PAGE: Final = 100
"""Most runs that the API returns at once."""
SHORT_PAGES: Final = 25
"""Pages that ended early, after which a list ends, too."""
WAIT_MOST_S: Final = 60
RECONNECT_S: Final = 60.0
"""Time for which a broken stream is continued without success."""
OPEN_S: Final = 5.0
"""Duration from which a stream without events, of a run that waits, counts as success when it is cut off."""
PAUSE_S: Final = 0.5
PRUNE: Final = "/v1/prune"
PRUNE_S: Final = 50.0
"""Further time for the selection of the runs to delete."""
_UID: Final = re.compile(r"[0-9]{1,19}", re.ASCII)


def _path(uid: str, rest: str = "") -> str:
    """Return the path of a run in the HTTP API. Raises NotFound for a uid that no run has."""
    if _UID.fullmatch(uid) is None:
        raise run_not_found(uid)
    return f"/v1/runs/{uid}{rest}"


def _was_open(error: Unreachable) -> bool:
    """Return whether a run's HTTP stream was open until its connection broke, neither refused nor silent."""
    cause = error.__cause__
    return cause is not None and not isinstance(cause, TimeoutError | aiohttp.ClientConnectorError)


class HttpRuns:
    """Runs of one server."""

    def __init__(self, client: OperatorClient) -> None:
        self._client = client

    async def list(
        self, wanted: RunFilter, *, limit: int, cursor: str | None = None, complete: bool = False
    ) -> Json:
        query = {
            "project": wanted.project,
            "api": wanted.api,
            "workflow": wanted.workflow,
            "status": wanted.statuses or None,
            # The API looks back seven days without it.
            "since": rfc3339(wanted.since_ms or 0),
            "until": rfc3339(wanted.until_ms),
            "caller": wanted.caller,
            "parent": wanted.parent,
            "revision": wanted.revision,
            "where": None if wanted.where is None else ":".join(wanted.where),
        }
        found: list[Json] = []
        short = 0
        while True:
            part = {"limit": min(PAGE, limit - len(found)), "cursor": cursor}
            page = await self._client.get("/v1/runs", {**query, **part})
            found += page["runs"]
            cursor = page["nextCursor"]
            short += page["lookedBackTo"] is not None
            if cursor is None or len(found) >= limit or (short >= SHORT_PAGES and not complete):
                return {"runs": found, "lookedBackTo": page["lookedBackTo"], "nextCursor": cursor}

    async def show(self, uid: str, *, data: bool = False, task: str | None = None) -> Json:
        await self._client.require_operator()
        query = {"data": True if data else None, "task": task}
        found: Json = await self._client.get(_path(uid), query)
        return found

    async def wait(self, uid: str, wait_s: float) -> Json:
        await self._client.require_operator()
        seconds = max(1, min(WAIT_MOST_S, int(wait_s))) if wait_s > 0 else 0
        found: Json = await self._client.get(_path(uid), {"wait": seconds}, wait_s=seconds)
        return found

    async def journal(self, uid: str) -> Json:
        found: Json = await self._client.get(_path(uid, "/journal"))
        return found

    async def follow(self, uid: str) -> AsyncIterator[Json]:
        await self._client.require_operator()
        await self._client.get(_path(uid))
        last, until = "", time.monotonic() + RECONNECT_S
        while True:
            began, why, was_open = time.monotonic(), "the stream ends before the run", True
            try:
                async for event in self._client.events(_path(uid, "/events"), last):
                    until = time.monotonic() + RECONNECT_S
                    if event.name == "end":
                        return
                    yield json.loads(event.data)
                    last = event.id
            except Unreachable as error:
                why, was_open = error.message, _was_open(error)
            # A stream that ends without the event `end` was cut off.
            open_s = time.monotonic() - began if was_open else 0.0
            await self._check(uid, until)
            if open_s >= OPEN_S:
                until = time.monotonic() + RECONNECT_S
            elif time.monotonic() > until:
                raise Unreachable(
                    f"{self._client.server.url} sends no further entry of run {uid}: {why}",
                    code=UNEXPECTED,
                    hint="look at the proxy before the gateway; "
                    f"`iogate runs logs {uid}` shows the journal so far",
                )
            await asyncio.sleep(PAUSE_S)

    async def _check(self, uid: str, until: float) -> None:
        """Check after the end of a run's HTTP stream that the run can still be read.

        Raises NotFound and Refused if not, and Unreachable if the server does not respond by `until`.
        """
        try:
            await self._client.get(_path(uid))
        except Unreachable:
            if time.monotonic() > until:
                raise

    async def input(self, uid: str) -> Any:
        found = (await self.show(uid))["input"]
        if REDACTED in json.dumps(found):
            raise Refused(
                f"the input of run {uid} has values that look like secrets, and "
                f"{self._client.server.url} redacts them",
                hint="give the input yourself, with --input",
            )
        return found

    async def files(self, uid: str) -> Sequence[Json]:
        found: Sequence[Json] = (await self._client.get(_path(uid, "/files")))["files"]
        return found

    async def read_file(self, uid: str, file: Json) -> bytes:
        content = await self._client.download(_path(uid, f"/files/{file['sha256']}"))
        digest = await asyncio.to_thread(hashlib.sha256, content)
        if digest.hexdigest() != file["sha256"]:
            raise Unreachable(
                f"{self._client.server.url} has sent another file than {file['sha256'][:12]}",
                code=UNEXPECTED,
                hint="repeat the command; look at the proxy before the gateway",
            )
        return content

    async def statistics(
        self, *, api: str | None, workflow: str | None, since_ms: int | None, until_ms: int | None
    ) -> Json:
        times = {"since": rfc3339(since_ms), "until": rfc3339(until_ms)}
        found: Json = await self._client.get("/v1/statistics", {"api": api, "workflow": workflow, **times})
        return found

    async def errors(self, *, api: str | None, since_ms: int | None) -> Json:
        found: Json = await self._client.get("/v1/errors", {"api": api, "since": rfc3339(since_ms)})
        return found

    async def change(self, change: RunChange, uids: Sequence[str]) -> RunChanges:
        found = RunChanges()
        body = {"from": change.pointer, "on": "current" if change.current else None}
        self._client.check_reason(change.reason)
        await self._client.require_operator()
        for uid in uids:
            try:
                done = await self._client.change(
                    _path(uid, f"/{change.action}"),
                    change.reason,
                    body,
                    key=f"{change.action}-{change.operation}-{uid}" if change.operation else None,
                )
                found.done.append(done)
            except AccessDenied:
                raise
            except (Refused, NotFound) as error:
                found.left.append(error)
            except Unreachable as error:
                if not change.operation:
                    raise
                raise interrupted(error.message, change.operation) from None
        return found

    async def prune(self, wanted: Deletion) -> int:
        body = {"filter": filter_json(wanted.filter), "before": rfc3339(wanted.before_ms)}
        preview = await self._client.ask(PRUNE, {**body, "dry_run": True}, wait_s=PRUNE_S)
        with self._client.reading("a preview of a deletion"):
            count: int = preview["count"]
            wanted.confirm(preview)
        if count:
            self._client.check_reason(wanted.reason)
        pruned, complete = 0, not count
        while not complete:
            try:
                done = await self._client.change(PRUNE, wanted.reason, body, wait_s=PRUNE_S)
            except IogateError as error:
                deleted = f"; at least {counted(pruned, 'run')} deleted before" if pruned else ""
                raise type(error)(f"{error.message}{deleted}", code=error.code, hint=error.hint) from None
            with self._client.reading("a deletion"):
                pruned, complete = pruned + done["pruned"], done["complete"]
        return pruned
