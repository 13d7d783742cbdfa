"""Signature schemes of webhooks: formats of known senders, keys of secrets, and computation of signatures.

The gateway verifies with it, the command line signs with it, and `forms` checks declared formats. Pure.
Sources: Standard Webhooks 1.0 (`v1` and `v1a`); GitHub, "Validating webhook deliveries"; Stripe, "Verify
webhook signatures manually"; Slack, "Verifying requests from Slack"; Meta, "Webhooks" of the Graph API.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import msgspec

from iogate.auth import ed25519_keys
from iogate.auth.model import SignatureAuth, SignatureFormat, SignatureScheme

PARTS: Final = ("body", "timestamp", "id", "method", "path", "url")
"""Parts of a request that a template can name; `path` is the target of the request, with its query."""
OF_TARGET: Final = frozenset({"path", "url"})
"""Parts that contain the query string, which is the input of a GET."""
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - the prefix of the standard

_PART: Final = re.compile(r"\{([a-z]+)\}")
_HASHES: Final = {"sha256": hashlib.sha256, "sha1": hashlib.sha1, "sha512": hashlib.sha512}
_ED25519_BYTES: Final = 64
Key: TypeAlias = bytes | ed25519_keys.PublicKey
"""Key of an HMAC, or one that verifies signatures of a private key."""
_SEPARATORS: Final = ",; \t"


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """Signature scheme of known senders."""

    formats: tuple[SignatureFormat, ...]
    """Formats with different headers; the first one is used for signing."""
    public: tuple[SignatureFormat, ...] = ()
    """Formats of signatures by a private key, if the sender has given its public key."""
    delivery: str = ""
    """Member of the body with the id of the delivery, if no header has it."""
    wraps: bool = False
    """Whether a form with the only field `payload` has the JSON of the delivery in that field."""


def _standard(word: str) -> SignatureFormat:
    return SignatureFormat(
        header=f"{word}-signature",
        prefix="v1,",
        encoding="base64",
        signed="{id}.{timestamp}.{body}",
        timestamp=f"{word}-timestamp",
        id=f"{word}-id",
    )


def _asymmetric(word: str) -> SignatureFormat:
    return msgspec.structs.replace(_standard(word), prefix="v1a,", algorithm="ed25519")


SCHEMES: Final[Mapping[SignatureScheme, Scheme]] = {
    "github": Scheme(
        formats=(SignatureFormat(header="X-Hub-Signature-256", prefix="sha256=", id="X-GitHub-Delivery"),),
        wraps=True,
    ),
    # Svix, which wrote the standard, sends the headers under its own name.
    "standard-webhooks": Scheme(
        formats=(_standard("webhook"), _standard("svix")),
        public=(_asymmetric("webhook"), _asymmetric("svix")),
    ),
    "stripe": Scheme(
        formats=(
            SignatureFormat(
                header="Stripe-Signature",
                prefix="v1=",
                signed="{timestamp}.{body}",
                timestamp="Stripe-Signature",
                timestamp_prefix="t=",
            ),
        ),
        delivery="id",
    ),
    "slack": Scheme(
        formats=(
            SignatureFormat(
                header="X-Slack-Signature",
                prefix="v0=",
                signed="v0:{timestamp}:{body}",
                timestamp="X-Slack-Request-Timestamp",
            ),
        ),
        delivery="event_id",
        wraps=True,
    ),
    "meta": Scheme(formats=(SignatureFormat(header="X-Hub-Signature-256", prefix="sha256="),)),
}
"""Schemes of known senders; `hmac` declares its own format."""


def scheme_of(auth: SignatureAuth[Any]) -> Scheme:
    """Return the signature scheme of a form `signature`: a known one, or the one that it declares."""
    if auth.declared is not None:
        return Scheme(formats=(auth.declared,))
    return SCHEMES[auth.scheme]


def parts_of(template: str) -> tuple[tuple[bytes, str], ...]:
    """Split the template of a signature into pairs of a literal text and the part after it, the last empty.

    Raises ValueError with the text in braces that is no part.
    """
    pieces = _PART.split(template)
    for piece in pieces[1::2]:
        if piece not in PARTS:
            raise ValueError(piece)
    if any(brace in piece for piece in pieces[::2] for brace in "{}"):
        raise ValueError(next(piece for piece in pieces[::2] if "{" in piece or "}" in piece))
    return tuple(zip((each.encode() for each in pieces[::2]), (*pieces[1::2], ""), strict=True))


def key_of(scheme: SignatureScheme, secret: str) -> Key:
    """Return the key in a secret of a signature scheme. Raises ValueError with the reason if it has none."""
    if scheme != "standard-webhooks":
        return secret.encode("utf-8", "surrogatepass")
    if secret.strip().startswith(ed25519_keys.PREFIX):
        return ed25519_keys.PublicKey(secret)
    encoded = secret.strip().removeprefix(SECRET_PREFIX)
    try:
        key = binascii.a2b_base64(encoded + "=" * (-len(encoded) % 4), strict_mode=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise ValueError("is no secret of Standard Webhooks, which is whsec_ and base64")
    return key


class Signer:
    """Computes signatures of one format with one key.

    They are HMACs (RFC 2104). Copies of two prepared hashes take half the time of `hmac`.
    """

    __slots__ = ("_encode", "_format", "_inner", "_outer", "_parts")

    def __init__(self, format_: SignatureFormat, key: bytes) -> None:
        self._format = format_
        assert format_.algorithm != "ed25519", "a public key does not sign"
        make = _HASHES[format_.algorithm]
        size = make().block_size
        block = (key if len(key) <= size else make(key).digest()).ljust(size, b"\0")
        self._inner = make(bytes(byte ^ 0x36 for byte in block))
        self._outer = make(bytes(byte ^ 0x5C for byte in block))
        self._parts = parts_of(format_.signed)
        self._encode = _hex if format_.encoding == "hex" else _base64

    def signature(self, values: Mapping[str, bytes]) -> bytes:
        """Compute the signature by a scheme, without prefix and padding; `values` has the signed parts."""
        inner, outer = self._inner.copy(), self._outer.copy()
        for literal, part in self._parts:
            if literal:
                inner.update(literal)
            if part:
                inner.update(values[part])
        outer.update(inner.digest())
        return self._encode(outer.digest())

    def matches(self, values: Mapping[str, bytes], signatures: Sequence[bytes]) -> bool:
        """Tell whether one of the signatures is the HMAC of these signed parts, in constant time."""
        expected = self.signature(values)
        found = False
        for signature in signatures:
            found |= hmac.compare_digest(expected, signature)
        return found

    def headers(
        self,
        *,
        body: bytes,
        now_s: float,
        delivery: str,
        method: str = "POST",
        path: str = "/",
        url: str = "",
    ) -> dict[str, str]:
        """Return the headers of a scheme with the signature of a request signed now; `delivery` is its id."""
        format_ = self._format
        moment = str(int(now_s * 1000 if format_.unit == "ms" else now_s))
        texts = {"timestamp": moment, "id": delivery, "method": method, "path": path, "url": url}
        values = {name: text.encode() for name, text in texts.items()}
        signature = self.signature({**values, "body": body}).decode()
        if format_.encoding == "base64":
            signature += "=" * (-len(signature) % 4)
        headers = {format_.id: delivery} if format_.id else {}
        elements: dict[str, list[str]] = {}
        if format_.timestamp:
            elements[format_.timestamp] = [format_.timestamp_prefix + moment]
        same = next((name for name in elements if name.lower() == format_.header.lower()), format_.header)
        elements.setdefault(same, []).append(format_.prefix + signature)
        return headers | {name: ",".join(given) for name, given in elements.items()}


def verifier(format_: SignatureFormat, key: Key) -> Signer | ed25519_keys.Verifier:
    """Return the verifier of the signatures in a format of a scheme, with a key that fits it."""
    if isinstance(key, bytes):
        return Signer(format_, key)
    return ed25519_keys.Verifier(parts_of(format_.signed), key)


def _hex(digest: bytes) -> bytes:
    return binascii.b2a_hex(digest)


def _base64(digest: bytes) -> bytes:
    return binascii.b2a_base64(digest, newline=False).rstrip(b"=")


_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")


class HeaderReader:
    """Reads the signatures and the time in the header of a format."""

    __slots__ = ("_length", "_lowers", "_prefix", "_split", "_time_prefix")

    def __init__(self, format_: SignatureFormat) -> None:
        algorithm = format_.algorithm
        size = _ED25519_BYTES if algorithm == "ed25519" else _HASHES[algorithm]().digest_size
        self._lowers = format_.encoding == "hex"
        self._length = 2 * size if self._lowers else -(-size * 4 // 3)
        self._prefix = format_.prefix.encode()
        self._time_prefix = format_.timestamp_prefix.encode()
        kept = format_.prefix + format_.timestamp_prefix
        separators = "".join(each for each in _SEPARATORS if each not in kept)
        self._split: Callable[[bytes], list[bytes]] = re.compile(f"[{separators}]+".encode()).split

    def signatures(self, header: bytes) -> list[bytes]:
        """Return the signatures in a scheme's header as `Signer.signature` writes them; empty without any."""
        found = []
        alone = len(header) == len(self._prefix) + self._length
        for element in (header,) if alone else self._split(header):
            if not element.startswith(self._prefix):
                continue
            text = element[len(self._prefix) :]
            text = text.lower() if self._lowers else text.rstrip(b"=").translate(_URL_SAFE)
            if len(text) == self._length:
                found.append(text)
        return found

    def moment(self, header: bytes) -> bytes | None:
        """Return the time in a signature header as it was signed; None without exactly one whole number."""
        prefix = self._time_prefix
        found = [each[len(prefix) :] for each in self._split(header) if each.startswith(prefix)]
        if len(found) != 1 or not found[0].isdigit() or len(found[0]) > 15:
            return None
        return found[0]
