"""Parsing of the setting `redis_url`: one server, or the sentinels of a replicated store.

    redis://[USER:PASSWORD@]HOST[:PORT][/DB]          rediss://… with TLS; unix:///PATH
    redis+sentinel://[USER:PASSWORD@]HOST[:PORT],HOST…/NAME[/DB]
        [?db=0&sentinel_username=USER&sentinel_password=PASSWORD]

Used by the settings, the store, the effects and the command line. Pure. Invariant: no message shows a
password.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from iogate.errors import Misused

PORT: Final = 6379
SENTINEL_PORT: Final = 26379
PATTERN: Final = r"(rediss?(\+sentinel)?|unix)://\S+"

_SENTINEL = re.compile(
    r"(?P<scheme>rediss?)\+sentinel://(?:(?P<user>[^@/?]*)@)?(?P<hosts>[^@/?]+)"
    r"/(?P<name>[^/?]+)(?:/(?P<db>\d+))?/?(?:\?(?P<query>.*))?"
)
_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s:\[\],]+)(?::(?P<port>\d{1,5}))?")

Host = tuple[str, int]


@dataclass(frozen=True, kw_only=True)
class Sentinels:
    """Address of a store whose primary is found through Redis Sentinel."""

    name: str
    """Name of the primary in the sentinels' `sentinel monitor`."""
    hosts: tuple[Host, ...]
    tls: bool
    username: str
    """User of the sentinels themselves; empty: none."""
    password: str
    _credentials: str
    _options: str

    def server_url(self, host: str, port: int) -> str:
        """Return the `redis_url` of one server of the store, with user, password and options."""
        bracketed = f"[{host}]" if ":" in host else host
        return f"{'rediss' if self.tls else 'redis'}://{self._credentials}{bracketed}:{port}/{self._options}"

    def sentinel_url(self, host: str, port: int) -> str:
        """Return the URL of one sentinel of a `redis_url`, with the sentinels' own user and password."""
        user = f"{quote(self.username, safe='')}:{quote(self.password, safe='')}@" if self.password else ""
        bracketed = f"[{host}]" if ":" in host else host
        query = urlencode([pair for pair in self.options if pair[0] != "db"])
        return (
            f"{'rediss' if self.tls else 'redis'}://{user}{bracketed}:{port}/{'?' + query if query else ''}"
        )

    @property
    def options(self) -> list[tuple[str, str]]:
        """Options in the query of a `redis_url`, such as those of TLS."""
        return parse_qsl(self._options.lstrip("?"), keep_blank_values=True)

    def __str__(self) -> str:
        shown = ",".join(f"{f'[{host}]' if ':' in host else host}:{port}" for host, port in self.hosts)
        return f"{self.name} of the sentinels {shown}"


def sentinels(url: str) -> Sentinels | None:
    """Return the sentinels of a `redis_url`; None for the URL of a server.

    Raises Misused for a sentinel URL without hosts or the name of the primary.
    """
    if "+sentinel://" not in url:
        return None
    parts = _SENTINEL.fullmatch(url)
    named = [_HOST.fullmatch(each) for each in parts["hosts"].split(",")] if parts else []
    if parts is None or not all(named):
        raise Misused(
            "redis_url is not a Sentinel address",
            code="IOG611",
            hint="redis+sentinel://HOST:PORT,HOST:PORT/NAME, with the NAME of `sentinel monitor`",
        )
    query = dict(parse_qsl(parts["query"] or "", keep_blank_values=True))
    username, password = query.pop("sentinel_username", ""), query.pop("sentinel_password", "")
    if parts["db"]:
        query["db"] = parts["db"]
    return Sentinels(
        name=unquote(parts["name"]),
        hosts=tuple((each["host"].strip("[]"), int(each["port"] or SENTINEL_PORT)) for each in named if each),
        tls=parts["scheme"] == "rediss",
        username=username,
        password=password,
        _credentials=f"{parts['user']}@" if parts["user"] else "",
        _options=f"?{urlencode(query)}" if query else "",
    )


def hosts(url: str) -> list[Host]:
    """Return hosts and ports in a `redis_url`; empty for a unix socket. Raises as `sentinels` does."""
    if (found := sentinels(url)) is not None:
        return list(found.hosts)
    parts = urlsplit(url)
    return (
        [(parts.hostname or "localhost", parts.port or PORT)] if parts.scheme in {"redis", "rediss"} else []
    )


def passwords(url: str) -> list[str]:
    """Return each password in a `redis_url`, encoded and decoded."""
    found = sentinels(url)
    given = re.search(r"//[^/@:]*:([^/]*)@", url)
    texts = [given[1], unquote(given[1])] if given else []
    if found is not None and found.password:
        texts += [found.password, quote(found.password, safe="")]
    return list(dict.fromkeys(text for text in texts if text))


def username(url: str) -> str:
    """Return the user name in a `redis_url`; `default` if there is none."""
    given = re.search(r"//([^/@:]*)(?::[^/]*)?@", url)
    return unquote(given[1]) if given and given[1] else "default"
