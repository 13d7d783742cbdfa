"""Routes of runs for operators: list, show, follow, and the changes of one run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec
from litestar import Response
from litestar.response import Stream

from iogate.errors import NotFound
from iogate.gateway.http import responses
from iogate.gateway.http.large_responses import PACED
from iogate.gateway.http.request import Request
from iogate.gateway.operators.operation import LIMIT_S, Call, Handler, Operation
from iogate.gateway.operators.parameters import CURSOR, MOMENT
from iogate.gateway.runs import run_completion, run_reader
from iogate.operators.activity import Target, target
from iogate.operators.roles import Role
from iogate.operators.runs import run_actions, run_files
from iogate.operators.runs.run_details import find_run, journal_of, run_not_found
from iogate.store import keys
from iogate.store.runs.run_index import LISTED, RunFilter
from iogate.value_types.collection_types import Key, distinct
from iogate.value_types.scalar_types import boolean, choice, number, pattern, text

if TYPE_CHECKING:
    from iogate.gateway.http.large_responses import Sending
    from iogate.store.runs.operations import RunView
    from iogate.store.store import Store

SINCE_MS: Final = 7 * 86_400_000
"""How far a list looks back without `since`."""
WAIT_MOST_S: Final = 60
MOST: Final = 100
"""Runs of one page."""
_UID: Final[Mapping[str, str]] = {"uid": "[0-9]{1,19}"}
_FILE_S: Final = 60.0
_ENTRY: Final = re.compile(r"[0-9]{1,19}", re.ASCII)


def _target(call: Call) -> Target:
    return target("run", [call.path["uid"]])


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition(":")
    return name, value


def read_filter(call: Call, given: Mapping[str, Any]) -> RunFilter:
    """Return the filter of runs with the values of parameters in FILTERS."""
    now_ms = call.state.clock.now_ms()
    return RunFilter(
        api=given.get("api"),
        workflow=given.get("workflow"),
        statuses=given.get("status", ()),
        since_ms=given["since"].at_ms(now_ms) if "since" in given else None,
        until_ms=given["until"].at_ms(now_ms) if "until" in given else None,
        caller=given.get("caller"),
        parent=given.get("parent"),
        revision=given.get("revision"),
        project=given.get("project"),
        where=None if "where" not in given else _pair(given["where"]),
    )


async def _list(call: Call) -> Any:
    given = call.given
    wanted = read_filter(call, given)
    if wanted.since_ms is None:
        wanted = msgspec.structs.replace(wanted, since_ms=call.state.clock.now_ms() - SINCE_MS)
    return await run_actions.listing(
        call.store, wanted, limit=given.get("limit", LISTED), cursor=given.get("cursor")
    )


async def _show(call: Call) -> Any:
    request = call.request or Request(method="GET")
    if wait_s := call.given.get("wait", 0):
        await run_completion.until_end(call.state, call.store, call.path["uid"], wait_s, request=call.request)

    sending: Sending = call.scope[PACED].sending

    async def find(store: Store, uid: str) -> RunView:
        view = await run_reader.read_data(store, await find_run(store, uid, most=run_reader.SMALL), sending)
        if view is None:
            raise run_not_found(uid)
        return view

    async def redact(stored: bytes) -> bytes:
        async with sending.preparing():
            return await call.state.validation.redacted(stored, request)

    return await run_actions.show(
        call.store,
        call.path["uid"],
        data=call.given.get("data", False),
        task=call.given.get("task"),
        find=find,
        redact=redact,
    )


async def _journal(call: Call) -> Any:
    uid = call.path["uid"]
    await find_run(call.store, uid, most=0)
    return {"uid": uid, "entries": await journal_of(call.store, uid)}


async def _input_files(call: Call) -> list[dict[str, Any]]:
    """Return the metadata of a run's files for its routes. Raises NotFound if there is no such run."""
    uid = call.path["uid"]
    view = await find_run(call.store, uid, most=run_reader.SMALL)
    found = await run_reader.read_data(call.store, view, call.scope[PACED].sending)
    if found is None:
        raise run_not_found(uid)
    return run_files.files_of(found.input)


