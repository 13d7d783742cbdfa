"""Requests of the campaign `fuzzed_credentials`, each with the responses that are right."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass

from tests.faults import fuzzed_targets, raw_http
from tests.faults.fuzzed_identities import JUNK, Headers, Identity, cased
from tests.faults.fuzzed_targets import META_VERIFY, Target

METHODS = (
    "GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "QUERY", "PURGE", "get",
    "post", "Post", "P0ST", "PO-ST", "POST_", "A" * 300, "M-SEARCH", "CONNECT", "PRI", "LINK", "DEBUG",
)  # fmt: skip
UNSIGNED = {"content-type", "x-github-event", "x-github-delivery"}
"""Headers of signed calls that prove nothing, and may be repeated."""
MARKS: tuple[Headers, ...] = (
    [("origin", "http://evil.example")],
    [("sec-fetch-site", "cross-site")],
    [("referer", "http://evil.example/page")],
)
NOISE: tuple[Headers, ...] = (
    [("x-http-method-override", "POST"), ("x-method-override", "POST")],
    [("x-original-url", "/v1/api/open/none/async"), ("x-rewrite-url", "/v1/api/open/none/async")],
    [("x-forwarded-for", "10.0.0.1"), ("forwarded", "for=10.0.0.1"), ("x-real-ip", "10.0.0.1")],
    [("remote-user", "ada"), ("x-forwarded-user", "ada"), ("x-authenticated-user", "ada")],
    [("connection", "keep-alive, token, authorization, user, password")],
    [("x-forwarded-host", "localhost"), ("x-forwarded-proto", "https"), ("x-forwarded-prefix", "/v1")],
    [("cookie", "session=1; token=x; authorization=Bearer x")],
    [("accept", "*/*"), ("user-agent", "fuzz"), ("accept-language", "en")],
    [("x-amzn-oidc-identity", "ada"), ("x-client-cert", "MII"), ("ssl-client-verify", "SUCCESS")],
    [("upgrade", "h2c"), ("http2-settings", "AAMAAABkAAQAAP__")],
    [("x-junk", "\xff\xfe" * 40)],
    [("expect", "200-ok")],
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Fuzzed:
    """A request, and the responses that are right."""

    kind: str
    data: bytes
    method: str = "POST"
    may: bool = False
    """Whether it may be accepted."""
    must: bool = False
    """Whether it may only be accepted."""
    exactly: int | None = None
    """The only status that is right, apart from a 429."""
    malformed: bool = False
    """Whether the server may close the connection without a response."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run of a target, with its signed link."""

    target: Target
    uid: str
    link: str


