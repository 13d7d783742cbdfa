"""Routes of APIs: list, show, switch, and replay of a debug case."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from iogate.errors import Misused, Refused
from iogate.gateway.http.large_responses import PACED
from iogate.gateway.http.responses import NOT_ENABLED, STORE_DOWN, ErrorResponse, HTTPError
from iogate.gateway.operators.operation import Call, Operation
from iogate.gateway.operators.parameters import PROJECT
from iogate.gateway.runs.run_completion import until_end
from iogate.gateway.runs.run_reader import SMALL, read_data
from iogate.operators import apis, debug_cases, gates
from iogate.operators.activity import NAMED, Target, target
from iogate.operators.live_revision import ApiSelection, find_api, live_revision
from iogate.operators.roles import Role
from iogate.value_types.collection_types import Key, distinct
from iogate.value_types.scalar_types import boolean, duration, interval, rate, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from iogate.compiler.revision import Api, Example
    from iogate.store.store import Store

_PATH: Final = {"module": r"[\w.-]{1,100}", "method": r"[\w.-]{1,100}"}
_WAIT_MOST_S: Final = 30.0
_WAIT_S: Final = 5.0
_RATE: Final = Key(
    type=rate(),
    required=False,
    description="Release the runs on hold gradually: 50/s; default: at once.",
)


def _id(call: Call) -> str:
    return f"{call.path['module']}/{call.path['method']}"


def _target(call: Call) -> Target:
    return target("api", [_id(call)])


async def _list(call: Call) -> Any:
    return await apis.list_all(await call.project())


async def _show(call: Call) -> Any:
    return await apis.show(await call.project(), _id(call))


async def _override(call: Call) -> Any:
    given = call.given
    done = await gates.set_override(
        await call.project(),
        _id(call),
        enabled=given["enabled"],
        hold=given.get("hold", False),
        rate=given.get("rate"),
        ttl_s=given.get("ttl"),
        author=call.actor.name,
        reason=call.reason,
        version=call.version,
    )
    call.record.note = gates.describe_changes([done["change"]])
    return done


async def _restore(call: Call) -> Any:
    return await gates.clear_override(
        await call.project(), _id(call), rate=call.given.get("rate"), version=call.version
    )


async def _debug(call: Call) -> Any:
    store = await call.project()
    _, revision = await live_revision(store)
    api = find_api(revision, _id(call))
    case = debug_cases.find_case(api, call.path["case"])
    found = await _replay(call, store, api, case)
    verdict = {None: "has not ended", True: "passed", False: "failed"}[found["passed"]]
    call.record.note = f"case {case.name!r} {verdict}" + (f", run {found['uid']}" if found["uid"] else "")
    return found


async def _replay(call: Call, store: Store, api: Api, case: Example) -> Mapping[str, Any]:
    """Replay a debug case for its route: send the call, wait for its run, and return the result.

    Raises Refused if the API is disabled, HTTPError if the gateway or the store cannot take the call.
    """
    calls = call.state.operator_calls
    if calls is None:
        raise HTTPError(STORE_DOWN)
    started_s = time.monotonic()
    verdict = await calls.send(api, case, call.actor.name, call.id)
    if isinstance(verdict, ErrorResponse):
        if verdict is NOT_ENABLED:
            raise Refused(f"{api.id} is disabled", hint="enable it, or replay the case with `iogate test`")
        if verdict.status >= 500:
            raise HTTPError(verdict)
        return debug_cases.case_result(
            api, case, http=verdict.status, message=verdict.message, took_s=time.monotonic() - started_s
        )
    wait_s = call.given.get("wait", _WAIT_S)
    run = await until_end(call.state, store, verdict.uid, wait_s)
    if run is None:
        run = await store.runs.show(verdict.uid, most=SMALL)
    if run is not None:
        run = await read_data(store, run, call.scope[PACED].sending)
    if run is None:
        raise HTTPError(STORE_DOWN)
    took_s = time.monotonic() - started_s
    return debug_cases.case_result(api, case, http=202, run=run, coalesced=verdict.coalesced, took_s=took_s)


async def _overrides(call: Call) -> Any:
    return await gates.list_overrides(await call.project())


async def _switch(call: Call) -> Any:
    given = call.given
    selection = ApiSelection(
        apis=given.get("apis", ()),
        modules=given.get("modules", ()),
        tags=given.get("tags", ()),
        all_=given.get("all", False),
    )
    if given.get("hold") and given.get("rate") is not None:
        raise Misused("a hold has no rate: a rate releases the runs on hold")
    done = await gates.switch(
        await call.project(),
        selection,
        enabled=given["enabled"],
        hold=given.get("hold", False),
        rate=given.get("rate"),
        ttl_s=given.get("ttl"),
        author=call.actor.name,
        reason=call.reason,
        confirmed=given.get("confirmed"),
    )
    call.record.note, call.record.count = gates.describe_changes(done["changes"]), len(done["changes"])
    if selection.by_criteria and done["apis"]:
        call.record.note += f": {' '.join(done['apis'][:NAMED])}"
    return done


async def _clear(call: Call) -> Any:
    done = await gates.clear_overrides(
        await call.project(), call.given.get("apis"), rate=call.given.get("rate")
    )
    call.record.count = len(done["cleared"])
    return done


def _named(call: Call) -> Target:
    return target("api", call.given.get("apis", ()))


_IDS: Final = distinct(text(), "a list of ids, each once")
_HOLD: Final = Key(
    type=boolean(),
    required=False,
    description="Start no new run; with `enabled`, calls are accepted and stored.",
)
_TTL: Final = Key(type=interval(), required=False, description="End the override after this time: 2h.")

OPERATIONS: Final = (
    Operation(
        name="overrides.list",
        method="GET",
        path="/v1/overrides",
        role=Role.READ,
        summary="List the APIs with an override",
        handler=_overrides,
        query={"project": PROJECT},
    ),
    Operation(
        name="overrides.switch",
        method="POST",
        path="/v1/overrides",
        role=Role.OPERATE,
        summary="Enable, disable or hold several APIs in one step, effective on all gateways",
        handler=_switch,
        body={
            "apis": Key(type=_IDS, required=False, description="Ids of APIs."),
            "modules": Key(type=_IDS, required=False, description="All APIs of these modules."),
            "tags": Key(type=_IDS, required=False, description="All APIs with one of these tags."),
            "all": Key(type=boolean(), required=False, description="All live APIs of the project."),
            "enabled": Key(type=boolean(), description="Whether the APIs accept calls."),
            "hold": _HOLD,
            "rate": _RATE,
            "ttl": _TTL,
            "confirmed": Key(
                type=_IDS,
                required=False,
                description="Ids of the APIs that are expected to be selected; otherwise nothing changes.",
            ),
            "project": PROJECT,
        },
        action="apis.override",
        target=_named,
        frees_memory=True,
    ),
    Operation(
        name="overrides.clear",
        method="DELETE",
        path="/v1/overrides",
        role=Role.OPERATE,
        summary="End the overrides of APIs, or of all",
        handler=_clear,
        query={
            "apis": Key(type=_IDS, required=False, description="Ids of APIs; default: all with an override."),
            "rate": _RATE,
            "project": PROJECT,
        },
        action="apis.restore",
        target=_named,
        frees_memory=True,
    ),
    Operation(
        name="apis.list",
        method="GET",
        path="/v1/apis",
        role=Role.READ,
        summary="List the live APIs with state, override and number of runs",
        handler=_list,
        query={"project": PROJECT},
    ),
    Operation(
        name="apis.show",
        method="GET",
        path="/v1/apis/{module}/{method}",
        path_types=_PATH,
        role=Role.READ,
        summary="Show the whole contract of an API, its state and its debug cases",
        handler=_show,
        query={"project": PROJECT},
        version=gates.version_of,
    ),
    Operation(
        name="apis.override",
        method="PUT",
        path="/v1/apis/{module}/{method}/override",
        path_types=_PATH,
        role=Role.OPERATE,
        summary="Enable, disable or hold an API, effective on all gateways when the response is sent",
        handler=_override,
        body={
            "enabled": Key(type=boolean(), description="Whether the API accepts calls."),
            "hold": _HOLD,
            "rate": _RATE,
            "ttl": _TTL,
            "project": PROJECT,
        },
        action="apis.override",
        target=_target,
        version=gates.version_of,
        takes_version=True,
        frees_memory=True,
    ),
    Operation(
        name="apis.restore",
        method="DELETE",
        path="/v1/apis/{module}/{method}/override",
        path_types=_PATH,
        role=Role.OPERATE,
        summary="End the override of an API, so that the state in git applies; runs on hold start",
        handler=_restore,
        query={"rate": _RATE, "project": PROJECT},
        action="apis.restore",
        target=_target,
        version=gates.version_of,
        takes_version=True,
        frees_memory=True,
    ),
    Operation(
        name="apis.debug",
        method="POST",
        path="/v1/apis/{module}/{method}/debug/{case}",
        path_types=_PATH,
        role=Role.OPERATE,
        summary="Replay a debug case of an API, with a real run, and compare the result with its expectation",
        handler=_debug,
        body={
            "wait": Key(
                type=duration(0, _WAIT_MOST_S),
                required=False,
                description="Longest time to wait for the end of the run; default: 5s.",
            ),
            "project": PROJECT,
        },
        action="apis.debug",
        target=_target,
        limit_s=_WAIT_MOST_S + 10,
    ),
)
