"""Authentication of requests for a run, with the same work and rate limit whether or not the run exists.

Used by `caller_routes`. Wrong credentials cost Argon2 hashes if the run's API has some, and a run that does
not exist has no API: response times and 429s would reveal which uids exist. So the work is filled up to that
of the costliest API. Credentials of any API are valid, perhaps used on a run that has expired: they do not
count as a failure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from iogate.auth.model import AnyAuth, HashedSecret, TokenAuth, UserAuth
from iogate.gateway.authentication import authenticator
from iogate.gateway.authentication.forms.table import CARRIERS, HEADERS
from iogate.gateway.authentication.request_credentials import Credential, authorization
from iogate.gateway.http.responses import HTTPError
from iogate.security import secrets
from iogate.security.failure_limit import Busy
from iogate.security.password_hashing import cost, missing

if TYPE_CHECKING:
    from iogate.gateway.authentication.authenticator import Authenticator, Credentials
    from iogate.gateway.http.request import Request
    from iogate.security.password_hashing import Hashing, Parameters


_NOBODYS = HashedSecret(value=secrets.hash_token(secrets.generate_token()))
_CLOSED = authenticator.Authenticator(
    AnyAuth(any=(TokenAuth(tokens={"": (_NOBODYS,)}), UserAuth(users={"": (_NOBODYS,)})))
)
"""Authenticator of runs that do not exist, and of runs whose API was removed."""


class Verdict(NamedTuple):
    """Result of the authentication of a request for a run."""

    caller: str | None
    """None: the credentials give no access to the run."""
    is_failure: bool
    """Whether the credentials are valid for no API; then `caller` is None, or that of an API open to all."""


async def authenticate(
    own: Authenticator | None,
    authenticators: Sequence[Authenticator],
    request: Request,
    *,
    hashing: Hashing,
) -> Verdict:
    """Authenticate a request for a run by `own`, with equal work if there is no run.

    `own` is one of `authenticators`, or None if the run does not exist or its API was removed. Raises
    HTTPError: the 429 for too many wrong credentials, and the 503 if keys are missing that may verify them.
    """
    own = own or _CLOSED
    credentials = read_credentials(request)
    accepting: list[Authenticator] = []
    counted = False
    if credentials:
        if (caller := own.known_caller(credentials)) is not None:
            return Verdict(caller, is_failure=False)
        chosen = [(each, found) for each in authenticators if (found := each.select(credentials))]
        # No early exit: the time must not reveal which authenticator knows them.
        known = [found for _, (form, found) in chosen if form.known_caller(found) is not None]
        if known:
            # A credential beside a known one would be guessed without being counted.
            kept = {carrier: each for carrier, each in credentials.items() if each in known}
            caller = await _authenticate_known(own, authenticators, kept)
            return Verdict(caller, is_failure=False)
        accepting = [each for each, (form, credential) in chosen if form.is_self_contained(credential)]
        if accepting:
            _count_attempt(hashing, request.address)
            named, unusable = await _verify(accepting, credentials)
            if any(caller is not None for _, caller in named):
                presented = {each: credential for each, (_, credential) in chosen}
                right = [presented[each] for each, caller in named if caller is not None]
                if all(presented[each] in right for each in accepting):
                    hashing.succeeded(request.address)
                caller = next((caller for each, caller in named if each is own), None)
                return Verdict(_anonymous(own) if caller is None else caller, is_failure=False)
            if unusable is not None:
                # Nobody can tell now whether the credential is valid, for any run.
                hashing.succeeded(request.address)
                raise unusable
            # With Argon2 hashes, `own.authenticate` counts the failure.
            counted = not own.work(request)
            if not counted:
                hashing.succeeded(request.address)
    if not (counted and own in accepting):
        try:
            caller = await own.authenticate(request)
            return Verdict(caller, is_failure=caller == authenticator.ANONYMOUS)
        except HTTPError as failed:
            if failed.response.status == 429:
                raise
            # The reason is not reported: it would reveal that the run exists.
    elif own.opens_to_all:
        return Verdict(_anonymous(own), is_failure=True)
    work = costliest_work(authenticators, request)
    await spend(work, own.work(request), hashing=hashing, address=request.address, count=not counted)
    return Verdict(None, is_failure=True)


def read_credentials(request: Request) -> Credentials:
    """Read the credentials of a request for a run, for equal work; none if they contradict."""
    if request.repeated & HEADERS:
        return {}
    headers = request.headers
    scheme, rest = authorization(headers)
    try:
        read = [(each, each.read(headers, scheme, rest)) for each in CARRIERS]
    except HTTPError:
        return {}
    return {carrier: Credential(value, carrier) for carrier, value in read if value}


async def _verify(
    accepting: Sequence[Authenticator], credentials: Credentials
) -> tuple[list[tuple[Authenticator, str | None]], HTTPError | None]:
    """Return each authenticator for a run with the caller that it finds; and the 503 of missing keys, if any.

    All verify the credentials, so that the time does not reveal which of them has the run.
    """
    named: list[tuple[Authenticator, str | None]] = []
    unusable: HTTPError | None = None
    for each in accepting:
        try:
            named.append((each, await each.verify(credentials)))
        except HTTPError as error:
            unusable = error
    return named, unusable


def _anonymous(own: Authenticator) -> str | None:
    """Return the caller after equal work without valid credentials: None, unless the run is open to all."""
    return authenticator.ANONYMOUS if own.opens_to_all and not own.unset else None


def _count_attempt(hashing: Hashing, address: str) -> None:
    """Count a failure before the equal work for a run. Raises HTTPError, the 429 for too many."""
    try:
        hashing.count_attempt(address)
    except Busy as busy:
        raise authenticator.too_many_attempts(busy) from None


async def _authenticate_known(
    own: Authenticator, authenticators: Sequence[Authenticator], credentials: Credentials
) -> str | None:
    """Authenticate at a run with equal work by credentials that another authenticator knows."""
    try:
        # One secret may be valid for several APIs.
        named, _ = await _verify(authenticators, credentials)
    except Busy as busy:
        raise authenticator.too_many_attempts(busy) from None
    found = next((caller for each, caller in named if each is own), None)
    return _anonymous(own) if found is None else found


def costliest_work(authenticators: Iterable[Authenticator], request: Request) -> Sequence[Parameters]:
    """Return the most expensive list of hashes that an API computes for credentials of these kinds."""
    carriers = [each for each in CARRIERS if each.is_in(request.headers)]
    found: Sequence[Parameters] = ()
    for each in authenticators:
        for carrier, work in each.work_of_carriers:
            if carrier in carriers:
                found = max(found, work, key=cost)
    return found


async def spend(
    work: Sequence[Parameters],
    spent: Sequence[Parameters],
    *,
    hashing: Hashing,
    address: str,
    count: bool = True,
) -> None:
    """Compute the hashes of `work` that `spent` lacks, for equal work; count a failure if asked.

    Raises HTTPError: the 429 for too many wrong credentials.
    """
    try:
        if work and not spent and count:
            hashing.count_attempt(address)
        for each in missing(work, spent):
            await hashing.run(each.spend, b"")
    except Busy as busy:
        raise authenticator.too_many_attempts(busy) from None
