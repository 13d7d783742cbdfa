"""Errors of `iogate.errors` as HTTP responses in the common form.

Used by `operator_api`. Pure. Invariant: a message names parameters of a request, not options of the command
that does the same.
"""

from __future__ import annotations

import re
from typing import Final

from iogate.errors import (
    UNCODED,
    InvalidFiles,
    IogateError,
    Misused,
    NotAllowed,
    NotFound,
    NotTaken,
    Refused,
    Stale,
    Unreachable,
)
from iogate.gateway.http.responses import ErrorResponse, store_error, unavailable
from iogate.messages import conjoined

UNANSWERED: Final = unavailable(
    "The store did not answer in time, so that the change may or may not have been made; "
    "repeat it with the same Idempotency-Key"
)
_OPTIONS: Final = re.compile(r"`[^`]*`|(?<![\w-])(?:--[a-z]+(?:-[a-z]+)*(?: [0-9]+)?\s?)+(?<!\s)")
"""Options of the command that a message is about, or a command that it quotes."""


def respond(error: IogateError | TimeoutError) -> ErrorResponse:
    """Return the response to an error of a function of operators, with its hint and its code."""
    match error:
        case TimeoutError() | Unreachable():
            return store_error(error, UNANSWERED)
        case NotFound():
            return _response(404, "requestError.notFound", error)
        case Misused() | InvalidFiles():
            return _response(400, "requestError.invalidParams", error)
        case Stale():
            return _response(412, "requestError.preconditionFailed", error)
        case NotAllowed():
            return _response(403, "requestError.forbidden", error)
        case Refused() | NotTaken():
            return _response(409, "requestError.conflict", error)
        case _:
            return _response(500, "serverError.internal", error)


def _response(status: int, code: str, error: IogateError) -> ErrorResponse:
    iog = "" if error.code == UNCODED else error.code
    message, hint = (_OPTIONS.sub(_parameters, text) for text in (error.message, error.hint))
    return ErrorResponse(status, code, message, hint=hint, iog=iog)


def _parameters(options: re.Match[str]) -> str:
    """Return the HTTP parameters that do the same as options in an error: `prune and max_deletes 2`.

    A quoted command stays as it is.
    """
    if options[0].startswith("`"):
        return options[0]
    return conjoined(each.strip().replace("-", "_") for each in options[0].split("--") if each)
