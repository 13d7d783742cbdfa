"""Keys that verify the signatures of JWTs: from key sets (RFC 7517), PEM files and shared secrets.

Used by `key_sets` and `jwt`. The library PyJWT, the extra `jwt` of the package, is imported on first use, and
only if an API accepts JWTs. Invariants: a key verifies only algorithms of its own kind, a shared secret never
comes out of a key set, and no message contains a part of a key.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from iogate import json_values
from iogate.auth.jwt_form import INSTALL, SYMMETRIC

MAX_KEYS: Final = 100
"""Keys of a set; further ones are ignored."""
_RSA_BITS: Final = (2048, 8192)
_RSA: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVES: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_SECRET_BYTES: Final = {"HS256": 32, "HS384": 48, "HS512": 64}
"""Least length of a shared secret (RFC 7518, section 3.2)."""
_PRIVATE: Final = frozenset({"d", "k"})
"""Members of a JWK that are secret."""


class UnusableKeys(Exception):
    """Keys that cannot verify a signature; the message says why."""


@dataclass(frozen=True, kw_only=True)
class VerificationKey:
    """Key of an issuer. Two keys are equal if they are the same key with the same permissions."""

    thumbprint: bytes
    algorithms: frozenset[str]
    kid: str | None = None
    material: Any = field(compare=False, repr=False)
    """Public key of the library, or bytes of a shared secret."""


async def load_library() -> None:
    """Import the library for keys of JWTs in a thread, which takes a tenth of a second, if it exists."""
    try:
        await asyncio.to_thread(importlib.import_module, "jwt")
    except ImportError:
        return


def missing_library() -> str:
    """Return the message about the missing library for keys of JWTs; empty if it is installed."""
    try:
        import cryptography  # noqa: F401, PLC0415 - an extra
        import jwt  # noqa: F401, PLC0415 - an extra
    except ImportError:
        return INSTALL
    return ""


def verified_payload(token: bytes, key: VerificationKey, algorithm: str) -> bytes | None:
    """Return the payload of a JWT if this key has signed it by this algorithm, else None."""
    if algorithm not in key.algorithms:
        return None
    from jwt import api_jws  # noqa: PLC0415 - an extra

    try:
        decoded = api_jws.decode_complete(token, key.material, algorithms=[algorithm])
    except Exception:  # noqa: BLE001 - whatever a hostile token raises, it is invalid
        return None
    payload = decoded["payload"]
    return payload if isinstance(payload, bytes) else None


def read_key_set(data: bytes) -> tuple[VerificationKey, ...]:
    """Return the keys of a JWK Set that verify JWTs; others, and those of unknown kinds, are ignored.

    Raises UnusableKeys if there is none.
    """
    try:
        document = json_values.parse(data)
    except ValueError as error:
        raise UnusableKeys(f"the key set is not valid JSON: {error}") from None
    keys = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(keys, list):
        raise UnusableKeys('the key set is not an object with a list "keys"')
    found = tuple(key for each in keys[:MAX_KEYS] if (key := _from_jwk(each)) is not None)
    if not found:
        raise UnusableKeys("the key set has no public key for signatures that iogate knows")
    return found


def read_public_keys(text: str) -> tuple[VerificationKey, ...]:
    """Return the keys of a file that verify JWTs: PEM, a JWK or a JWK Set. Raises UnusableKeys."""
    if text.lstrip().startswith("{"):
        try:
            document = json_values.parse(text)
        except ValueError as error:
            raise UnusableKeys(f"is not valid JSON: {error}") from None
        keys = document.get("keys", [document])
        given: list[Any] = keys if isinstance(keys, list) else []
        if any(isinstance(each, Mapping) and not _PRIVATE.isdisjoint(each) for each in given):
            raise UnusableKeys("has a private or shared key; give the public key")
        found = tuple(key for each in given[:MAX_KEYS] if (key := _from_jwk(each)) is not None)
        if not found:
            raise UnusableKeys("has no public key for signatures that iogate knows")
        return found
    if "PRIVATE KEY" in text:
        raise UnusableKeys("has a private key; give the public key")
    return (_from_pem(text),)


def read_secret(text: str) -> VerificationKey:
    """Return the JWT key of a shared secret. Raises UnusableKeys if it is too short or a public key."""
    from jwt.algorithms import HMACAlgorithm  # noqa: PLC0415 - an extra
    from jwt.exceptions import InvalidKeyError  # noqa: PLC0415

    material = text.encode("utf-8", "surrogatepass")
    least = min(_SECRET_BYTES.values())
    if len(material) < least:
        raise UnusableKeys(f"has {len(material)} bytes, and a shared secret needs at least {least}")
    try:
        HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(material)
    except InvalidKeyError:
        raise UnusableKeys("is a public key, a certificate or a JWK, not a shared secret") from None
    return VerificationKey(
        thumbprint=hashlib.sha256(material).digest(),
        algorithms=frozenset(each for each in SYMMETRIC if len(material) >= _SECRET_BYTES[each]),
        material=material,
    )


def describe_missing_algorithms(keys: Iterable[VerificationKey], wanted: Iterable[str]) -> str:
    """Return why keys cannot verify any of the wanted algorithms; empty if they can verify one."""
    known = frozenset[str]().union(*(key.algorithms for key in keys))
    names = list(wanted)
    if not names or not known.isdisjoint(names):
        return ""
    return f"verifies {', '.join(sorted(known))}, and algorithms has {', '.join(names)}"


def _from_jwk(jwk: Any) -> VerificationKey | None:
    """Return the key of a public JWK; None for another use, and for a kind that iogate does not know."""
    if not isinstance(jwk, Mapping) or jwk.get("kty") not in ("RSA", "EC", "OKP"):
        return None
    operations = jwk.get("key_ops")
    if jwk.get("use", "sig") != "sig" or (isinstance(operations, list) and "verify" not in operations):
        return None
    kid, algorithm = jwk.get("kid"), jwk.get("alg")
    from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm  # noqa: PLC0415 - an extra

    public = {name: value for name, value in jwk.items() if name not in _PRIVATE}
    kinds: dict[str, Any] = {"RSA": RSAAlgorithm, "EC": ECAlgorithm, "OKP": OKPAlgorithm}
    try:
        material = kinds[jwk["kty"]].from_jwk(public)
    except Exception:  # noqa: BLE001 - whatever a malformed key raises, it is ignored
        return None
    algorithms = _algorithms_of(material)
    if isinstance(algorithm, str):
        algorithms &= {algorithm}
    if not algorithms:
        return None
    return VerificationKey(
        thumbprint=_thumbprint(material),
        algorithms=algorithms,
        kid=kid if isinstance(kid, str) else None,
        material=material,
    )


def _from_pem(text: str) -> VerificationKey:
    from cryptography import x509  # noqa: PLC0415 - an extra
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    data = text.strip().encode("utf-8", "surrogatepass")
    try:
        material: Any = (
            x509.load_pem_x509_certificate(data).public_key()
            if b"BEGIN CERTIFICATE" in data
            else load_pem_public_key(data)
        )
    except Exception:  # noqa: BLE001 - several kinds, and their texts may quote the key
        raise UnusableKeys("is not a public key in PEM, a JWK or a JWK Set") from None
    algorithms = _algorithms_of(material)
    if not algorithms:
        raise UnusableKeys(
            "is no key for JWTs, which are RSA of 2048 to 8192 bits, P-256, P-384, P-521 and Ed25519"
        )
    return VerificationKey(thumbprint=_thumbprint(material), algorithms=algorithms, material=material)


def _algorithms_of(material: Any) -> frozenset[str]:
    """Return the JWT algorithms of a public key; none for a kind or size that iogate does not accept."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa  # noqa: PLC0415 - an extra

    match material:
        case rsa.RSAPublicKey():
            return _RSA if _RSA_BITS[0] <= material.key_size <= _RSA_BITS[1] else frozenset()
        case ec.EllipticCurvePublicKey():
            algorithm = _CURVES.get(material.curve.name)
            return frozenset({algorithm} if algorithm else ())
        case ed25519.Ed25519PublicKey():
            return frozenset({"EdDSA"})
        case _:
            return frozenset()


def _thumbprint(material: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415

    return hashlib.sha256(material.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
