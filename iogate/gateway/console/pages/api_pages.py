"""Pages of APIs: the list, one API with its contract, and the forms that enable and disable it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any, Final

from iogate.gateway.console.formatting import duration, size
from iogate.gateway.console.json_tree import tree
from iogate.gateway.console.page import Page, Visit, new_key
from iogate.gateway.console.shell_lines import line
from iogate.gateway.observability import openapi
from iogate.gateway.pages import api_docs
from iogate.operators import gates, statistics
from iogate.operators.roles import Role
from iogate.store.revisions.gate_states import state_of

Json = Mapping[str, Any]
HERE: Final = "APIs"
LAST: Final = 10


def _state(api: Json) -> str:
    return state_of(enabled=api["enabled"], held=api["held"])


def why(api: Json) -> str:
    """Say on the page of an API why it is in its state."""
    override = api["override"]
    reason = f": {override['reason']}" if override and override["reason"] else ""
    words = {
        "enabled": "Accepts calls",
        "disabled": "Refuses calls",
        "held": "Accepts calls, and starts no run",
        "disabled, held": "Refuses calls, and starts no run",
    }
    text = words[_state(api)]
    if override:
        return f"{text} by an override of {override['author']}{reason}."
    if api.get("releasePerS"):
        return f"Releases {api['releasePerS']:g} runs on hold per second."
    switched = api.get("switched")
    if switched:
        return f"{text}: switched by {switched['author']}" + (
            f": {switched['reason']}." if switched["reason"] else "."
        )
    return f"{text}, as in git."


async def show_list(visit: Visit) -> Any:
    """Show all live APIs with their state and the counts of the last day."""
    found, stats = await asyncio.gather(visit.call("apis.list"), visit.ask(statistics.run_statistics))
    counts = {each["api"]: each for each in stats["apis"]}
    apis = [
        {
            **each,
            "state": _state(each),
            "why": why(each) if each["override"] or each["held"] else "",
            "counts": counts.get(each["api"]),
        }
        for each in found["apis"]
    ]
    values = {"title": "APIs", "revision": found["revision"], "apis": apis, "has_counts": True}
    return await visit.show("apis.html", values, here=HERE, line=line("api", "list"))


async def show(visit: Visit) -> Any:
    """Show one API."""
    path = {name: visit.path[name] for name in ("module", "method")}
    name = f"{path['module']}/{path['method']}"
    api, runs, stats, errors = await asyncio.gather(
        visit.call("apis.show", path=path),
        visit.call("runs.list", given={"api": name, "limit": str(LAST)}),
        visit.ask(lambda store: statistics.run_statistics(store, api=name)),
        visit.ask(lambda store: statistics.error_groups(store, api=name)),
    )
    counts = next((each for each in stats["apis"] if each["api"] == name), None)
    return await visit.show(
        "api.html",
        {
            "api": api,
            "state": _state(api),
            "why": why(api),
            "url": f"/console/apis/{name}",
            "facts": list(_facts(api)),
            "counts": counts,
            "curl": await asyncio.to_thread(_curl, visit, name, api["path"]),
            "runs": runs["runs"],
            "groups": errors["errors"][:LAST],
            "document": tree(api["document"]),
            "cases": [
                {**each, "shown": tree(each.get("body", each.get("query")))} for each in api["debugCases"]
            ],
            "may": visit.may(Role.OPERATE),
            "operation": new_key(),
            "version": gates.version_of(api),
        },
        here=HERE,
        line=line("api", "show", name),
    )


def _curl(visit: Visit, name: str, path: str) -> str | None:
    """Return the command on the page of an API that calls it, with shell variables for credentials."""
    state = visit.console.state
    route = None if state.table is None else state.table.routes.get(name)
    if state.table is None or route is None:
        return None
    document = openapi.document({name: route.api}, number=state.table.number, server=state.public_url)
    return api_docs.curl_line(document, path)


def _facts(api: Json) -> Iterator[tuple[str, str]]:
    limits = api["limits"]
    yield "Path", f"{', '.join(api['verbs'])} {api['ownPath'] or api['path']}"
    yield "Credentials", api["auth"]
    yield "Queued", f"{api['queued']:,}" + (f" of {limits['queued']:,}" if limits["queued"] else "")
    yield "Running", f"{api['running']:,}" + (f" of {limits['running']:,}" if limits["running"] else "")
    if limits["rate"]:
        yield "Rate", f"{limits['rate']:g}/s per {limits['per']}"
    if limits["body"]:
        yield "Body", f"at most {size(limits['body'])}"
    timeout_s = api["timeoutS"]
    yield "Timeout", duration(None if timeout_s is None else timeout_s * 1000)
    yield "Retention", duration(api["retentionS"] * 1000)


async def _change(visit: Visit, name: str, **given: Any) -> str:
    """Execute a change of the API as its form says, and return the URL of its page."""
    path = {each: visit.path[each] for each in ("module", "method")}
    form = visit.form
    await visit.call(
        name,
        path=path,
        key=form.get("operation") or new_key(),
        version=form.get("version"),
        given={**given, "reason": form.get("reason", "")},
    )
    return f"/console/apis/{path['module']}/{path['method']}"


async def enable(visit: Visit) -> Any:
    """Enable an API as its form says."""
    return visit.done(await _change(visit, "apis.override", enabled=True), "enable")


async def disable(visit: Visit) -> Any:
    """Disable an API, or hold its runs, as its form says."""
    hold = bool(visit.form.get("hold"))
    url = await _change(visit, "apis.override", enabled=hold, hold=hold, ttl=visit.form.get("ttl"))
    return visit.done(url, "hold" if hold else "disable")


async def restore(visit: Visit) -> Any:
    """Remove the override of an API."""
    return visit.done(await _change(visit, "apis.restore"), "restore")


async def replay(visit: Visit) -> Any:
    """Call an API with one of its debug cases, and show how the result differs from the expectation."""
    path = {each: visit.path[each] for each in ("module", "method")}
    form, name = visit.form, f"{visit.path['module']}/{visit.path['method']}"
    result = await visit.call(
        "apis.debug",
        path={**path, "case": form.get("case", "")},
        key=form.get("operation") or new_key(),
        given={"reason": form.get("reason", "")},
    )
    return await visit.show(
        "case.html",
        {
            "result": result,
            "api": name,
            "expected": tree(result["expect"].get("output")) if result["expect"] else None,
            "output": tree(result["output"]),
        },
        here=HERE,
        line=line("debug", name, options={"name": result["name"]}),
    )


_ONE: Final = "/console/apis/{module:str}/{method:str}"
PAGES: Final = (
    Page(path="/console/apis", handler=show_list),
    Page(path=_ONE, handler=show),
    *(
        Page(
            path=f"{_ONE}/{verb}",
            handler=handler,
            method="POST",
            role=Role.OPERATE,
            form_on="/console/apis/{module}/{method}",
        )
        for verb, handler in (
            ("replay", replay),
            ("enable", enable),
            ("disable", disable),
            ("restore", restore),
        )
    ),
)