class Generator:
    """Source of requests that the seed determines."""

    def __init__(self, port: int, runs: list[Run]) -> None:
        self._identities, self._targets = fuzzed_targets.built()
        self._host = f"localhost:{port}"
        self._paths = {path: target for target in self._targets for path in target.paths}
        self._runs = runs

    @property
    def targets(self) -> list[Target]:
        return self._targets

    def good(self, target: Target, chance: random.Random) -> Fuzzed:
        """Return a valid call."""
        body = as_json(chance.randrange(10**9))
        headers = self._valid(target, chance, body) if target.accepts else []
        return Fuzzed(
            kind="good", data=self._bytes("POST", target.paths[0], headers, body), may=True, must=True
        )

    def next(self, chance: random.Random) -> Fuzzed:
        """Return the next request."""
        kind = chance.random()
        if kind < 0.15 and self._runs:
            return self._of_run(chance)
        if kind < 0.17:
            return self._subscription(chance)
        target = chance.choices(self._targets, [each.weight for each in self._targets])[0]
        return self._call(target, chance)

    def _valid(self, target: Target, chance: random.Random, body: bytes) -> Headers:
        return self._identities[chance.choice(sorted(target.accepts))].valid(chance, body)

    def _bytes(
        self, method: str, path: str, headers: Headers, body: bytes | None, version: str = "1.1"
    ) -> bytes:
        return raw_http.request(method, path, [("host", self._host), *headers], body, version=version)

    def _credentials(
        self, target: Target, chance: random.Random, body: bytes
    ) -> tuple[str, Headers, set[str], bool]:
        """Return their kind, headers, the identities that they prove, and whether they are unambiguous."""
        others = [each for each in self._identities.values() if each.name not in target.accepts]
        own = [self._identities[each] for each in sorted(target.accepts)] or others
        kind = chance.choices(
            ["good", "broken", "other", "none", "several", "twice"], [30, 35, 12, 5, 10, 8]
        )[0]
        one: Identity = chance.choice(own if kind in {"good", "broken", "twice"} else others)
        match kind:
            case "good":
                if not target.accepts:
                    return kind, [], set(), True
                return kind, one.valid(chance, body), {one.name}, True
            case "broken":
                return kind, one.broken(chance, body), set(), False
            case "other":
                return kind, one.valid(chance, body), {one.name}, True
            case "none":
                return kind, [], set(), True
        two = chance.choice([*own, *others])
        headers = one.valid(chance, body)
        more = two.valid(chance, body) if kind == "several" else one.broken(chance, body)
        if kind == "twice":
            name, value = chance.choice(headers)
            more = [(cased(name, chance), chance.choice([value, value + "x", chance.choice(JUNK)]))]
        merged = headers + more
        chance.shuffle(merged)
        names = Counter(name.lower() for name, _ in merged)
        once = {name for name, count in names.items() if count == 1} | UNSIGNED
        proven = {one.name} if all(name.lower() in once for name, _ in headers) else set()
        if kind == "several" and all(name.lower() in once for name, _ in more):
            proven.add(two.name)
        return kind, merged, proven, False

    def _call(self, target: Target, chance: random.Random) -> Fuzzed:
        unusual = chance.random() < 0.12
        method = chance.choice(METHODS if unusual else target.verbs)
        body = as_json(chance.randrange(10**9))
        sent = body if method == "POST" else b""
        kind, headers, proven, certain = self._credentials(target, chance, sent)
        path, maybe = chance.choice(target.paths), False
        if chance.random() < 0.15:
            kind, (path, maybe) = "path", _mutated(path, chance)
        if unusual:
            kind = "method"
        if chance.random() < 0.05:
            path += chance.choice(
                ["?", "?a=b", "?token=Tok-a-aaaaaaaaa", "?sig=x", "?user=ada&password=x", "?%00=%ff"]
            )
            certain = False
        body_sent = None if method == "GET" and chance.random() < 0.9 else body
        return self._request(
            kind, chance, method=method, path=path, headers=headers, body=body_sent, proven=proven,
            certain=certain, maybe=maybe,
        )  # fmt: skip

    def _request(
        self,
        kind: str,
        chance: random.Random,
        *,
        method: str,
        path: str,
        headers: Headers,
        body: bytes | None,
        proven: set[str],
        certain: bool,
        maybe: bool,
    ) -> Fuzzed:
        """Return a call with what may be wrong beside path, method and credentials."""
        plain = path.partition("?")[0].partition("#")[0]
        target = self._paths.get(plain[plain.index("/v1") :] if maybe and "://" in plain else plain)
        may = False
        if target is not None and method in target.verbs and not target.is_closed:
            accepted = {
                each
                for each in proven & target.accepts
                if method == "POST" or not self._identities[each].is_signature
            }
            may = target.is_open or bool(accepted)
        must = may and certain and not maybe
        named = {name.lower() for name, _ in headers}
        if chance.random() < 0.04:
            kind, headers, must = "cross-origin", headers + chance.choice(MARKS), False
            # A browser adds one header of its own; a page that adds another has to ask first.
            given = [value.lower() for name, value in headers if name.lower() == "authorization"]
            if (given and all("basic" in each for each in given)) or (
                target is not None and target.is_open and named.isdisjoint({"authorization", "token", "user"})
            ):
                may = False
        if chance.random() < 0.1:
            headers, must = headers + chance.choice(NOISE), False
        malformed = False
        host = [("host", self._host)]
        if chance.random() < 0.04:
            kind, must = "host", False
            host = chance.choice(
                [
                    [("host", "evil.example")],
                    [("Host", self._host)] * 2,
                    [("host", "localhost, evil.example")],
                ]
            )
            may = False
        if chance.random() < 0.01:
            # The connection closes with the body unread, so that the response may be lost.
            kind, may, must, malformed = "large headers", False, False, True
            headers = [*headers, ("x-large", "x" * 33_000)]
        if chance.random() < 0.02:
            name = chance.choice(["to ken", "token\0", "", "tok\xe9n", "authorization ", "token\t"])
            kind, may, must, malformed = "malformed header", False, False, True
            headers = [*headers, (name, "Tok-a-aaaaaaaaa")]
        # `/sync` would wait for the end of the run, which no worker ends.
        lines = [*host, ("prefer", "wait=0"), *headers]
        version = "1.0" if chance.random() < 0.01 else "1.1"
        malformed = malformed or kind in {"path", "method"}
        return Fuzzed(
            kind=kind, data=raw_http.request(method, path, lines, body, version=version), method=method,
            may=may, must=must, malformed=malformed,
        )  # fmt: skip

    def _of_run(self, chance: random.Random) -> Fuzzed:
        """Return a request for a run: with credentials of its API, of others, or with a signed link."""
        run = chance.choice(self._runs)
        target = run.target
        kind, headers, proven, certain = self._credentials(target, chance, b"")
        signed = {name for name in proven if self._identities[name].is_signature}
        may = target.is_open or bool((proven - signed) & target.accepts)
        must = may and certain
        method, path = "GET", f"/v1/runs/{run.uid}"
        what = chance.random()
        if what < 0.3:
            method, path = "HEAD", f"{path}/events"
        elif what < 0.5:
            kind, method, path = "cancel", "POST", f"{path}/cancel"
        exactly = None if may else 404
        if chance.random() < 0.1:
            mutated = chance.choice(
                [f"{path}/", path.upper(), f"{path}%20", f"/{path}", f"{path}x", path + "/../.."]
            )
            return Fuzzed(kind="run, path", data=self._bytes("GET", mutated, headers, None), malformed=True)
        if chance.random() < 0.15:
            link = run.link.partition("sig=")[2]
            forged = chance.choice(
                [link[:-6] + "AAAAAA", link[1:], "", "x", link.swapcase(), link + "A", "." * 90]
            )
            if chance.random() < 0.3:
                ok = method == "GET"
                return Fuzzed(
                    kind="link", data=self._bytes("GET", run.link, [], None), method="GET", may=True, must=ok
                )
            data = self._bytes(method, f"{path}?sig={forged}", headers, b"" if method == "POST" else None)
            return Fuzzed(kind="link, forged", data=data, method=method, exactly=401)
        data = self._bytes(method, path, headers, b"" if method == "POST" else None)
        name = "cancel" if kind == "cancel" else f"run, {kind}"
        return Fuzzed(kind=name, data=data, method=method, may=may, must=must, exactly=exactly)

    def _subscription(self, chance: random.Random) -> Fuzzed:
        """Return a GET that registers the URL at Meta, with the right token or another."""
        right = chance.random() < 0.3
        token = (
            META_VERIFY
            if right
            else chance.choice(["", "x", META_VERIFY[:-1], META_VERIFY.upper(), "meta secret"])
        )
        path = chance.choice(next(each for each in self._targets if each.name == "hooks/meta").paths)
        encoded = token.replace(" ", "%20")
        query = f"hub.mode=subscribe&hub.challenge=77&hub.verify_token={encoded}"
        if token and chance.random() < 0.2:
            query, right = query + f"&hub.verify_token={META_VERIFY.replace(' ', '%20')}", False
        data = self._bytes("GET", f"{path}?{query}", [], None)
        return Fuzzed(kind="subscription", data=data, method="GET", may=right, must=right)


