"""Routing table of the live revisions: one dict lookup from a raw path to an API.

Built by `table_loader` when a revision goes live, read by every call. Invariant: a table is complete before
it is live, and a call uses one table from beginning to end.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from iogate import json_pointer
from iogate.auth.model import SignatureAuth, alternatives
from iogate.auth.secret_reader import Fingerprint, no_fingerprint
from iogate.auth.signature_schemes import SCHEMES
from iogate.compiler.revision import Callback, FaultHandler
from iogate.gateway.authentication.authenticator import Authenticator
from iogate.gateway.calls.allowed_addresses import AddressCheck, AddressFiles, file_path
from iogate.gateway.calls.call_files import FileRules
from iogate.gateway.calls.call_keys import KeyRules, input_pointers
from iogate.gateway.calls.rate_blocks import TOO_OFTEN
from iogate.gateway.calls.traffic_rules import TrafficRules
from iogate.gateway.http.responses import Response, not_allowed, too_many
from iogate.gateway.observability.metrics import Counts
from iogate.gateway.validation.schema import Schema
from iogate.store.revisions.origin import DEFAULT_PROJECT
from iogate.store.runs.run_ends import HANDLED, RunEnds, letters
from iogate.url_paths import reserved_for

if TYPE_CHECKING:
    from collections.abc import Iterable

    from iogate.compiler.revision import Api, Revision
    from iogate.gateway.authentication.key_sets import KeySets
    from iogate.gateway.http.client_address import TrustedProxies
    from iogate.gateway.http.request import Request
    from iogate.gateway.validation.call_input import Input
    from iogate.security.password_hashing import Hashing
    from iogate.store.revisions.projects import Live

_PROBED = ("GET", "POST", "HEAD", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT")


class Bucket:
    """Token bucket of one gateway for the rate limit of an API; refuses calls before the store has to.

    The store counts the calls of all gateways and decides; a bucket that is empty for one gateway is empty
    for all of them.
    """

    __slots__ = ("_burst", "_left", "_rate", "_seen_s", "_until_s")

    def __init__(self, rate: float, burst: int) -> None:
        self._rate, self._burst = rate, float(burst)
        self._left, self._seen_s, self._until_s = float(burst), time.monotonic(), 0.0

    def wait_s(self) -> float:
        """Return the seconds until the rate limit of a route allows a call; 0: it is allowed now."""
        now = time.monotonic()
        if now < self._until_s:
            return self._until_s - now
        self._left = min(self._burst, self._left + (now - self._seen_s) * self._rate)
        self._seen_s = now
        # Tolerance for the difference between two clocks.
        return 0.0 if self._left >= 0.99 else (1.0 - self._left) / self._rate

    def take(self) -> None:
        """Count an accepted call towards the rate limit of the route."""
        self._left -= 1.0

    def block(self, retry_after_s: float) -> None:
        """Refuse calls of the route, above its rate limit, until the store allows them again."""
        self._until_s = time.monotonic() + retry_after_s


@dataclass(frozen=True, kw_only=True)
class Shared:
    """Parts of a gateway process that all its routes share."""

    root: Path | None = None
    """The project's folder, which paths of files are relative to."""
    hashing: Hashing | None = None
    fingerprint: Fingerprint = no_fingerprint
    proxies: TrustedProxies | None = None
    key_sets: KeySets | None = None
    """Keys of the issuers of JWTs; None: each route has its own, which are never fetched."""
    address_files: AddressFiles = field(default_factory=AddressFiles)
    """Files of `allow_ips`, which many routes may name."""
    check_only: bool = False
    """Whether the routes serve no call and only check a revision: they read no secret and no file."""