async def _files(call: Call) -> Any:
    return {"uid": call.path["uid"], "files": await _input_files(call)}


async def _file(call: Call) -> responses.Response:
    """Respond to the route of a file of a run, never as a page. Raises NotFound without this digest."""
    uid, sha256 = call.path["uid"], call.path["sha256"]
    file = next((each for each in await _input_files(call) if each["sha256"] == sha256), None)
    if file is None:
        raise NotFound(
            f"run {uid} has no file with this SHA-256", hint=f"GET /v1/runs/{uid}/files lists its files"
        )
    sending: Sending = call.scope[PACED].sending
    if isinstance(size := file["size"], int):
        sending.reserve(size)
    async with sending.preparing():
        content = await run_files.read_file(call.store, uid, file)
    headers = [(b"content-disposition", b"attachment"), (b"x-content-type-options", b"nosniff")]
    return responses.Response(200, content, headers, content_type=b"application/octet-stream")


async def _events(call: Call) -> Response[Any]:
    """Respond to the route of a run's events with the stream of its journal.

    Raises NotFound if there is no such run.
    """
    uid = call.path["uid"]
    await find_run(call.store, uid, most=0)
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    request = call.request
    assert request is not None, "only a client follows a run"
    if request.method == "HEAD":
        # A stream without a body would stay open as long as one with a body.
        return Response(b"", media_type="text/event-stream", headers=headers)
    after = request.headers.get(b"last-event-id", b"").decode("latin-1")
    async with call.state.streams.opening:
        events = await call.state.streams.open(
            call.store,
            uid,
            after=int(after) if _ENTRY.fullmatch(after) else 0,
            address=request.address,
            draining=call.state.draining,
            paced=call.scope[PACED],
            operator=True,
        )
    return Stream(events, media_type="text/event-stream", headers=headers)


async def _cancel(call: Call) -> Any:
    return await run_actions.cancel(
        call.store, call.path["uid"], actor=call.actor, reason=call.reason, operation=call.id
    )


async def _retry(call: Call) -> Any:
    return await run_actions.retry(
        call.store,
        call.path["uid"],
        actor=call.actor,
        pointer=call.given.get("from"),
        current=call.given.get("on") == "current",
        reason=call.reason,
        operation=call.id,
    )


async def _suspend(call: Call) -> Any:
    return await run_actions.suspend(call.store, call.path["uid"], operation=call.id)


async def _resume(call: Call) -> Any:
    return await run_actions.resume(call.store, call.path["uid"], operation=call.id)


async def _redeliver(call: Call) -> Any:
    return await run_actions.redeliver(call.store, call.path["uid"])