def _mutated(path: str, chance: random.Random) -> tuple[str, bool]:
    """Return another path, and whether it is another notation of the same one."""
    at = chance.randrange(1, len(path))
    parts = path.split("/")
    forms = [
        path.upper(), path.title(), f"{path}/", f"/{path}", path.replace("/", "//", 2), f"{path}/.",
        f"{path}/..", f"/x/..{path}", f"/.{path}", f"{path[:at]}%{ord(path[at]):02x}{path[at + 1 :]}",
        f"{path}%00", f"{path}%20", f"{path}%2f", path.replace("/", "%2f"), path.replace("/", "\\"),
        f"{path};a=b", f"{path}.json", f"/%2e{path}", f"/%2e%2e{path}",
        "/".join([*parts[:-1], ".", parts[-1]]), "/".join([*parts[:-1], "x", "..", parts[-1]]), path[:-1],
        path[1:], f"{path}\xff", f"{path}%c0%af", f"{path}/sync", path.replace("async", "ASYNC") + "x",
        "/", "*", "", f"{path}%0d%0ax:y", f"{path}%23", f"/v1/api/../..{path}", "/v1/api/",
        f"/v1/API{path[7:]}",
    ]  # fmt: skip
    if chance.random() < 0.1:
        same = [f"{path}#x"]
        if path.startswith("/v1"):
            same.append(f"http://localhost{path}")
        return chance.choice(same), True
    return chance.choice([each for each in forms if each != path]), False


def as_json(number: int) -> bytes:
    """Return the body of a call."""
    return json.dumps({"n": number, "id": f"evt_{number}", "event_id": f"Ev{number}"}).encode()
