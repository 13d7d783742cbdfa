"""Errors of iogate: one class tree, with stable codes and exit codes.

    IogateError
    ├── InvalidFiles        3   invalid documents or settings
    ├── Refused             4   a safety check refused: prune, stale plan, protected, disabled
    ├── NotTaken            5   committed, but a process has not loaded it yet
    ├── Unreachable         6   store or gateway is unreachable
    │   ├── NoStore         6   no store is configured, and no embedded one runs
    │   └── WrongStore      6   a store that must not be used: other version, unsafe settings
    ├── RunFailed           7   the awaited run faulted or was cancelled
    ├── NotFound            8
    ├── ExpectationFailed   9   a debug expectation failed
    ├── Misused            64   invalid options or arguments
    └── StillRunning      124   a deadline passed first

    WorkflowError               error of a task inside a run (RFC 7807); data, without an exit code

Codes are `IOG` and three digits: 1xx reading and API documents, 2xx workflow documents, 3xx across
documents, 4xx valid but not executed by this release, 5xx lint, 6xx at run time. `iogate explain CODE`
reads their sections in `explanations.md`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

UNCODED: Final = "IOG600"
"""Code of errors without one of their own."""


class IogateError(Exception):
    """Error that a person can act on; the message names the failure and its place.

    `hint` is the next step; the command line prints it on a separate line.
    """

    exit_code: ClassVar[int] = 1

    def __init__(
        self, message: str, *, code: str = UNCODED, hint: str = "", where: Sequence[str] = ()
    ) -> None:
        """Create an error of iogate; `where` are the places that it is about: `PATH:LINE:COLUMN`."""
        super().__init__(message)
        self.where = tuple(where)
        self.message = message
        self.code = code
        self.hint = hint


class InvalidFiles(IogateError):
    exit_code = 3


class Refused(IogateError):
    exit_code = 4


class Stale(Refused):
    """Error of a change of an object that has changed since the caller has read it."""


class NotAllowed(Refused):
    """Error of a change that takes a higher role than that of the operator."""


class NotTaken(IogateError):
    exit_code = 5


class Unreachable(IogateError):
    exit_code = 6


class NoStore(Unreachable):
    pass


class WrongStore(Unreachable):
    pass


class RunFailed(IogateError):
    exit_code = 7


class NotFound(IogateError):
    exit_code = 8


class ExpectationFailed(IogateError):
    exit_code = 9


class Misused(IogateError):
    exit_code = 64


class StillRunning(IogateError):
    exit_code = 124


ERROR_TYPES = "https://open-workflow-specification.org/spec/1.0.0/errors/"
"""The URI family of the standard's error types (dsl-reference.md, Standard Error Types)."""

STANDARD_STATUS = {
    "configuration": 400,
    "validation": 400,
    "expression": 400,
    "authentication": 401,
    "authorization": 403,
    "timeout": 408,
    "communication": 500,
    "runtime": 500,
}


_TITLES = {
    "configuration": "Configuration does not hold",
    "validation": "Data does not match its schema",
    "expression": "Expression failed",
    "authentication": "Authentication failed",
    "authorization": "Not allowed",
    "timeout": "Timed out",
    "communication": "Communication failed",
    "runtime": "Execution failed",
}

RESPONSE_HEADERS: Final = (
    "Allow",
    "Content-Language",
    "Content-Type",
    "Date",
    "Etag",
    "Last-Modified",
    "Ratelimit",
    "Ratelimit-Limit",
    "Ratelimit-Policy",
    "Ratelimit-Remaining",
    "Ratelimit-Reset",
    "Request-Id",
    "Retry-After",
    "X-Correlation-Id",
    "X-Ratelimit-Limit",
    "X-Ratelimit-Remaining",
    "X-Ratelimit-Reset",
    "X-Request-Id",
)
"""Headers that the `response` of an error contains, in the letter case of outputs.

Other headers may contain credentials."""

ERROR_FAMILIES: Final = {
    "open-workflow": ERROR_TYPES,
    "serverless-workflow": "https://serverlessworkflow.io/spec/1.0.0/errors/",
    "serverless-workflow-dsl": "https://serverlessworkflow.io/dsl/errors/types/",
}
"""Values of the setting `error_types`, each with its family of URIs for the standard's errors."""

_FAMILIES = (*ERROR_FAMILIES.values(), "https://open-workflow-specification.org/dsl/errors/types/")

STANDARD_TYPES: Final = frozenset(family + kind for family in _FAMILIES for kind in STANDARD_STATUS)


def in_family(error: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return an error with its standard type in one of `ERROR_FAMILIES`; other types stay unchanged."""
    kind = str(error.get("type")).removeprefix(ERROR_TYPES)
    return {**error, "type": ERROR_FAMILIES[name] + kind} if kind in STANDARD_STATUS else dict(error)


def for_operators(message: str, error: Mapping[str, Any]) -> str:
    """Return the message of an error, followed by its members for operators."""
    if error.get("sentTo"):
        message += f" (sent to {error['sentTo']})"
    if error.get("responseExcerpt"):
        message += f"; its response: {error['responseExcerpt']}"
    process = error.get("process") or {}
    streams = [(name, process.get(name)) for name in ("stderr", "stdout")]
    return message + "".join(f"; its {name} ends: {text}" for name, text in streams if text)


def same_type(wanted: str, found: str) -> bool:
    """Tell whether two type URIs name the same error, in any of the standard's families of URIs."""
    return _plain_type(wanted) == _plain_type(found)


def _plain_type(uri: str) -> str:
    for family in _FAMILIES:
        if uri.startswith(family):
            return uri[len(family) :]
    return uri


class WorkflowError(Exception):
    """An error of a task, as RFC 7807 describes it; catchable by the workflow's `try`.

    `kind` is one of the standard's types ("communication") or a whole URI; `instance` is the JSON
    Pointer of the task, which the engine sets if it is missing. A standard type has a default title. Three
    members are extensions of RFC 7807: `response`, for the workflow alone, is
    status, headers and body of the HTTP response that the error is about; `process`, for the workflow and
    for operators, is the exit code of a failed process and the end of what it wrote; `sentTo`, for operators
    alone, is the origin to which the setting `endpoints` sent a call.
    """

    def __init__(
        self,
        kind: str = "runtime",
        *,
        status: int | None = None,
        title: str | None = None,
        detail: str | None = None,
        instance: str | None = None,
        response: Mapping[str, Any] | None = None,
        process: Mapping[str, Any] | None = None,
        sent_to: str | None = None,
    ) -> None:
        super().__init__(detail or title or kind)
        self.type = ERROR_TYPES + kind if kind in STANDARD_STATUS else kind
        self.status = status if status is not None else STANDARD_STATUS.get(kind, 500)
        self.title = title or _TITLES.get(kind)
        self.detail = detail
        self.instance = instance
        self.response = response
        self.process = process
        self.sent_to = sent_to

    def to_json(self) -> dict[str, Any]:
        """Return the WorkflowError as an error object of the DSL, without absent members."""
        members = {
            "type": self.type,
            "status": self.status,
            "title": self.title,
            "detail": self.detail,
            "instance": self.instance,
            "response": self.response,
            "process": self.process,
            "sentTo": self.sent_to,
        }
        return {name: value for name, value in members.items() if value is not None}
