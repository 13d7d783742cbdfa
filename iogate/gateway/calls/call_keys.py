"""Keys of a call: its idempotency key, from a header, the input, or the sender of a signed delivery.

Called by `call_handler`, with rules that `routing_table` makes once per revision. Pure. Invariant: an API
whose key is optional and only in a header costs its calls one look at the headers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import msgspec

from iogate.gateway.http.responses import invalid
from iogate.gateway.validation.input_keys import MOST_CHARACTERS

if TYPE_CHECKING:
    from iogate.compiler.revision import Api
    from iogate.gateway.http.request import Request
    from iogate.gateway.validation.call_input import Input


def input_pointers(api: Api) -> list[str]:
    """Return the pointers of an API's keys in the input of a call, in the order of `Input.keys`."""
    concurrency, coalesce = api.limits.of_key, api.coalesces
    pointers = [api.idempotency.key_pointer]
    pointers += [None if rules is None else rules.key for rules in (concurrency, coalesce)]
    return [pointer for pointer in pointers if pointer is not None]


class KeyRules(msgspec.Struct, frozen=True):
    """Where the idempotency key of a call is, apart from the header, and whether a call needs one."""

    in_input: bool
    """Whether the first text of `Input.keys` is a key."""
    missing: str | None
    """Message to a call without a key; None if a key is optional."""
    in_body: bool = False
    """Whether that text is a part of the body, which a signature covers."""

    @classmethod
    def of(cls, api: Api) -> Self | None:
        """Return the rules of an API about idempotency keys; None if it has none."""
        rules = api.idempotency
        pointer = rules.key_pointer
        if pointer is None and not rules.is_required:
            return None
        places = [f"The header {rules.header}"] if rules.header is not None else []
        places += [f"the input at {pointer}"] if pointer is not None else []
        where = " or ".join(places)
        message = f"{where[0].upper()}{where[1:]} must have the idempotency key of the call"
        in_body = pointer is not None and (api.input_from != "request" or pointer.startswith("/body/"))
        return cls(pointer is not None, message if rules.is_required else None, in_body)


def place(api: Api) -> str:
    """Return where the keys of an API's calls are, as the subject of a message: `The Idempotency-Key`."""
    header, pointer = api.idempotency.header, api.idempotency.key_pointer
    if header is None:
        return f"The idempotency key at {pointer}"
    return f"The {header}" if pointer is None else "The idempotency key"


def header_key(name: bytes | None, request: Request) -> str | None:
    """Return the idempotency key in the header `name`; None without one.

    Raises HTTPError: a 400 for an invalid key.
    """
    key = request.headers.get(name) if name is not None else None
    if name is None or key is None:
        return None
    if name in request.repeated:
        raise invalid(f"The header {name.decode()} is given more than once")
    if not 1 <= len(key) <= MOST_CHARACTERS:
        raise invalid(
            f"The header {name.decode()} has {len(key)} characters; expected 1 to {MOST_CHARACTERS}"
        )
    return key.decode("latin-1")


def input_key(rules: KeyRules, value: Input) -> tuple[str | None, str]:
    """Return the idempotency key of a call without one in its header, and the fingerprint that goes with it.

    Raises HTTPError: a 400 for a call without a key that needs one.
    """
    key = value.keys[0] if rules.in_input else None
    if key is not None:
        return key, value.fingerprint
    if rules.missing is not None:
        raise invalid(rules.missing)
    return None, ""


def signed_key(
    rules: KeyRules | None, value: Input, delivery: str | None, header: bytes | None, request: Request
) -> tuple[str | None, str]:
    """Return the idempotency key of a signed call, and the fingerprint that goes with it.

    A key in the body precedes `delivery`, the id that the sender gives a delivery, and this precedes what no
    signature covers: whoever has captured a delivery could repeat it with another header. Raises HTTPError: a
    400 for a call without a key that needs one, or with an invalid one in its header.
    """
    key = value.keys[0] if rules is not None and rules.in_input else None
    if delivery is not None and not (key is not None and rules is not None and rules.in_body):
        # Attempts of one delivery may differ: Stripe counts its receivers in them.
        return delivery, ""
    key = key if key is not None else header_key(header, request)
    if key is not None:
        return key, value.fingerprint
    if rules is not None and rules.missing is not None:
        raise invalid(rules.missing)
    return None, ""
