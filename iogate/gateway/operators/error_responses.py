"""Errors of `iogate.errors` as HTTP responses in the common form.

Used by `operator_api`. Pure.
"""

from __future__ import annotations

from typing import Final

from iogate.errors import (
    InvalidFiles,
    IogateError,
    Misused,
    NotFound,
    NotTaken,
    Refused,
    Stale,
    Unreachable,
)
from iogate.gateway.http.responses import ErrorResponse, store_error, unavailable

UNANSWERED: Final = unavailable(
    "The store did not answer in time, so that the change may or may not have been made; "
    "repeat it with the same Idempotency-Key"
)


def respond(error: IogateError | TimeoutError) -> ErrorResponse:
    """Return the response to an error of a function of operators, with its hint."""
    match error:
        case TimeoutError() | Unreachable():
            return store_error(error, UNANSWERED)
        case NotFound():
            return ErrorResponse(404, "requestError.notFound", _text(error))
        case Misused() | InvalidFiles():
            return ErrorResponse(400, "requestError.invalidParams", _text(error))
        case Stale():
            return ErrorResponse(412, "requestError.preconditionFailed", _text(error))
        case Refused() | NotTaken():
            return ErrorResponse(409, "requestError.conflict", _text(error))
        case _:
            return ErrorResponse(500, "serverError.internal", _text(error))


def _text(error: IogateError) -> str:
    return f"{error.message}; {error.hint}" if error.hint else error.message
