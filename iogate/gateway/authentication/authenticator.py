"""Authentication of callers by the credentials in request headers.

Each API has one `Authenticator`, built when the gateway loads a revision. Invariant: no credential is logged,
stored or named in a response, and comparison is constant-time (`iogate.security.secrets.Verifier`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, assert_never

from iogate import files
from iogate.auth.model import (
    EnvSecret,
    FileSecret,
    HashedSecret,
    JwtAuth,
    NoAuth,
    SignatureAuth,
    TokenAuth,
    UserAuth,
    alternatives,
    source_of,
)
from iogate.auth.signatures import key_of
from iogate.gateway.authentication import jwt, signatures
from iogate.gateway.authentication.credentials import (
    HEADERS,
    Credentials,
    authorization,
    is_jwt,
    one_token,
    one_user,
    to_text,
)
from iogate.gateway.authentication.jwt_keys import UnusableKeys
from iogate.gateway.http.responses import (
    KEYS_MISSING,
    UNCONFIGURED,
    ErrorResponse,
    HTTPError,
    invalid,
    too_many,
)
from iogate.security import secrets
from iogate.security.password_hashing import Busy, Hashing
from iogate.security.secrets import Presented, Verifier

if TYPE_CHECKING:
    from iogate.auth.model import StoredAuth, StoredSecret
    from iogate.gateway.authentication.jwt import JwtVerifiers
    from iogate.gateway.authentication.key_sets import KeySets
    from iogate.gateway.http.request import Request
    from iogate.security.password_hashing import Parameters

ANONYMOUS = ""
"""The caller of an API without credentials."""

_BEARER = (b"www-authenticate", b'Bearer realm="iogate"')
_BASIC = (b"www-authenticate", b'Basic realm="iogate", charset="UTF-8"')
_TOKEN, _USER, _SIGNATURE, _JWT = "Token", "User/Password", "Signature", "JWT"


Fingerprint: TypeAlias = Callable[[str, str], str | None]
"""Returns the keyed fingerprint of a secret, of its source and text; None without a key."""


def no_fingerprint(_source: str, _text: str) -> str | None:
    """Make no fingerprints, outside a gateway."""
    return None


class MissingCredentials(HTTPError):
    """The request has no credentials of a kind that the API accepts."""


class InvalidCredentials(HTTPError):
    """The credentials are not valid for the API."""


class Authenticator:
    """Checks the credentials of requests to one API."""

    def __init__(
        self,
        auth: StoredAuth,
        *,
        root: Path | None = None,
        hashing: Hashing | None = None,
        fingerprint: Fingerprint = no_fingerprint,
        key_sets: KeySets | None = None,
    ) -> None:
        self.lacks: tuple[str, ...] = ()
        """Messages about missing secrets, of callers that have no other secret on this machine."""
        self.spare: tuple[str, ...] = ()
        """Messages about missing secrets, of callers that have another secret on this machine."""
        self.fingerprints: dict[str, str] = {}
        """Fingerprint of each secret in a variable or file, by its source."""
        self._auth, self._root, self._hashing, self._key_sets = auth, root, hashing, key_sets
        self._fingerprint = fingerprint
        self._files: dict[Path, files.Version] = {}
        self.opens_to_all = False
        self._token: Verifier | None = None
        self._user: Verifier | None = None
        self.signatures: signatures.Signatures | None = None
        """Signatures that the API accepts; None if it has none."""
        signed: list[signatures.SignatureForm] = []
        self._jwt: JwtVerifiers | None = None
        verifiers: list[jwt.JwtVerifier] = []
        tokens: dict[str, list[str]] = {}
        users: dict[str, list[str]] = {}
        for part in alternatives(auth):
            match part:
                case NoAuth():
                    self.opens_to_all = True
                case TokenAuth():
                    self._resolve(part.tokens, tokens)
                case UserAuth():
                    self._resolve(part.users, users)
                case SignatureAuth():
                    signed.append(self._signature(part))
                case JwtAuth():
                    verifiers.append(jwt.build(part, key_sets, self._texts))
                case _:
                    assert_never(part)
        if tokens:
            self._token = Verifier(tokens, hashing=hashing)
        if users:
            self._user = Verifier(users, hashing=hashing)
        if verifiers:
            self._jwt = jwt.JwtVerifiers(verifiers, hashing or Hashing())
        if signed:
            self.signatures = signatures.Signatures(signed)
        self._only_token = self._token if self._user is None and not signed and not verifiers else None
        accepted = [
            (kind, header)
            for kind, header, verifier in (
                (_TOKEN, _BEARER, self._token or self._jwt),
                (_USER, _BASIC, self._user),
                (_SIGNATURE, signatures.CHALLENGE, self.signatures),
            )
            if verifier
        ]
        kinds = [kind for kind, _ in accepted]
        self._challenges = [header for _, header in accepted]
        self._absent = ErrorResponse(
            401, "requestError.invalidParams", " or ".join(kinds) + " is required", self._challenges
        )
        self._wrong = {
            kind: ErrorResponse(401, "requestError.unauthorized", f"{kind} is invalid", self._challenges)
            for kind in kinds
        }
        rejections = self._jwt.rejections if self._jwt is not None else ()
        self._rejected = {each: jwt.rejection_response(each, self._challenges[1:]) for each in rejections}
        self.stripped = frozenset(
            {b"authorization", b"proxy-authorization", b"cookie"}
            | ({b"token"} if self._token or self._jwt else set())
            | ({b"user", b"password"} if self._user else set())
            | (self.signatures.stripped if self.signatures else set())
        )
        """Headers that are never part of the input of a run."""

    def _signature(self, form: SignatureAuth[StoredSecret]) -> signatures.SignatureForm:
        found: dict[str, list[str]] = {}
        self._resolve({"": form.secrets}, found, check=partial(key_of, form.scheme))
        self._resolve({"verify_token": form.verify_token}, found)
        return signatures.SignatureForm(
            form, found.get("", ()), found.get("verify_token", ()), hashing=self._hashing
        )

    def _resolve(
        self,
        named: Mapping[str, tuple[StoredSecret, ...]],
        into: dict[str, list[str]],
        *,
        check: Callable[[str], object] | None = None,
    ) -> None:
        for name, values in named.items():
            accepted, missing = self._texts(values, check)
            if accepted:
                into.setdefault(name, []).extend(accepted)
                self.spare += missing
            else:
                self.lacks += missing

    def _texts(
        self, values: Iterable[StoredSecret], check: Callable[[str], object] | None = None
    ) -> tuple[list[str], tuple[str, ...]]:
        """Return the texts of secrets, and messages about those that are missing.

        `check` raises ValueError for a text that cannot be used.
        """
        accepted: list[str] = []
        missing: tuple[str, ...] = ()
        for secret in values:
            if isinstance(secret, FileSecret):
                # Before the file is read, so that a change in between is noticed later.
                path = Path(secret.path) if self._root is None else self._root / secret.path
                self._files[path] = files.version(path)
            try:
                text = _resolve(secret, self._root)
                if check is not None:
                    check(text)
                accepted.append(text)
                self._note_fingerprint(secret, text)
            except secrets.Unset as unset:
                missing += (unset.message,)
            except ValueError as unusable:
                missing += (f"{source_of(secret)} {unusable}",)
        return accepted, missing

    @property
    def unset(self) -> tuple[str, ...]:
        """Messages about secrets and keys without which this machine cannot check some callers."""
        return self.lacks + (self._jwt.unset if self._jwt is not None else ())

    def _note_fingerprint(self, secret: StoredSecret, text: str) -> None:
        source = source_of(secret)
        found = self._fingerprint(source, text) if source else None
        if found is not None:
            self.fingerprints[source] = found

    def has_changed(self) -> bool:
        """Tell whether a secret file was replaced, written, created or removed; calls stat on each file."""
        return any(files.version(path) != known for path, known in self._files.items())

    def renewed(self) -> Authenticator:
        """Return a new authenticator of the same API with its secrets read again."""
        return Authenticator(
            self._auth,
            root=self._root,
            hashing=self._hashing,
            fingerprint=self._fingerprint,
            key_sets=self._key_sets,
        )

    def authenticate_now(self, request: Request) -> str | None:
        """Return the caller of a request with the header `token` as its only credential, else None.

        After None, `authenticate` has to decide. Most calls are of this kind; it takes a third of the time.
        """
        headers, verifier = request.headers, self._only_token
        if verifier is None or request.repeated or b"authorization" in headers:
            return None
        token = headers.get(b"token")
        return verifier.quick_token(token) if token else None

    async def authenticate(self, request: Request) -> str:
        """Return the name of the caller.

        Raises MissingCredentials, InvalidCredentials, or HTTPError: the 400 for credentials that contradict
        each other, the 429 for too many wrong ones, the 503 if the secrets are missing on this machine.
        """
        return (await self.identify(request))[1]

    async def identify(self, request: Request) -> tuple[str, str]:
        """Return kind and name of the credential: a token and a user of one name are two identities.

        Both are empty without a credential. Raises as `authenticate` does.
        """
        if self._token is None and self._user is None and self._jwt is None:
            if self.signatures is not None and not (self.opens_to_all or self.lacks):
                raise MissingCredentials(self._absent)
            if not self.opens_to_all or self.lacks:
                # Also of an authentication without a secret: only `none` opens an API to all.
                raise HTTPError(UNCONFIGURED)
            return ANONYMOUS, ANONYMOUS
        if request.repeated and (twice := sorted(request.repeated & HEADERS)):
            raise invalid(f"The header {twice[0].decode()} is given more than once")
        try:
            return await self._authenticate(request)
        except Busy as busy:
            raise too_many_attempts(busy) from None
        except (MissingCredentials, InvalidCredentials):
            if self.lacks:
                # The credentials may match a secret that this machine lacks.
                raise HTTPError(UNCONFIGURED) from None
            if self.opens_to_all:
                return ANONYMOUS, ANONYMOUS
            raise

    def known_caller(self, credentials: Credentials) -> str | None:
        """Return the caller with these credentials if that is known without a computation, else None."""
        if self._jwt is not None and credentials.jwt:
            return self._jwt.known_caller(credentials.jwt)
        selected = self._select(credentials)
        return selected[0].known_caller(selected[1]) if selected is not None else None

    @property
    def accepts_jwts(self) -> bool:
        return self._jwt is not None

    async def jwt_caller(self, token: bytes) -> str | None:
        """Return the caller that a JWT names, None if it is not accepted; do not count a failure."""
        if self._jwt is None:
            return None
        try:
            found = await self._jwt.verify(token)
        except UnusableKeys:
            return None
        return found if isinstance(found, str) else None

    async def verify(self, credentials: Credentials) -> str | None:
        """Return the caller with these credentials, None if there is none; do not count a failure.

        Raises Busy if too many hashes are waiting.
        """
        if self._jwt is not None and credentials.jwt:
            return await self.jwt_caller(credentials.jwt)
        selected = self._select(credentials)
        return await selected[0].verify(selected[1]) if selected is not None else None

    def _select(self, credentials: Credentials) -> tuple[Verifier, Presented] | None:
        token = (self._token, credentials.token) if self._token and credentials.token else None
        user = (self._user, credentials.user) if self._user and credentials.user else None
        # Credentials of both kinds are an error, which `authenticate` reports.
        return None if token and user else token or user

    @property
    def token_work(self) -> list[Parameters]:
        """Hashes to compute for a wrong token."""
        return self._token.token_work if self._token is not None else []

    @property
    def password_work(self) -> list[Parameters]:
        """Hashes to compute for a wrong password."""
        return self._user.password_work if self._user is not None else []

    def work(self, request: Request) -> list[Parameters]:
        """Return the hashes to compute for the credentials of a request if they are wrong."""
        if request.repeated & HEADERS:
            return []
        try:
            token, user = self._presented(request.headers)
        except HTTPError:
            return []
        return self.token_work if token else self.password_work if user else []

    def _presented(self, headers: Mapping[bytes, bytes]) -> tuple[bytes, tuple[bytes, bytes] | None]:
        """Return the token, or user and password, of a kind that the API accepts. Raises HTTPError: a 400."""
        bearer, basic = authorization(headers)
        token = one_token(headers, bearer) if self._token or self._jwt else b""
        user = one_user(headers, basic) if self._user else None
        if token and user:
            raise invalid("Credentials are given as a token and as user and password; send one of them")
        return token, user

    async def _authenticate(self, request: Request) -> tuple[str, str]:
        token, user = self._presented(request.headers)
        address = request.address
        if token and self._jwt is not None and (is_jwt(token) or self._token is None):
            return _JWT, await self._authenticate_jwt(self._jwt, token, address)
        if token:
            assert self._token is not None
            caller = await self._token.token(to_text(token), address=address)
            if caller is None:
                raise InvalidCredentials(self._wrong[_TOKEN])
            return _TOKEN, caller
        if user:
            assert self._user is not None
            caller = await self._user.password(to_text(user[0]), to_text(user[1]), address=address)
            if caller is None:
                raise InvalidCredentials(self._wrong[_USER])
            return _USER, caller
        raise MissingCredentials(self._absent)

    async def _authenticate_jwt(self, verifiers: JwtVerifiers, token: bytes, address: str) -> str:
        """Return the caller that a token names. Raises InvalidCredentials, HTTPError and Busy."""
        try:
            found = await verifiers.authenticate(token, address)
        except UnusableKeys:
            raise HTTPError(KEYS_MISSING) from None
        if isinstance(found, str):
            return found
        raise InvalidCredentials(self._rejected[found])


def too_many_attempts(busy: Busy) -> HTTPError:
    """Return the 429 for too many wrong credentials from an address."""
    return HTTPError(too_many("Too many wrong credentials", busy.retry_after_s))


def _resolve(secret: StoredSecret, root: Path | None) -> str:
    match secret:
        case EnvSecret():
            return secrets.resolve("env", secret.name)
        case FileSecret():
            return secrets.resolve("file", secret.path, root=root)
        case HashedSecret():
            return secrets.resolve("hash", secret.value)
        case _:
            assert_never(secret)
