"""Authentication of operators: from a request to its actor.

Used by `operator_api`; the console has sessions of its own. Invariants: a request without valid credentials
learns nothing about operators; a cookie, which browsers send by themselves, is no credential here; no token
is logged.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from iogate.gateway.authentication.authenticator import too_many_attempts
from iogate.gateway.authentication.forms.form import BEARER_CHALLENGE
from iogate.gateway.authentication.request_credentials import authorization
from iogate.gateway.http.responses import ErrorResponse, HTTPError, invalid
from iogate.operators.operator_tokens import OperatorTokens
from iogate.operators.roles import Actor, Operator
from iogate.security.failure_limit import Busy

if TYPE_CHECKING:
    from iogate.gateway.http.request import Request

log = logging.getLogger(__name__)

_REQUIRED: Final = ErrorResponse(
    401,
    "requestError.unauthorized",
    "The token of an operator is required: Authorization: Bearer TOKEN",
    [BEARER_CHALLENGE],
)
_INVALID: Final = ErrorResponse(401, "requestError.unauthorized", "Token is invalid", [BEARER_CHALLENGE])


class Authentication:
    """Finds the actor of a request."""

    def __init__(self, access: OperatorTokens) -> None:
        self.access = access
        self._log()

    def actor(self, request: Request) -> Actor:
        """Authenticate an operator: return the actor of a request by its token.

        Raises HTTPError: the 401 without a valid token, the 429 after too many wrong ones, the 400 for two.
        """
        token = self._token(request)
        if token is None:
            raise HTTPError(_REQUIRED)
        try:
            operator = self.access.authenticate(token, request.address)
        except Busy as busy:
            raise too_many_attempts(busy) from None
        if operator is None:
            raise HTTPError(_INVALID)
        return _actor(operator, request)

    def recognize(self, request: Request) -> Actor | None:
        """Return the operator of a request as an actor; None if its credentials may be those of a caller.

        Raises HTTPError as `actor` does, except for wrong tokens: `count_failure` counts them.
        """
        token = self._token(request)
        if token is None:
            return None
        operator = self.access.recognize(token, request.address)
        return None if operator is None else _actor(operator, request)

    def count_failure(self, request: Request) -> None:
        """Count the token of a request that authenticates neither an operator nor a caller.

        Raises HTTPError: the 429 after too many wrong tokens.
        """
        if self._token(request) is None:
            return
        try:
            self.access.count_failure(request.address)
        except Busy as busy:
            raise too_many_attempts(busy) from None

    def refresh(self) -> None:
        """Read changed token files of operators again, at most once a second; log those that are shut out."""
        if self.access.refresh():
            self._log()

    def _token(self, request: Request) -> bytes | None:
        self.refresh()
        if b"authorization" in request.repeated:
            raise invalid("The header authorization is given more than once")
        scheme, token = authorization(request.headers)
        return token if scheme == b"bearer" and token else None

    def _log(self) -> None:
        """Log the operators that are shut out on this machine, and those that lack one of two tokens."""
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
                extra={"action": "operator.spare_missing", "operator": name},
            )


def _actor(operator: Operator, request: Request) -> Actor:
    return Actor(name=operator.name, role=operator.role, via="http", origin=request.address)
