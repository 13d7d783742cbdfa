"""An issuer of JWTs for tests: keys, tokens, a key set, and malformed tokens."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from jwt import api_jws
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

ISSUER, AUDIENCE = "https://issuer.test", "https://gateway.test"
SECRET = "a shared secret of more than 64 bytes, so that it fits all of the algorithms"
KINDS: dict[str, Any] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "rsa"),
    "ES256": "p256",
    "ES384": "p384",
    "ES512": "p521",
    "EdDSA": "ed25519",
}


def private_key(kind: str, number: int = 0) -> Any:
    """The `number`th private key of a kind."""
    return _made(kind, number)


@cache
def _made(kind: str, _number: int) -> Any:
    match kind:
        case "rsa":
            return rsa.generate_private_key(65537, 2048)
        case "rsa1024":
            return rsa.generate_private_key(65537, 1024)
        case "p256":
            return ec.generate_private_key(ec.SECP256R1())
        case "p384":
            return ec.generate_private_key(ec.SECP384R1())
        case "p521":
            return ec.generate_private_key(ec.SECP521R1())
        case "k256":
            return ec.generate_private_key(ec.SECP256K1())
        case _:
            return ed25519.Ed25519PrivateKey.generate()


def public_pem(kind: str, number: int = 0) -> str:
    public = private_key(kind, number).public_key()
    return str(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


def private_pem(kind: str, number: int = 0) -> str:
    key = private_key(kind, number)
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


def jwk(kind: str, number: int = 0, **more: Any) -> dict[str, Any]:
    """The public JWK of a key, with more members."""
    public = private_key(kind, number).public_key()
    algorithm: Any = {"rsa": RSAAlgorithm, "ed25519": OKPAlgorithm}.get(
        kind.removesuffix("1024"), ECAlgorithm
    )
    return {**algorithm.to_jwk(public, as_dict=True), **more}


def key_set(*keys: Mapping[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


def claims(**changed: Any) -> dict[str, Any]:
    """Claims of a valid token; None removes one."""
    now = time.time()
    found = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "exp": now + 300, "iat": now, **changed}
    return {name: value for name, value in found.items() if value is not None}


def token(
    algorithm: str = "ES256", *, key: Any = None, header: Mapping[str, Any] | None = None, **changed: Any
) -> str:
    """A signed token; without `key`, of the key of the algorithm's kind, or of SECRET."""
    if key is None:
        key = SECRET if algorithm.startswith("HS") else private_key(KINDS[algorithm])
    payload = json.dumps(claims(**changed)).encode()
    return api_jws.encode(payload, key, algorithm=algorithm, headers=dict(header or {}))


def part(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