class Route:
    """An API, with everything that is needed to check calls."""

    __slots__ = (
        "_refusals",
        "addresses",
        "after",
        "allow",
        "api",
        "attribute_pointers",
        "attributes",
        "authenticator",
        "blocks",
        "bucket",
        "callback_hosts",
        "callback_letters",
        "counts",
        "digest",
        "enabled",
        "files",
        "held",
        "idempotency_header",
        "keys",
        "options",
        "pointers",
        "schema",
        "subscribes",
        "traffic",
        "verbs",
        "wraps",
    )

    def __init__(
        self,
        api: Api,
        *,
        counts: Counts,
        shared: Shared,
    ) -> None:
        self.api = api
        self.digest = api.digest
        self.enabled = False
        self.held = False
        """Whether new runs are on hold, or are released gradually, as of the last read of the gates."""
        self.authenticator = Authenticator(
            api.auth,
            root=shared.root,
            hashing=shared.hashing,
            fingerprint=shared.fingerprint,
            key_sets=shared.key_sets,
            check_only=shared.check_only,
        )
        allowed = api.allow_ips
        self.addresses = (
            None
            if isinstance(allowed, msgspec.UnsetType)
            else AddressCheck(
                allowed,
                root=shared.root,
                proxies=shared.proxies,
                files=shared.address_files,
                check_only=shared.check_only,
            )
        )
        """None if every address may call."""
        schemes = {form.scheme for form in alternatives(api.auth) if isinstance(form, SignatureAuth)}
        self.wraps = any(scheme != "hmac" and SCHEMES[scheme].wraps for scheme in schemes)
        """Whether senders may wrap the body in a form."""
        self.subscribes = "meta" in schemes
        """Whether a GET may register the URL, whatever the verbs."""
        self.files = FileRules.of(api)
        """None if no call has files that are stored."""
        unchecked = api.input_schema in (None, True)
        self.schema = None if unchecked else Schema(api.input_schema, files=api.has_files)
        self.verbs = frozenset(api.verbs)
        self.allow = ", ".join(api.verbs)
        self.options = Response(204, b"", [(b"allow", f"{self.allow}, OPTIONS".encode())])
        header = api.idempotency.header
        self.idempotency_header = None if header is None else header.lower().encode()
        self.pointers = tuple(json_pointer.parse(pointer) for pointer in input_pointers(api))
        """Places of keys in the input."""
        self.attributes = tuple(api.indexed)
        self.attribute_pointers = tuple(map(json_pointer.parse, api.indexed.values()))
        """Places of attributes in the input, in the order of their names."""
        self.keys = KeyRules.of(api)
        """None if at most the header has a key, and none is required."""
        self.counts = counts
        self._refusals = {verb: not_allowed(verb, self.allow) for verb in _PROBED if verb not in self.verbs}
        rate = api.limits.rate
        per = api.limits.counted_by if rate else "api"
        self.bucket = Bucket(rate, api.limits.burst or max(1, int(rate))) if rate and per == "api" else None
        self.traffic = TrafficRules.of(api)
        """None unless the API has rules beyond its rate and its queue."""
        self.blocks = None if self.traffic is None else self.traffic.blocks
        callback = api.callback if isinstance(api.callback, Callback) else None
        handled = isinstance(api.on_fault, FaultHandler)
        self.callback_letters = letters(callback.on if callback is not None else (), handled=handled)
        """What follows the end of a run with a callback, for the store."""
        self.callback_hosts = callback.allow if callback is not None and not callback.url else None
        """Hosts that callers may name for a callback; None if callers name none."""
        self.after: RunEnds | None = None
        """What follows the end of a run whose call names no callback."""
        if callback is not None and callback.url:
            self.after = RunEnds(letters=self.callback_letters)
        elif handled:
            self.after = RunEnds(letters=HANDLED)

    @property
    def unset(self) -> tuple[str, ...]:
        """Messages about secrets and files that the API of the route lacks on this machine."""
        return self.authenticator.unset + (self.addresses.unset if self.addresses is not None else ())

    @property
    def has_changed_files(self) -> bool:
        """Whether a file of a route's secrets or allowed addresses has changed; calls stat on each file."""
        return self.authenticator.has_changed() or (
            self.addresses is not None and self.addresses.has_changed()
        )

    async def reload_files(self) -> None:
        """Read the secrets and allowed addresses of the route again, as far as their files have changed."""
        if self.authenticator.has_changed():
            self.authenticator = self.authenticator.renewed()
        if self.addresses is not None and self.addresses.has_changed():
            self.addresses = await asyncio.to_thread(self.addresses.renewed)

    def attributes_of(self, value: Input) -> dict[str, str]:
        """Return the attributes of a call of the route; those that its input does not have are absent."""
        found = zip(self.attributes, value.attributes, strict=True)
        return {name: text for name, text in found if text is not None}

    def body_limit(self, request: Request) -> int:
        """Return the limit of the body of a request to the route, in bytes."""
        return self.api.limits.body if self.files is None else self.files.limit(request)

    def refuse_verb(self, verb: str) -> Response:
        """Return the response to a verb that the route does not allow: a 405, or the one to OPTIONS."""
        if verb == "OPTIONS":
            return self.options
        return self._refusals.get(verb) or not_allowed(verb[:20], self.allow)

    def registers(self, request: Request) -> bool:
        """Tell whether a request with a verb that the route does not allow may register the URL."""
        signatures = self.authenticator.signatures
        return self.subscribes and signatures is not None and signatures.is_subscription(request)

    def check_rate(self) -> Response | None:
        """Return the 429 for a call above the rate limit of the route, else None."""
        if self.bucket is None or not (wait_s := self.bucket.wait_s()):
            return None
        return too_many(TOO_OFTEN, wait_s)


