"""The page of the system: its processes, its store, and sources of secrets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from iogate.gateway.console.formatting import json_text
from iogate.gateway.console.page import Page, Visit
from iogate.gateway.console.shell_lines import line

Json = Mapping[str, Any]
_KNOWN: Final = frozenset({"id", "host", "pid", "startedAt", "revision", "failed", "connected"})


async def show(visit: Visit) -> Any:
    """Show the store, the queue, gateways, workers, and sources of secrets."""
    state = await visit.call("status.show")
    processes = {
        kind: [{**each, "detail_text": _detail(each)} for each in state[kind]]
        for kind in ("gateways", "workers")
    }
    secrets = [each for each in state["secrets"] if isinstance(each, dict)]
    columns = list(dict.fromkeys(name for each in secrets for name in each))
    return await visit.show(
        "system.html",
        {
            "title": "System",
            "state": state | processes,
            "secret_columns": columns,
            "secrets": [[_text(each.get(name)) for name in columns] for each in secrets],
        },
        here="System",
        line=line("status"),
    )


def _detail(process: Json) -> str:
    return ", ".join(
        f"{name} {_text(value)}" for name, value in process.items() if name not in _KNOWN and value
    )


def _text(value: Any) -> str:
    match value:
        case None | False:
            return ""
        case True:
            return "yes"
        case list():
            return ", ".join(map(_text, value))
        case _:
            return json_text(value) if isinstance(value, str | dict) else str(value)


PAGES: Final = (Page(path="/console/system", handler=show),)
