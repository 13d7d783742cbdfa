"""Authentication of operators: from a request to its actor.

Used by `operator_api`, and by pages of the console. Invariants: a request without valid credentials learns
nothing about operators; a session, which browsers send by themselves, does not count in a request that a page
of another origin made a browser send; no token is logged.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Protocol

from iogate.gateway.authentication.authenticator import too_many_attempts
from iogate.gateway.authentication.forms.form import BEARER_CHALLENGE
from iogate.gateway.authentication.request_credentials import authorization
from iogate.gateway.http.origins import CROSS_ORIGIN
from iogate.gateway.http.responses import ErrorResponse, HTTPError, invalid
from iogate.operators.access import Access, Actor, Operator
from iogate.security.failure_limit import Busy

if TYPE_CHECKING:
    from iogate.gateway.http.origins import Origins
    from iogate.gateway.http.request import Request

log = logging.getLogger(__name__)

_REQUIRED: Final = ErrorResponse(
    401,
    "requestError.unauthorized",
    "The token of an operator is required: Authorization: Bearer TOKEN",
    [BEARER_CHALLENGE],
)
_INVALID: Final = ErrorResponse(401, "requestError.unauthorized", "Token is invalid", [BEARER_CHALLENGE])


class Sessions(Protocol):
    """Sessions of the console."""

    def operator(self, request: Request) -> Operator | None:
        """Return the operator whose session the cookie of a request is, in its current role; else None."""
        ...


class Authentication:
    """Finds the actor of a request."""

    def __init__(self, access: Access, origins: Origins) -> None:
        self.access = access
        self.sessions: Sessions | None = None
        """Sessions of the console, if it is served."""
        self._origins = origins
        self._log()

    def actor(self, request: Request) -> Actor:
        """Return the actor of a request.

        Raises HTTPError: the 401 without valid credentials, the 429 after too many wrong tokens, the 403 for
        a session in a request from a page of another origin, the 400 for two tokens.
        """
        token = self._token(request)
        if token is None:
            actor = self._of_session(request)
            if actor is None:
                raise HTTPError(_REQUIRED)
            return actor
        try:
            operator = self.access.authenticate(token, request.address)
        except Busy as busy:
            raise too_many_attempts(busy) from None
        if operator is None:
            raise HTTPError(_INVALID)
        return _actor(operator, request)

    def recognize(self, request: Request) -> Actor | None:
        """Return the actor of a request whose credentials may also be those of a caller; None if they are.

        Raises HTTPError as `actor` does, except for wrong tokens: `count_failure` counts them.
        """
        token = self._token(request)
        if token is None:
            return self._of_session(request)
        operator = self.access.recognize(token, request.address)
        return None if operator is None else _actor(operator, request)

    def count_failure(self, request: Request) -> None:
        """Count the token of a request that is neither of an operator nor of a caller.

        Raises HTTPError: the 429 after too many wrong tokens.
        """
        if self._token(request) is None:
            return
        try:
            self.access.count_failure(request.address)
        except Busy as busy:
            raise too_many_attempts(busy) from None

    def refresh(self) -> None:
        """Read the tokens again if a file has changed, at most once a second, and log who is shut out."""
        if self.access.refresh():
            self._log()

    def _token(self, request: Request) -> bytes | None:
        self.refresh()
        if b"authorization" in request.repeated:
            raise invalid("The header authorization is given more than once")
        scheme, token = authorization(request.headers)
        return token if scheme == b"bearer" and token else None

    def _of_session(self, request: Request) -> Actor | None:
        operator = None if self.sessions is None else self.sessions.operator(request)
        if operator is None:
            return None
        if self._origins.forbids(request, open_to_all=True):
            raise HTTPError(CROSS_ORIGIN)
        return Actor(name=operator.name, role=operator.role, via="console", origin=request.address)

    def _log(self) -> None:
        """Log the operators whose authentication fails here, and those that lack one of two tokens."""
        for name, reason in self.access.closed.items():
            log.warning(
                "operator %s is shut out: %s",
                name,
                reason,
                extra={"action": "operator.closed", "operator": name},
            )
        for name, reason in self.access.spare.items():
            log.warning(
                "operator %s lacks one of its tokens: %s",
                name,
                reason,
                extra={"action": "operator.spare", "operator": name},
            )


def _actor(operator: Operator, request: Request) -> Actor:
    return Actor(name=operator.name, role=operator.role, via="http", origin=request.address)
