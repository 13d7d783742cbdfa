"""Authentication of callers by the forms that an API accepts; any of them is enough.

Each API has one `Authenticator`, built when the gateway loads a revision, of the forms in `forms.table`.
Invariant: no credential is logged, stored or named in a response, and comparison is constant-time
(`iogate.security.secrets.Verifier`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from iogate.auth.caller_names import CallerNames
from iogate.auth.model import alternatives
from iogate.auth.secret_reader import Fingerprint, SecretReader, no_fingerprint
from iogate.gateway.authentication.forms.form import HeaderForm, InvalidCredentials, MissingCredentials, Setup
from iogate.gateway.authentication.forms.open_to_all import OpenToAll
from iogate.gateway.authentication.forms.table import FORMS, HEADERS
from iogate.gateway.authentication.request_credentials import Carrier, Credential, authorization
from iogate.gateway.authentication.signature_verification import Signatures
from iogate.gateway.http.responses import UNCONFIGURED, ErrorResponse, HTTPError, invalid, too_many
from iogate.security.failure_limit import Busy
from iogate.security.password_hashing import Hashing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from iogate.auth.model import StoredAuth
    from iogate.gateway.authentication.forms.form import Form
    from iogate.gateway.authentication.key_sets import KeySets
    from iogate.gateway.http.request import Request
    from iogate.security.password_hashing import Parameters

Credentials: TypeAlias = "Mapping[Carrier, Credential]"
"""The credentials of a request by the way they came, as `equal_work` reads them for several APIs."""

ANONYMOUS = ""
"""The caller of an API without credentials."""


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
        check_only: bool = False,
    ) -> None:
        """Build the forms of an API; `check_only`: only to check their declaration, so it reads no secret."""
        self._auth, self._root, self._hashing, self._key_sets = auth, root, hashing, key_sets
        self._fingerprint = fingerprint
        self._secrets = SecretReader(root, fingerprint, check_only=check_only)
        built = _build(auth, self._secrets, hashing, key_sets)
        self.forms: tuple[HeaderForm, ...] = tuple(each for each in built if isinstance(each, HeaderForm))
        """Forms with a credential in headers, in the order of the table."""
        self.signatures = next((each for each in built if isinstance(each, Signatures)), None)
        """Signatures that the API accepts; None if it has none."""
        self.opens_to_all = any(isinstance(each, OpenToAll) for each in built)
        self._ways = tuple(
            (carrier, tuple(form for form in self.forms if form.carrier is carrier))
            for carrier in dict.fromkeys(form.carrier for form in self.forms)
        )
        """Forms of each carrier."""
        self.work_of_carriers = tuple((form.carrier, form.work) for form in self.forms if form.work)
        """Hashes to compute for a wrong credential."""
        only = self.forms[0] if len(self.forms) == 1 and self.signatures is None else None
        self.authenticate_now = _nobody if only is None else only.quick_caller
        """Returns the caller of a request if it is quickly known; after None, `authenticate` decides."""
        labels = dict.fromkeys(each.label for each in built if each.label)
        challenges = list(dict.fromkeys(each.challenge for each in built if each.label))
        self._absent = ErrorResponse(
            401, "requestError.invalidParams", " or ".join(labels) + " is required", challenges
        )
        for form in self.forms:
            form.set_challenges(challenges)
        self.stripped = frozenset({b"authorization", b"proxy-authorization", b"cookie"}).union(
            *(each.stripped for each in built)
        )
        """Headers that are never part of the input of a run."""

    @property
    def lacks(self) -> tuple[str, ...]:
        """Messages of the authenticator about missing secrets of callers that have no other here."""
        return self._secrets.lacks

    @property
    def spare(self) -> tuple[str, ...]:
        """Messages of the authenticator about missing secrets of callers that have another here."""
        return self._secrets.spare

    @property
    def fingerprints(self) -> dict[str, str]:
        """Fingerprint of each secret of the authenticator, in a variable or file, by its source."""
        return self._secrets.fingerprints

    @property
    def unset(self) -> tuple[str, ...]:
        """Messages of the authenticator about secrets and keys without which it cannot check some callers."""
        return self.lacks + tuple(message for form in self.forms for message in form.unset)

    def has_changed(self) -> bool:
        """Tell whether a file with secrets of the authenticator has changed; calls stat on each file."""
        return self._secrets.has_changed()

    def renewed(self) -> Authenticator:
        """Return a new authenticator of the same API with its secrets read again."""
        return Authenticator(
            self._auth,
            root=self._root,
            hashing=self._hashing,
            fingerprint=self._fingerprint,
            key_sets=self._key_sets,
        )

    async def authenticate(self, request: Request) -> str:
        """Authenticate a request by the forms that its API accepts, and return the name of its caller.

        Raises MissingCredentials, InvalidCredentials, or HTTPError: the 400 for credentials that contradict
        each other, the 429 for too many wrong ones, the 503 if the secrets are missing on this machine.
        """
        if not self.forms:
            if self.signatures is not None and not (self.opens_to_all or self.lacks):
                raise MissingCredentials(self._absent)
            if not self.opens_to_all or self.lacks:
                # Also of an authentication without a secret: only `none` opens an API to all.
                raise HTTPError(UNCONFIGURED)
            return ANONYMOUS
        if request.repeated and (twice := sorted(request.repeated & HEADERS)):
            raise invalid(f"The header {twice[0].decode()} is given more than once")
        found = self._presented(request.headers)
        try:
            if found is None:
                raise MissingCredentials(self._absent)  # noqa: TRY301 - handled as wrong ones
            form, value = found
            caller = await form.authenticate(value, request.address)
            if caller is None:
                raise InvalidCredentials(form.wrong)  # noqa: TRY301
        except Busy as busy:
            raise too_many_attempts(busy) from None
        except (MissingCredentials, InvalidCredentials):
            if self.lacks:
                # The credentials may match a secret that this machine lacks.
                raise HTTPError(UNCONFIGURED) from None
            if self.opens_to_all:
                return ANONYMOUS
            raise
        return caller

    async def identify(self, request: Request) -> tuple[str, str]:
        """Authenticate a request; return kind and name of its credential, so that token and user differ.

        Both are empty without a credential. Raises as `authenticate` does.
        """
        caller = await self.authenticate(request)
        found = self._presented(request.headers) if caller != ANONYMOUS else None
        return (ANONYMOUS if found is None else found[0].kind), caller

    def select(self, credentials: Credentials) -> tuple[HeaderForm, Credential] | None:
        """Return the form that authenticates credentials, with its credential; None without exactly one."""
        found: tuple[HeaderForm, Credential] | None = None
        for carrier, forms in self._ways:
            credential = credentials.get(carrier)
            if credential is not None:
                if found is not None:
                    return None
                found = forms[0] if len(forms) == 1 else _first(forms, credential.value), credential
        return found

    def known_caller(self, credentials: Credentials) -> str | None:
        """Return the caller that the authenticator finds by credentials without a computation, else None."""
        found = self.select(credentials)
        return found[0].known_caller(found[1]) if found is not None else None

    async def verify(self, credentials: Credentials) -> str | None:
        """Return the caller that the authenticator finds by credentials, else None; do not count a failure.

        Raises Busy if too many hashes are waiting, and HTTPError: the 503 if keys are missing.
        """
        found = self.select(credentials)
        return await found[0].verify(found[1]) if found is not None else None

    def work(self, request: Request) -> Sequence[Parameters]:
        """Return the hashes that the authenticator computes for a request with wrong credentials."""
        if request.repeated & HEADERS:
            return ()
        try:
            found = self._presented(request.headers)
        except HTTPError:
            return ()
        return found[0].work if found is not None else ()

    def _presented(self, headers: Mapping[bytes, bytes]) -> tuple[HeaderForm, Any] | None:
        """Return the form that authenticates a request, and the value of its credential; None without one.

        Raises HTTPError, the 400 for credentials that contradict each other.
        """
        scheme, rest = authorization(headers)
        found: tuple[HeaderForm, Any] | None = None
        for carrier, forms in self._ways:
            value = carrier.read(headers, scheme, rest)
            if value:
                if found is not None:
                    raise invalid(
                        f"Credentials are given as {found[0].carrier.name} and as {carrier.name}; "
                        "send one of them"
                    )
                found = forms[0] if len(forms) == 1 else _first(forms, value), value
        return found


def too_many_attempts(busy: Busy) -> HTTPError:
    """Return the 429 of the authenticator for too many wrong credentials from an address."""
    return HTTPError(too_many("Too many wrong credentials", busy.retry_after_s))


def _nobody(_request: Request) -> str | None:
    """Return None: the authenticator of this API has no quick way to find the caller."""
    return None


def _first(forms: tuple[HeaderForm, ...], value: Any) -> HeaderForm:
    """Return the first form of an authenticator that takes a credential, or its last form."""
    for form in forms[:-1]:
        if form.takes(value):
            return form
    return forms[-1]


def _build(
    auth: StoredAuth, secrets: SecretReader, hashing: Hashing | None, key_sets: KeySets | None
) -> list[Form]:
    """Build the forms that the authenticator of an API accepts, in the order of the table."""
    declared = alternatives(auth)
    setup = Setup(
        secrets=secrets,
        callers=CallerNames(auth),
        hashing=hashing,
        key_sets=key_sets,
        declared=frozenset(map(type, declared)),
    )
    found = [
        form.build([each for each in declared if isinstance(each, struct)], setup)
        for struct, form in FORMS.items()
        if struct in setup.declared
    ]
    return [form for form in found if form is not None]
