"""What `up` prints once it serves: revision, store, URL, a row per API, and one curl line that works."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from iogate.cli.apis.examples import Example
from iogate.cli.render import Table
from iogate.settings.redis_url import mask


@dataclass(frozen=True, kw_only=True)
class Row:
    """One API as a person who just started it needs to see it."""

    api: str
    verbs: tuple[str, ...]
    auth: str
    enabled: bool
    unset: tuple[str, ...] = ()
    """What is missing of its secrets."""
    auth_data: Any = None
    """`auth` in the form of documents."""
    example: Example | None = None
    """A call that it accepts; None: none could be made."""

    @property
    def path(self) -> str:
        return f"/v1/api/{self.api}/async"

    @property
    def state(self) -> str:
        if self.unset:
            return "; ".join(self.unset)
        return "enabled" if self.enabled else f"iogate enable {self.api}"

    def to_json(self) -> dict[str, Any]:
        return {
            "api": self.api,
            "verbs": list(self.verbs),
            "path": self.path,
            "auth": self.auth,
            "enabled": self.enabled,
            "unset": list(self.unset),
        }


def parts(
    *,
    url: str,
    store: str,
    revision: int | None,
    rows: Iterable[Row],
    events: str | None = None,
    schedules: Table | None = None,
) -> list[Table | str]:
    """The whole banner, for a screen to show; `events` says who may send them, None: nobody."""
    rows = list(rows)
    scheduled: list[Table | str] = [] if schedules is None else ["", schedules]
    head = [
        "",
        f"revision  {revision if revision is not None else 'none yet'}",
        f"store     {mask(store)}",
        f"URL       {url}",
        *([] if events is None else [f"events    {url}/v1/events ({events})"]),
        "",
    ]
    if not rows:
        if scheduled:
            return ["\n".join(head), *scheduled[1:], ""]
        return ["\n".join(head), 'no APIs yet: "iogate init" writes a first one']
    table = Table(
        columns=("verbs", "path", "auth", "state"),
        rows=[(", ".join(row.verbs), row.path, row.auth, row.state) for row in rows],
    )
    line = easiest_call(rows, url)
    return ["\n".join(head), table, *scheduled, *(["", line, ""] if line else [])]


def easiest_call(rows: Iterable[Row], url: str) -> str | None:
    """The curl line that needs the least; None if each would need a secret in clear or has no example."""
    return next((line for row in _by_ease(rows) if (line := curl_line(row, url)) is not None), None)


def _by_ease(rows: Iterable[Row]) -> list[Row]:
    """Those that need the least first: enabled, then without credentials."""
    return sorted(
        (row for row in rows if not row.unset), key=lambda row: (not row.enabled, row.auth_data != "none")
    )


def curl_line(row: Row, url: str) -> str | None:
    """A call that works when pasted; None if it would need a secret in clear or there is no example."""
    headers, example = _headers(row.auth_data), row.example
    if headers is None or example is None:
        return None
    address = url.removeprefix("http://") + row.path
    if example.query:
        address = shlex.quote(f"{address}?{example.query}")
    if example.content_type is not None:
        headers += f"-H {shlex.quote('Content-Type: ' + example.content_type)} "
    data = ""
    if example.body_file is not None:
        data = f"--data-binary {shlex.quote('@' + example.body_file)} "
    elif example.body is not None:
        data = f"-d {shlex.quote(example.body)} "
    call = f"curl {headers}{data}{address}"
    return call if row.enabled else f"iogate enable {row.api} && {call}"


def _headers(auth: Any) -> str | None:
    """Options of curl that read each secret where it is; None where that cannot be written."""
    match auth:
        case "none":
            return ""
        case {"token": secret}:
            return _header("token", secret)
        case {"tokens": Mapping() as tokens}:
            return next((made for each in tokens.values() if (made := _header("token", each))), None)
        case {"user": str(user), "password": secret}:
            return _user(user, secret)
        case {"users": Mapping() as users}:
            return next((made for user, each in users.items() if (made := _user(user, each))), None)
        case {"any": list() as forms}:
            return next((made for form in forms if (made := _headers(form)) is not None), None)
    return None


def _user(user: str, secret: Any) -> str | None:
    password = _header("password", secret)
    return f"-H {shlex.quote('user: ' + user)} {password}" if password else None


def _header(name: str, secret: Any) -> str | None:
    for each in secret if isinstance(secret, list) else [secret]:
        match each:
            case {"env": str(variable)}:
                return f'-H "{name}: ${variable}" '
            case {"file": str(path)}:
                return f'-H "{name}: $(cat {shlex.quote(path)})" '
    return None
