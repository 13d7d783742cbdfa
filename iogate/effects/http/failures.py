"""Failures of calls, and their conversion to the standard's errors.

Called by `http_calls` and `authentication`. Invariant: an error names the method and the address as the
author wrote it, and no sent data: path, query, headers and body may each contain a secret, and errors are
stored. `sentTo`, which only operators see, has the origin to which `endpoints` sent the call, and `response`,
which only the workflow sees, the response.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from typing import Any, Final

import aiohttp

from iogate.effects.http import responses
from iogate.effects.http.address_policy import ForbiddenAddress
from iogate.effects.http.target_names import TargetName
from iogate.errors import WorkflowError

FOLLOWED: Final = frozenset({301, 302, 303, 307, 308})

_UNTRUSTED: Final = frozenset({18, 19, 20, 21})
"""OpenSSL's codes for certificates of an unknown issuer, self-signed ones included."""


class CallFailed(Exception):
    """Failure of a call.

    `definite` tells whether the receiver sent a complete response. A refused connection is not definite: an
    earlier attempt of the call may have arrived, and a new idempotency key would repeat its work.
    """

    def __init__(self, error: WorkflowError, *, definite: bool) -> None:
        super().__init__(error.detail)
        self.error = error
        self.definite = definite


class UnexpectedStatus(Exception):
    """A response with a status that is not accepted; `hint` is advice for the message.

    `response` is the part of the response that the workflow may see.
    """

    def __init__(self, status: int, hint: str = "", response: Mapping[str, Any] | None = None) -> None:
        self.status = status
        self.hint = hint
        self.response = response


class BadRedirect(Exception):
    """A redirect to a location that is not an http(s) URL."""


@asynccontextmanager
async def convert_failures(target: TargetName) -> AsyncIterator[None]:
    """Convert exceptions of a request to failures of the call, CallFailed; `called` names the target.

    Raises CallFailed.
    """
    fail = partial(call_error, sent_to=target.sent_to)
    try:
        yield
    except UnexpectedStatus as refused:
        status, hint = refused.status, refused.hint
        if status in FOLLOWED and not hint:
            hint = 'set "redirect: true" to follow it'
        detail = f"{target} answered {status_phrase(status)}{'; ' if hint else ''}{hint}"
        raise fail(detail, status=status, definite=True, response=refused.response) from None
    except responses.BadResponse as fault:
        raise fail(f"{target} answered, but {fault}", definite=True) from None
    except BadRedirect:
        raise fail(f"{target} redirected to a location that is not an http(s) URL", definite=True) from None
    except ForbiddenAddress as reason:
        error = WorkflowError("authorization", title="HTTP call not allowed", detail=str(reason))
        raise CallFailed(error, definite=False) from None
    except TimeoutError:
        raise fail(f"{target} did not answer in time", definite=False) from None
    except aiohttp.ClientConnectorCertificateError as fault:
        why = _certificate_reason(fault.certificate_error, brief=target.sent_to is not None)
        raise fail(f"{target} failed: its TLS certificate is not valid: {why}", definite=False) from None
    except aiohttp.ClientConnectorError as fault:
        raise fail(f"{target} failed: cannot connect: {_os_reason(fault.os_error)}", definite=False) from None
    except aiohttp.ServerDisconnectedError:
        raise fail(f"{target} failed: the server closed the connection", definite=False) from None
    except aiohttp.ClientPayloadError:
        raise fail(f"{target} failed: the connection broke within the response", definite=False) from None
    except aiohttp.ClientResponseError:
        raise fail(f"{target} failed: the response is not valid HTTP", definite=False) from None
    except (aiohttp.ClientError, OSError, ValueError) as fault:
        # Their texts may quote headers or the URL; only the name of the exception is safe to show.
        raise fail(f"{target} failed: {type(fault).__name__}", definite=False) from None


def call_error(
    detail: str,
    *,
    status: int = 500,
    definite: bool,
    response: Mapping[str, Any] | None = None,
    sent_to: str | None = None,
) -> CallFailed:
    """Return the communication error of a failure of a call; `sent_to` as in `TargetName`."""
    error = WorkflowError(
        "communication",
        status=status,
        title="HTTP call failed",
        detail=detail,
        response=response,
        sent_to=sent_to,
    )
    return CallFailed(error, definite=definite)


def status_phrase(status: int) -> str:
    """Return the status of a failed call with its reason phrase: `404 Not Found`."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _certificate_reason(fault: Exception, *, brief: bool) -> str:
    """Return the defect of a certificate, for the failure of a call; `brief`: without the host's name."""
    if not isinstance(fault, ssl.SSLCertVerificationError) or not fault.verify_message:
        return "it cannot be verified"
    reason = fault.verify_message.rstrip(".")
    if brief:
        reason = reason.partition(", certificate is not valid for")[0]
    if fault.verify_code in _UNTRUSTED:
        reason += "; the variable SSL_CERT_FILE can name a file of certificates to trust"
    return reason


def _os_reason(fault: OSError) -> str:
    if isinstance(fault, ssl.SSLError):
        return f"TLS: {(fault.reason or 'unknown').lower().replace('_', ' ')}"
    if fault.errno is not None and fault.errno > 0:
        return os.strerror(fault.errno)
    return fault.strerror or type(fault).__name__
