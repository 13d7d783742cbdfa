"""JWTs that `debug` and `api call` send to an API with the form `jwt`.

Used by `credentials`, which resolves a shared secret, and by the option `--jwt-key`. A token is valid for a
few minutes, and has the claims and scopes that the API requires. Invariant: no message contains a key.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iogate.errors import Misused

if TYPE_CHECKING:
    from iogate.auth.model import Auth, JwtAuth

CALLER = "iogate-debug"
VALID_S = 300


def header_of_secret(form: JwtAuth[Any], secret: str, *, api: str) -> dict[str, str]:
    """Return the header with a JWT that a command signs with a shared secret. Raises Misused."""
    least = 32
    if len(secret.encode("utf-8", "surrogatepass")) < least:
        raise Misused(f"{api}: the secret of jwt is shorter than {least} bytes")
    algorithm = form.algorithms[0] if form.algorithms else "HS256"
    return _header(form, secret, algorithm, None, api=api)


def header_of_key(auth: Auth[Any], file: Path, *, api: str) -> dict[str, str]:
    """Return the header with a JWT that a command signs with the private key of a file, PEM or JWK.

    Raises Misused if the API takes no such tokens, or the file has no such key.
    """
    from iogate.auth.model import JwtAuth, alternatives

    forms = [form for form in alternatives(auth) if isinstance(form, JwtAuth) and not form.secret]
    if not forms:
        raise Misused(f"{api} takes no JWT that is signed with a private key", hint="remove --jwt-key")
    key, kid = _private_key(file)
    fitting = list(_algorithms(key))
    for form in forms:
        algorithm = next((each for each in fitting if not form.algorithms or each in form.algorithms), None)
        if algorithm is not None:
            return _header(form, key, algorithm, kid, api=api)
    raise Misused(
        f"{file} has no key for the algorithms of {api}", hint=f"they are {', '.join(forms[0].algorithms)}"
    )


def missing_key(api: str) -> Misused:
    """Return the error of a JWT that only its issuer can sign."""
    return Misused(
        f"{api}: its JWTs are signed with a private key, which the project does not have",
        hint='pass a token with --header "Authorization: Bearer TOKEN", or sign one with --jwt-key FILE',
    )


def _private_key(file: Path) -> tuple[Any, str | None]:
    """Return the private key of a file that signs a JWT, and its name. Raises Misused."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise Misused(f"--jwt-key: {file} cannot be read: {reason}") from None
    try:
        import jwt
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError:
        from iogate.auth.jwt_form import INSTALL

        raise Misused(INSTALL) from None
    kid: str | None = None
    try:
        if text.lstrip().startswith("{"):
            found = json.loads(text)
            kid = found.get("kid")
            key: Any = jwt.PyJWK(found).key
        else:
            key = load_pem_private_key(text.strip().encode(), password=None)
    except Exception:  # noqa: BLE001 - several kinds, and their texts may quote the key
        key = None
    if not hasattr(key, "sign"):
        raise Misused(f"--jwt-key: {file} has no private key in PEM or as a JWK")
    return key, kid


def _algorithms(key: Any) -> Iterator[str]:
    """Yield the algorithms with which a private key can sign a JWT."""
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    match key:
        case rsa.RSAPrivateKey():
            yield from ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
        case ec.EllipticCurvePrivateKey():
            yield {256: "ES256", 384: "ES384"}.get(key.curve.key_size, "ES512")
        case _:
            yield "EdDSA"


def _header(form: JwtAuth[Any], key: Any, algorithm: str, kid: str | None, *, api: str) -> dict[str, str]:
    try:
        import jwt
    except ImportError:
        from iogate.auth.jwt_form import INSTALL

        raise Misused(INSTALL) from None
    head = {"kid": kid} if kid is not None else None
    try:
        token = jwt.encode(_claims(form), key, algorithm=algorithm, headers=head)
    except Exception:  # noqa: BLE001 - several kinds, and their texts may quote the key
        raise Misused(f"{api}: its key cannot sign a JWT with {algorithm}") from None
    return {"authorization": f"Bearer {token}"}


def _claims(form: JwtAuth[Any]) -> dict[str, Any]:
    """Return the claims of a JWT that a command sends, so that the API accepts it."""
    now = int(time.time())
    claims: dict[str, Any] = {"iat": now, "exp": now + VALID_S}
    if form.issuer is not None:
        claims["iss"] = form.issuer
    if form.audience:
        claims["aud"] = form.audience[0]
    if form.scopes:
        claims["scope"] = " ".join(form.scopes)
    _put(claims, form.caller, CALLER)
    for name, wanted in form.claims.items():
        _put(claims, name, wanted[0] if isinstance(wanted, list) else wanted)
    return claims


def _put(claims: dict[str, Any], name: str, value: Any) -> None:
    """Set a claim of a JWT to send, by its name or by a JSON Pointer."""
    from iogate.json_pointer import unescape

    *above, last = [unescape(each) for each in name[1:].split("/")] if name.startswith("/") else [name]
    for step in above:
        found = claims.setdefault(step, {})
        claims = found if isinstance(found, dict) else {}
    claims[last] = value