FILTERS: Final[Mapping[str, Key]] = {
    "project": Key(type=text(), required=False, description="Only runs of APIs of this project."),
    "api": Key(type=text(), required=False, description="Only runs of this API, module/method."),
    "workflow": Key(
        type=text(), required=False, description="Only runs of this workflow, name or name:version."
    ),
    "status": Key(
        type=distinct(choice(*keys.STATUSES), f"one or more of {', '.join(keys.STATUSES)}"),
        required=False,
        description="Only runs in these statuses, separated by commas.",
    ),
    "since": Key(type=MOMENT, required=False, description="Only runs accepted after this time."),
    "until": Key(type=MOMENT, required=False, description="Only runs accepted before this time."),
    "caller": Key(type=text(), required=False, description="Only runs of this caller; empty: none."),
    "parent": Key(
        type=pattern("the uid of a run", "[0-9]{1,19}"),
        required=False,
        description="Only child runs of this run.",
    ),
    "revision": Key(type=number(0, 2**31), required=False, description="Only runs of this revision."),
    "where": Key(
        type=pattern("NAME:VALUE of an attribute", r"[^:]{1,200}:.{1,1000}"),
        required=False,
        description="Only runs with this value of an attribute: order:A-1.",
    ),
}
"""Filters of runs in the query of a list; bodies take them with a list of statuses."""
SINCE: Final = Key(
    type=MOMENT, required=False, description="Only runs accepted after this time; default: 7d."
)
LIST: Final = Operation(
    name="runs.list",
    method="GET",
    path="/v1/runs",
    role=Role.READ,
    summary="List runs, newest first",
    handler=_list,
    query={
        **FILTERS,
        "since": SINCE,
        "limit": Key(type=number(1, MOST), required=False, description=f"Maximum number; default: {LISTED}."),
        "cursor": CURSOR,
    },
)
SHOW: Final = Operation(
    name="runs.show",
    method="GET",
    path="/v1/runs/{uid}",
    path_types=_UID,
    role=Role.READ,
    summary="Show a run as operators see it",
    handler=_show,
    query={
        "data": Key(
            type=boolean(), required=False, description="true: also the recorded input and output of tasks."
        ),
        "task": Key(
            type=text(),
            required=False,
            description="Reference or name of a task: also its recorded input and output.",
        ),
        "wait": Key(
            type=number(0, WAIT_MOST_S),
            required=False,
            description="Seconds to wait for the end of the run, before it is shown.",
        ),
    },
    limit_s=WAIT_MOST_S + LIMIT_S,
    is_shared=True,
)
JOURNAL: Final = Operation(
    name="runs.journal",
    method="GET",
    path="/v1/runs/{uid}/journal",
    path_types=_UID,
    role=Role.READ,
    summary="Show the kept journal entries of a run",
    handler=_journal,
)
FILES: Final = Operation(
    name="runs.files",
    method="GET",
    path="/v1/runs/{uid}/files",
    path_types=_UID,
    role=Role.READ,
    summary="List the files that the call of a run has sent",
    handler=_files,
)
FILE: Final = Operation(
    name="runs.file",
    method="GET",
    path="/v1/runs/{uid}/files/{sha256}",
    path_types={**_UID, "sha256": "[0-9a-f]{64}"},
    role=Role.OPERATE,
    summary="Download a file that the call of a run has sent",
    handler=_file,
    is_file=True,
    limit_s=_FILE_S,
)
EVENTS: Final = Operation(
    name="runs.events",
    method="GET",
    path="/v1/runs/{uid}/events",
    path_types=_UID,
    role=Role.READ,
    summary="Follow the journal of a run, with the entries for operators",
    handler=_events,
    is_shared=True,
    is_stream=True,
)


def _change(
    verb: str,
    summary: str,
    handler: Handler,
    *,
    body: Mapping[str, Key] | None = None,
    status: int = 200,
    is_shared: bool = False,
) -> Operation:
    return Operation(
        name=f"runs.{verb}",
        method="POST",
        path=f"/v1/runs/{{uid}}/{verb}",
        path_types=_UID,
        role=Role.OPERATE,
        summary=summary,
        handler=handler,
        body=body or {},
        action=f"runs.{verb}",
        target=_target,
        status=status,
        is_shared=is_shared,
    )


CANCEL: Final = _change("cancel", "Cancel a run", _cancel, status=202, is_shared=True)
FROM: Final = Key(
    type=pattern("the reference of a task, such as /do/2/charge", r"/.{1,2000}"),
    required=False,
    description="Resume from this earlier task instead of the one that faulted.",
)
ON: Final = Key(type=choice("current"), required=False, description="current: use the live definition.")
RETRY: Final = _change(
    "retry",
    "Retry a faulted run; completed tasks are not repeated",
    _retry,
    body={
        "from": FROM,
        "on": ON,
    },
)
SUSPEND: Final = _change("suspend", "Suspend a run until it is resumed", _suspend)
RESUME: Final = _change("resume", "Resume a suspended run where it stopped", _resume)
REDELIVER: Final = _change("redeliver", "Send the callback of an ended run again", _redeliver)

OPERATIONS: Final = (
    *(LIST, SHOW, JOURNAL, EVENTS, FILES, FILE),
    *(CANCEL, RETRY, SUSPEND, RESUME, REDELIVER),
)
