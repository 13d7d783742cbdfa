"""Interface of a form of authentication, and the parts of a gateway that a form is built with.

Implemented by the other modules of this folder and by `signature_verification`; used by `authenticator` and
`equal_work`.
Invariant: a form is built once, when the routes of a revision are compiled, and keeps no state of a request.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias

from iogate.auth.caller_names import CallerNames
from iogate.auth.secret_reader import SecretReader
from iogate.gateway.http.responses import ErrorResponse, HTTPError

if TYPE_CHECKING:
    from iogate.gateway.authentication.key_sets import KeySets
    from iogate.gateway.authentication.request_credentials import Carrier, Credential
    from iogate.gateway.http.request import Request
    from iogate.security.password_hashing import Hashing, Parameters

Header: TypeAlias = tuple[bytes, bytes]

BEARER_CHALLENGE: Final[Header] = (b"www-authenticate", b'Bearer realm="iogate"')


class MissingCredentials(HTTPError):
    """The request has no credentials of a kind that the API accepts."""


class InvalidCredentials(HTTPError):
    """The credentials are not valid for the API."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Parts that the forms of one API are built with."""

    secrets: SecretReader
    callers: CallerNames
    hashing: Hashing | None = None
    """Limits and counts computations for all APIs of a process."""
    key_sets: KeySets | None = None
    declared: frozenset[type] = frozenset()
    """Structs of `auth.model` that the API declares."""


class Form(ABC):
    """One form of authentication of one API; several declarations of it are one form."""

    kind: ClassVar[str] = ""
    """Name in the identity of an event sender."""
    label: ClassVar[str] = ""
    """Name in messages: `Token is required`; empty: no credentials are needed."""
    challenge: ClassVar[Header] = BEARER_CHALLENGE
    """Header `WWW-Authenticate` of a 401."""
    stripped: frozenset[bytes] = frozenset()
    """Headers that are never part of the input of a run, besides `Authorization` and cookies."""

    @classmethod
    @abstractmethod
    def build(cls, declared: Sequence[Any], setup: Setup) -> Form | None:
        """Build this form from its declarations in an API; return None without any of its secrets."""


class HeaderForm(Form):
    """A form of authentication with its credential in the headers of a request."""

    carrier: ClassVar[Carrier]
    """Headers of the credential. An API does not accept a request with credentials in two carriers."""
    work: Sequence[Parameters] = ()
    """Hashes to compute for a wrong credential."""
    wrong: ErrorResponse
    """Response to a wrong credential."""

    @property
    def unset(self) -> tuple[str, ...]:
        """Messages of the form about keys without which this machine cannot check some callers."""
        return ()

    def set_challenges(self, challenges: Sequence[Header]) -> None:
        """Prepare the responses to wrong credentials, with the challenges of all forms of the API."""
        self.wrong = ErrorResponse(401, "requestError.unauthorized", f"{self.label} is invalid", challenges)

    def takes(self, value: Any) -> bool:  # noqa: ARG002 - forms override it
        """Tell whether a credential is for this form and not for the next one of its carrier in the API.

        The last one takes what the others leave.
        """
        return True

    @abstractmethod
    def authenticate(self, value: Any, address: str) -> Awaitable[str | None]:
        """Return the caller by this form, None if the credential is wrong; count a failure of the address.

        `value` is the credential as the carrier has read it. Raises InvalidCredentials with a response of its
        own, Busy for an address with too many failures, and HTTPError: the 503 if keys are missing.
        """

    @abstractmethod
    def known_caller(self, credential: Credential) -> str | None:
        """Return the caller by this form if that takes no count and no expensive computation, else None."""

    @abstractmethod
    async def verify(self, credential: Credential) -> str | None:
        """Return the caller by this form, None if the credential is wrong; do not count a failure.

        Raises Busy if too many hashes are waiting, and HTTPError: the 503 if keys are missing.
        """

    def is_self_contained(self, credential: Credential) -> bool:  # noqa: ARG002 - forms override it
        """Tell whether the form verifies a credential without a hash, which may be one for several APIs.

        Every API that accepts it then verifies it before it counts as a failure (`equal_work`).
        """
        return False

    def quick_caller(self, request: Request) -> str | None:  # noqa: ARG002 - forms override it
        """Return the caller by this form if its credential is the only one and right, else None.

        After None, `authenticate` has to decide. Used if the API has no other form.
        """
        return None


def renamed(found: str | None, names: Mapping[str, str]) -> str | None:
    """Return a caller as its form names it, or its other name in `names`."""
    return names.get(found, found) if names and found is not None else found