class Release:
    """Live revision of one project, with its routes."""

    __slots__ = ("digest", "header", "number", "project", "revision", "routes")

    def __init__(
        self, project: str, number: int, digest: str, revision: Revision, routes: Iterable[Route]
    ) -> None:
        self.project = project
        self.number = number
        self.digest = digest
        self.revision = revision
        self.routes = {route.api.id: route for route in routes}
        self.header = (b"x-iogate-revision", str(number).encode())


class Table:
    """All routes of the live revisions of all projects."""

    def __init__(self, releases: Iterable[Release]) -> None:
        self.releases = {each.project: each for each in releases}
        oldest_first = sorted(self.releases.values(), key=lambda each: each.number)
        self.number = max((each.number for each in oldest_first), default=0)
        """The newest of the live revisions."""
        self.version = frozenset((each.project, each.number, each.digest) for each in oldest_first)
        self.routes: dict[str, Route] = {}
        self.release_of: dict[str, Release] = {}
        """Release of each API. The newest one has it if a project could not be loaded, and lost it since."""
        self.paths: dict[bytes, tuple[Route, bool, Release]] = {}
        """Route of each raw path, whether the call waits for the end of its run, and the release.

        A path with percent-encoding, doubled slashes or other letter case is not found.
        """
        for release in oldest_first:
            for name, route in release.routes.items():
                self.routes[name] = route
                self.release_of[name] = release
                path = b"/v1/api/" + name.encode()
                self.paths[path + b"/async"] = (route, False, release)
                self.paths[path + b"/sync"] = (route, True, release)
        own = set()
        for release in oldest_first:
            for route in release.routes.values():
                # Only another release of iogate can have compiled a path that this one serves itself.
                if (chosen := route.api.own_path) is not None and not reserved_for(chosen[0]):
                    path = chosen[0].encode()
                    own.add(path)
                    self.paths.setdefault(path, (route, chosen[1] == "sync", release))
        self.own_paths = frozenset(own)
        """Paths that APIs have in addition to `/v1/api/{module}/{method}/async` and `/sync`."""

    @property
    def apis(self) -> dict[str, Api]:
        """All APIs of the routing table, by id, as live; a route may be older, with the same digest."""
        return {name: release.revision.apis[name] for name, release in self.release_of.items()}

    @property
    def enabled_apis(self) -> dict[str, Api]:
        """The APIs of the routing table that accept calls."""
        return {name: api for name, api in self.apis.items() if self.routes[name].enabled}

    @property
    def loaded(self) -> dict[str, int]:
        """Number of the live revision of each project in the routing table."""
        return {name: release.number for name, release in self.releases.items()}

    def enable(self, enabled: Iterable[str], held: Iterable[str] = ()) -> None:
        """Set the enabled APIs of the routing table and those with a hold, as read from the store."""
        names, holding = frozenset(enabled), frozenset(held)
        for name, route in self.routes.items():
            route.enabled = name in names
            route.held = name in holding

    @property
    def unset(self) -> dict[str, tuple[str, ...]]:
        """APIs of the routing table that lack secrets or files on this machine, and messages about these."""
        return {name: route.unset for name, route in self.routes.items() if route.unset}

    @property
    def fingerprints(self) -> dict[str, str]:
        """Fingerprint of each secret of the routed APIs, by its source."""
        found: dict[str, str] = {}
        for route in self.routes.values():
            found |= route.authenticator.fingerprints
        return found


def read_address_files(revision: Revision, *, before: Table | None, shared: Shared) -> None:
    """Read the files of allowed addresses for `build`, into `shared`; in a thread, since that takes long."""
    for api in revision.apis.values():
        if not isinstance(api.allow_ips, msgspec.UnsetType) and _unchanged(api, before) is None:
            for name in api.allow_ips.files:
                shared.address_files.read(file_path(name, shared.root))


def _unchanged(api: Api, before: Table | None) -> Route | None:
    """Return the route of an API in the routing table before, unless the API has changed since."""
    old = before.routes.get(api.id) if before is not None else None
    return old if old is not None and old.digest == api.digest else None


def build(
    live: Live,
    revision: Revision,
    *,
    counts: dict[str, Counts],
    before: Table | None,
    project: str = DEFAULT_PROJECT,
    shared: Shared,
) -> Release:
    """Build the routes of a revision; unchanged APIs keep theirs, with rate and cached credentials.

    Raises ValueError for a schema that cannot be compiled.
    """
    routes = []
    for name, api in revision.apis.items():
        old = _unchanged(api, before)
        if old is not None:
            routes.append(old)
        else:
            counted = counts.setdefault(name, Counts())
            routes.append(Route(api, counts=counted, shared=shared))
    return Release(project, *live, revision, routes)
