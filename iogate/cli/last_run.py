"""Run that was started last in this terminal, which commands take as `@last`.

Written by `api call` and `schedule run`, read by each argument with a uid. Terminals are told apart by the
session of their processes. Invariant: a file that cannot be read or written prevents no command.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any, Final

import typer

from iogate.atomic_files import write_atomically
from iogate.errors import NotFound

LAST: Final = "@last"
NONE_STARTED: Final = "IOG825"
KEPT: Final = 50
"""Terminals that are remembered."""
KEPT_S: Final = 86_400
"""Time for which a run is remembered, since the number of a session may return."""


def remember(uid: str) -> None:
    """Remember a run that was started in this terminal as the last one, for `@last`."""
    path, now = _path(), int(time.time())
    if path is None:
        return
    known = {name: each for name, each in _read(path).items() if now - each[1] < KEPT_S}
    known.pop(_terminal(), None)
    newest = dict([*known.items(), (_terminal(), [uid, now])][-KEPT:])
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(path, json.dumps(newest) + "\n", mode=0o600)


def resolve(ctx: typer.Context, value: Any) -> Any:
    """Return an argument with the uid of the last run in place of `@last`.

    Raises NotFound if none was started in this terminal within a day.
    """
    if ctx.resilient_parsing or value is None:
        return value
    return _uid(value) if isinstance(value, str) else [_uid(each) for each in value]


def _uid(text: str) -> str:
    if text != LAST:
        return text
    found = _read(_path()).get(_terminal())
    if found is None or time.time() - found[1] > KEPT_S:
        raise NotFound(
            f"{LAST}: no run was started in this terminal in the last day",
            code=NONE_STARTED,
            hint="iogate api call and iogate schedule run start one; iogate runs list shows the others",
        )
    return str(found[0])


def _terminal() -> str:
    return str(os.getsid(0))


def _path() -> Path | None:
    """Return the file of the last runs; None for a user without HOME and without an account."""
    base = os.environ.get("XDG_STATE_HOME", "")
    try:
        home = Path(base) if base.startswith("/") else Path.home() / ".local" / "state"
    except RuntimeError:
        return None
    return home / "iogate" / "last_runs.json"


def _read(path: Path | None) -> dict[str, list[Any]]:
    """Return uid and time of the last run by terminal; entries of another form are left out."""
    if path is None:
        return {}
    try:
        found = json.loads(path.read_bytes())
        return {name: [str(uid), int(at)] for name, (uid, at) in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
