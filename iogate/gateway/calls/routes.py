"""The live revision as a routing table: one dict lookup from a raw path to all that judges the call.

Built by `refresh` when a revision is taken, read by every call. Invariant: a table is complete before
it is live, and a call is judged by one table from beginning to end.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from iogate.gateway.authentication.authenticator import Authenticator
from iogate.gateway.http.responses import Response, not_allowed, too_many
from iogate.gateway.observability.metrics import Counts
from iogate.gateway.validation.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Iterable

    from iogate.compiler.revision import Api, Revision
    from iogate.security.password_hashing import Hashing

_PROBED = ("GET", "POST", "HEAD", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT")


class Bucket:
    """What this gateway alone knows of an API's rate: it refuses early what the store would refuse.

    The store counts over all gateways and has the last word; a bucket that one gateway has emptied is
    empty for all of them.
    """

    __slots__ = ("_burst", "_left", "_rate", "_seen_s", "_until_s")

    def __init__(self, rate: float, burst: int) -> None:
        self._rate, self._burst = rate, float(burst)
        self._left, self._seen_s, self._until_s = float(burst), time.monotonic(), 0.0

    def wait_s(self) -> float:
        """Seconds until a call may pass; 0: now."""
        now = time.monotonic()
        if now < self._until_s:
            return self._until_s - now
        self._left = min(self._burst, self._left + (now - self._seen_s) * self._rate)
        self._seen_s = now
        # A hair of slack: two clocks that count one second never agree to the last digit.
        return 0.0 if self._left >= 0.99 else (1.0 - self._left) / self._rate

    def took(self) -> None:
        self._left -= 1.0

    def refused(self, retry_after_s: float) -> None:
        self._until_s = time.monotonic() + retry_after_s


class Route:
    """One API, ready to judge calls."""

    __slots__ = (
        "_refusals",
        "allow",
        "api",
        "authenticator",
        "bucket",
        "counts",
        "digest",
        "enabled",
        "idempotency_header",
        "options",
        "schema",
        "verbs",
    )

    def __init__(
        self, api: Api, *, counts: Counts, root: Path | None = None, hashing: Hashing | None = None
    ) -> None:
        self.api = api
        self.digest = api.digest
        self.enabled = False
        self.authenticator = Authenticator(api.auth, root=root, hashing=hashing)
        self.schema = None if api.input_schema in (None, True) else Schema(api.input_schema)
        self.verbs = frozenset(api.verbs)
        self.allow = ", ".join(api.verbs)
        self.options = Response(204, b"", [(b"allow", f"{self.allow}, OPTIONS".encode())])
        self.idempotency_header = api.idempotency.header.lower().encode()
        self.counts = counts
        self._refusals = {verb: not_allowed(verb, self.allow) for verb in _PROBED if verb not in self.verbs}
        rate = api.limits.rate
        self.bucket = None if not rate else Bucket(rate, api.limits.burst or max(1, int(rate)))

    def refuse_verb(self, verb: str) -> Response:
        if verb == "OPTIONS":
            return self.options
        return self._refusals.get(verb) or not_allowed(verb[:20], self.allow)

    def check_rate(self) -> Response | None:
        if self.bucket is None or not (wait_s := self.bucket.wait_s()):
            return None
        return too_many("The interface is called too often", wait_s)


class Table:
    """All routes of one revision."""

    def __init__(self, number: int, digest: str, revision: Revision, routes: Iterable[Route]) -> None:
        self.number = number
        self.digest = digest
        self.revision = revision
        self.routes = {route.api.id: route for route in routes}
        self.header = (b"x-iogate-revision", str(number).encode())
        self.paths: dict[bytes, tuple[Route, bool]] = {}
        """Raw path to its route, and whether the call waits for the end of its run.

        Raw: what is percent-encoded, doubled or in capitals is another path, and there is none.
        """
        for route in self.routes.values():
            path = b"/v1/api/" + route.api.id.encode()
            self.paths[path + b"/async"] = (route, False)
            self.paths[path + b"/sync"] = (route, True)

    def enable(self, enabled: Iterable[str]) -> None:
        """Set which APIs are enabled, as the store says."""
        names = frozenset(enabled)
        for name, route in self.routes.items():
            route.enabled = name in names

    @property
    def unset(self) -> dict[str, tuple[str, ...]]:
        """APIs that cannot be opened on this machine, and what they lack."""
        return {
            name: route.authenticator.unset
            for name, route in self.routes.items()
            if route.authenticator.unset
        }


def build(
    number: int,
    digest: str,
    revision: Revision,
    *,
    counts: dict[str, Counts],
    before: Table | None,
    root: Path | None = None,
    hashing: Hashing | None = None,
) -> Table:
    """Compile a revision into a table. What did not change keeps its route, and so its rate and memory."""
    routes = []
    for name, api in revision.apis.items():
        old = before.routes.get(name) if before is not None else None
        if old is not None and old.digest == api.digest:
            routes.append(old)
        else:
            counted = counts.setdefault(name, Counts())
            routes.append(Route(api, counts=counted, root=root, hashing=hashing))
    return Table(number, digest, revision, routes)
