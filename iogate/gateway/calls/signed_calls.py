"""Authentication of requests whose body is signed, and the idempotency keys that their senders bring.

Called by `call_handler` and `event_intake` for a form `signature`, before the other forms. Invariant: a body
that was read for a request that is then refused no longer counts towards the budget.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iogate.gateway.authentication.authenticator import too_many_attempts
from iogate.gateway.http.responses import UNCONFIGURED, HTTPError, Response
from iogate.gateway.validation import call_input
from iogate.security.failure_limit import Busy

if TYPE_CHECKING:
    from iogate.gateway.authentication.authenticator import Authenticator
    from iogate.gateway.authentication.signature_verification import Signatures, Signed
    from iogate.gateway.http.request import Request
    from iogate.gateway.state import GatewayState


async def authenticate(
    state: GatewayState, authenticator: Authenticator, signatures: Signatures, request: Request, *, limit: int
) -> Signed | Response | None:
    """Return the sender of a signed request, or the response to a test of the URL; None without a signature.

    Reads the body of a request with a signature, up to `limit` bytes. Raises HTTPError: a 401, the 503 if the
    secrets are missing on this machine, or the 4xx of a body that cannot be read.
    """
    if signatures.is_subscription(request):
        try:
            return await signatures.subscribe(request)
        except Busy as busy:
            raise too_many_attempts(busy) from None
    presented = signatures.read(request, state.clock.now_ms() / 1000)
    if not presented:
        return None
    if request.method == "POST" and not request.is_read:
        call_input.check_encoding(request)
        await state.bodies.read(request, limit=limit)
    try:
        signed = await signatures.verify(request, presented, state.public_url)
        answer = signed.answer(request) if signed.answer is not None else None
    except BaseException as error:
        state.bodies.release(request)
        if isinstance(error, HTTPError) and authenticator.lacks:
            # The signature may match a secret that this machine lacks.
            raise HTTPError(UNCONFIGURED) from None
        raise
    if answer is not None:
        state.bodies.release(request)
        return answer
    return signed


def delivery_key(found: str | None) -> str | None:
    """Return the idempotency key of a signed delivery by its id; no key that a caller sends is equal."""
    return f"delivery\0{found}" if found else None
