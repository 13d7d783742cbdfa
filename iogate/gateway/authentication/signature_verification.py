"""Form `signature`: read from headers, verified over the raw body, with the handshakes of senders.

`calls.signed_calls` reads the body in between. Invariants: a body is read only for a signature that is well
formed and fresh; all secrets are tried, in constant time; nothing in a request raises anything but HTTPError.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from iogate.auth.signature_schemes import OF_TARGET, HeaderReader, key_of, parts_of, scheme_of, verifier
from iogate.gateway.authentication.forms.form import Form, Setup
from iogate.gateway.http.responses import ErrorResponse, HTTPError, Response, json_response
from iogate.security.secrets import Verifier
from iogate.timing.durations import format_seconds

if TYPE_CHECKING:
    from iogate.auth.model import SignatureAuth, SignatureFormat, StoredSecret
    from iogate.auth.signature_schemes import Key
    from iogate.gateway.http.request import Request
    from iogate.security.password_hashing import Hashing

CHALLENGE: Final = (b"www-authenticate", b'Signature realm="iogate"')
IN_THREAD_BYTES: Final = 256 * 1024
"""Larger bodies are hashed in a thread: a MiB takes up to 3 ms."""
_HANDSHAKE_BYTES: Final = 4096
_OLD_HEADERS: Final[Mapping[str, frozenset[bytes]]] = {"github": frozenset({b"x-hub-signature"})}
"""Headers that a sender signs with the same secret for older receivers."""

_INVALID = ErrorResponse(401, "requestError.unauthorized", "Signature is invalid", [CHALLENGE])
_NOT_SUBSCRIBED = ErrorResponse(401, "requestError.unauthorized", "The verify token is invalid", [CHALLENGE])


class Signed(NamedTuple):
    """A request with a valid signature."""

    caller: str
    delivery: str | None
    """Id of the delivery in a header; None without one."""
    member: str
    """Member of the body with the id of the delivery; empty if there is none."""
    answer: Callable[[Request], Response | None] | None
    """Returns the response to a request that tests the URL and starts no run."""


class Presented(NamedTuple):
    """Signatures of a request in one format, with the signed headers."""

    layout: _Layout
    signatures: list[bytes]
    timestamp: bytes
    delivery: bytes


class _Layout:
    """One format of one form, with the keys of its secrets."""

    def __init__(self, form: SignatureForm, format_: SignatureFormat, keys: Sequence[Key]) -> None:
        self.form = form
        self.header = format_.header.lower().encode()
        self._timestamp = format_.timestamp.lower().encode()
        self._id = format_.id.lower().encode()
        parts = {part for _, part in parts_of(format_.signed)}
        self._signs_id = "id" in parts
        self.signs_target = bool(parts & OF_TARGET)
        self._signs_head = self.signs_target or "method" in parts
        self._once = frozenset({self.header, self._timestamp, self._id} - {b""})
        self._per_second = 1000 if format_.unit == "ms" else 1
        self._reader = HeaderReader(format_)
        self._verifiers = tuple(verifier(format_, key) for key in keys)

    def read(self, request: Request, now_s: float) -> Presented:
        """Return the signatures of a request that has the header. Raises HTTPError: a 401."""
        headers = request.headers
        if request.repeated and (twice := sorted(request.repeated & self._once)):
            raise _malformed(f"the header {twice[0].decode()} is given more than once")
        signatures = self._reader.signatures(headers[self.header])
        if not signatures:
            raise _malformed(f"the header {self.header.decode()} has no signature of the expected form")
        timestamp = b""
        if self._timestamp:
            timestamp = self._reader.moment(headers.get(self._timestamp, b"")) or b""
            if not timestamp:
                raise _malformed("its time is missing or no whole number")
            tolerance_s = self.form.tolerance_s
            if abs(int(timestamp) / self._per_second - now_s) > tolerance_s:
                raise _refusal(
                    f"Signature has expired: its time is more than {format_seconds(tolerance_s)} from now"
                )
        delivery = headers.get(self._id, b"") if self._id else b""
        if self._signs_id and not delivery:
            raise _malformed(f"the header {self._id.decode()} is missing")
        return Presented(self, signatures, timestamp, delivery)

    def matches(self, request: Request, presented: Presented, public_url: str) -> bool:
        """Tell whether one of the secrets or public keys of a signed call made one of its signatures."""
        values = {"body": request.body, "timestamp": presented.timestamp, "id": presented.delivery}
        if self._signs_head:
            path = request.raw_path + (b"?" + request.query if request.query else b"")
            values |= {"path": path, "url": public_url.encode() + path, "method": request.method.encode()}
        found = False
        for each in self._verifiers:
            # No early exit: the time must not reveal which secret matched.
            found |= each.matches(values, presented.signatures)
        return found


class SignatureForm:
    """One form `signature` of an API, with the secrets that are available on this machine."""

    def __init__(
        self,
        auth: SignatureAuth[Any],
        secrets: Sequence[str],
        verify_tokens: Sequence[str] = (),
        hashing: Hashing | None = None,
        *,
        caller: str = "",
    ) -> None:
        """`caller`: name of the caller, if it is not that of the declaration."""
        scheme = scheme_of(auth)
        self.tolerance_s = auth.tolerance_s
        self.caller, self.member = caller or auth.caller, scheme.delivery
        self.answer = _ANSWERS.get(auth.scheme)
        self.subscribes = auth.scheme == "meta"
        self.verify_token = Verifier({auth.caller: verify_tokens}, hashing=hashing)
        keys = [key_of(auth.scheme, each) for each in secrets]
        of_hmac = [each for each in keys if isinstance(each, bytes)]
        public = [each for each in keys if not isinstance(each, bytes)]
        # Without any key, a request with a signature is still one with a signature.
        self.layouts = [_Layout(self, each, of_hmac) for each in scheme.formats if of_hmac or not keys]
        self.layouts += [_Layout(self, each, public) for each in scheme.public if public or not keys]
        self.stripped = frozenset(each.header for each in self.layouts) | _OLD_HEADERS.get(
            auth.scheme, frozenset()
        )


class Signatures(Form):
    """All forms `signature` of one API."""

    kind = label = "Signature"
    challenge = CHALLENGE

    def __init__(self, forms: Sequence[SignatureForm]) -> None:
        self._forms = tuple(forms)
        self._layouts = tuple(layout for form in forms for layout in form.layouts)
        self.stripped = frozenset(name for form in forms for name in form.stripped)

    @classmethod
    def build(cls, declared: Sequence[SignatureAuth[StoredSecret]], setup: Setup) -> Signatures:
        """Build the form `signature` of its declarations in the API."""
        names = setup.callers.claim("signature", [each.caller for each in declared])
        return cls([_build(each, setup, names.get(each.caller, each.caller)) for each in declared])

    def read(self, request: Request, now_s: float) -> list[Presented]:
        """Return the signatures in the headers of a request; an empty list if it has none.

        Raises HTTPError: a 401 if none of them is well formed and fresh.
        """
        found: list[Presented] = []
        refused: HTTPError | None = None
        for layout in self._layouts:
            # The query is the input of a GET: without it, one signature would be valid for every input.
            if layout.header not in request.headers or (request.method == "GET" and not layout.signs_target):
                continue
            try:
                found.append(layout.read(request, now_s))
            except HTTPError as error:
                refused = error
        if refused is not None and not found:
            raise refused
        return found

    async def verify(self, request: Request, presented: Sequence[Presented], public_url: str) -> Signed:
        """Return the caller by the signatures over the body of a request. Raises HTTPError: a 401."""
        if len(request.body) > IN_THREAD_BYTES:
            found = await asyncio.to_thread(_match, request, presented, public_url)
        else:
            found = _match(request, presented, public_url)
        if found is None:
            raise HTTPError(_INVALID)
        form = found.layout.form
        delivery = found.delivery.decode("latin-1") or None
        return Signed(form.caller, delivery, form.member, form.answer)

    def is_subscription(self, request: Request) -> bool:
        """Tell whether a request without a signature registers the URL at Meta."""
        return (
            request.method == "GET"
            and b"hub.mode=" in request.query
            and any(form.subscribes for form in self._forms)
        )

    async def subscribe(self, request: Request) -> Response:
        """Return the response of an API with signatures to Meta's request that registers the URL.

        Raises HTTPError: a 401 for a wrong token; and Busy for too many of them.
        """
        try:
            fields = parse_qsl(
                request.query.decode(), strict_parsing=True, errors="strict", max_num_fields=20
            )
        except ValueError:
            raise HTTPError(_NOT_SUBSCRIBED) from None
        given = dict(fields)
        token, challenge = given.get("hub.verify_token", ""), given.get("hub.challenge", "")
        valid = False
        for form in self._forms:
            if form.subscribes and token:
                valid |= await form.verify_token.token(token, address=request.address) is not None
        if not valid or len(given) < len(fields) or given.get("hub.mode") != "subscribe" or not challenge:
            raise HTTPError(_NOT_SUBSCRIBED)
        # Plain text that no browser takes for a page.
        headers = [(b"x-content-type-options", b"nosniff")]
        return Response(200, challenge.encode(), headers, content_type=b"text/plain; charset=utf-8")


def _build(declared: SignatureAuth[StoredSecret], setup: Setup, caller: str) -> SignatureForm:
    found: dict[str, list[str]] = {}
    setup.secrets.read({"": declared.secrets}, found, check=partial(key_of, declared.scheme))
    setup.secrets.read({"verify_token": declared.verify_token}, found)
    return SignatureForm(
        declared, found.get("", ()), found.get("verify_token", ()), hashing=setup.hashing, caller=caller
    )


def _match(request: Request, presented: Sequence[Presented], public_url: str) -> Presented | None:
    found: Presented | None = None
    for each in presented:
        if each.layout.matches(request, each, public_url):
            found = each
    return found


def _refusal(message: str) -> HTTPError:
    return HTTPError(ErrorResponse(401, "requestError.unauthorized", message, [CHALLENGE]))


def _malformed(reason: str) -> HTTPError:
    return _refusal(f"Signature is malformed: {reason}")


def _answer_ping(request: Request) -> Response | None:
    """Return the response to the signed event `ping`, with which GitHub tests a new webhook."""
    if request.headers.get(b"x-github-event") != b"ping":
        return None
    return json_response({"event": "ping"})


def _answer_challenge(request: Request) -> Response | None:
    """Return the response to the signed event `url_verification`, with which Slack tests a URL."""
    body = request.body
    if len(body) > _HANDSHAKE_BYTES or b"url_verification" not in body:
        return None
    try:
        found = _challenge(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if found.type != "url_verification":
        return None
    return Response(200, msgspec.json.encode({"challenge": found.challenge}))


class _Challenge(msgspec.Struct, frozen=True, kw_only=True):
    type: str
    challenge: str


_challenge = msgspec.json.Decoder(_Challenge).decode
_ANSWERS: Final[Mapping[str, Callable[[Any], Response | None]]] = {
    "github": _answer_ping,
    "slack": _answer_challenge,
}
