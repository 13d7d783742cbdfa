"""Requests for access tokens: grants, client authentication, and evaluation of the responses.

Called by `token_cache`. RFC 6749 (grants), RFC 8693 (token exchange), RFC 7523 (assertions of the client). A
JWT for `client_secret_jwt` is signed here with HS256; the policy contains the one for `private_key_jwt`, as
the standard requires, so that no private key is needed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets as entropy
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote_plus, urlencode

from multidict import CIMultiDict
from yarl import URL

import iogate
from iogate import json_values
from iogate.effects.authentication.policies import EXCHANGE, Client, OAuth
from iogate.effects.http.request import Request
from iogate.security import base64url

ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_LIFETIME_S: Final = 60
"""Lifetime of a client's assertion, in seconds."""

_CODE: Final = re.compile(r"[A-Za-z_]{1,64}")
_HINTS: Final = {
    "invalid_client": "check client.id, client.secret and client.authentication",
    "invalid_grant": "check the user name and password, or the token that is given",
    "invalid_scope": "check the scopes",
    "invalid_target": "check the audiences",
    "unauthorized_client": "the authorization server does not allow this client this grant",
    "unsupported_grant_type": "the authorization server does not know this grant",
}

Fields = list[tuple[str, str]]


def build_token_request(url: URL, policy: OAuth, *, refresh: str = "") -> Request:
    """Build the token request of a grant; `refresh` is a refresh token to use instead of that grant."""
    return _post(url, policy, _refresh_fields(refresh) if refresh else _grant_fields(policy))


def build_introspection_request(url: URL, policy: OAuth, token: str) -> Request:
    """Build the introspection request for a granted token (RFC 7662)."""
    return _post(url, policy, [("token", token), ("token_type_hint", "access_token")])


def _post(url: URL, policy: OAuth, fields: Fields) -> Request:
    headers = CIMultiDict(
        {
            "Accept": "application/json",
            "Accept-Encoding": "gzip, deflate",
            "User-Agent": f"iogate/{iogate.__version__}",
            "Content-Type": policy.encoding,
        }
    )
    fields = [*fields, *_authenticate_client(policy.client, str(url), headers)]
    if policy.encoding == "application/json":
        body = json.dumps(_members(fields), ensure_ascii=False).encode()
    else:
        body = urlencode(fields).encode()
    return Request(method="POST", url=url, headers=headers, body=body)


def _grant_fields(policy: OAuth) -> Fields:
    fields: Fields = [("grant_type", policy.grant)]
    subject = policy.subject
    if policy.grant == "password":
        fields += [("username", policy.username), ("password", policy.password)]
    elif policy.grant == "refresh_token" and subject is not None:
        fields.append(("refresh_token", subject.token))
    elif policy.grant == EXCHANGE and subject is not None:
        fields += [("subject_token", subject.token), ("subject_token_type", subject.type)]
        if policy.actor is not None:
            fields += [("actor_token", policy.actor.token), ("actor_token_type", policy.actor.type)]
    if policy.scopes:
        fields.append(("scope", " ".join(policy.scopes)))
    return fields + [("audience", audience) for audience in policy.audiences]


def _refresh_fields(token: str) -> Fields:
    """Return the fields of a refresh; an absent scope means the granted one (RFC 6749, section 6)."""
    return [("grant_type", "refresh_token"), ("refresh_token", token)]


def _members(fields: Fields) -> dict[str, str | list[str]]:
    """Return the fields of a grant's request as a JSON object; repeated names become a list."""
    members: dict[str, str | list[str]] = {}
    for name, value in fields:
        before = members.get(name)
        if before is None:
            members[name] = value
        else:
            members[name] = [*(before if isinstance(before, list) else [before]), value]
    return members


def _authenticate_client(client: Client, audience: str, headers: CIMultiDict[str]) -> Fields:
    """Authenticate the client of a token request, by the returned fields or by a header."""
    match client.method:
        case "client_secret_basic":
            # RFC 6749, section 2.3.1: both parts are form-encoded before they are joined.
            pair = f"{quote_plus(client.id)}:{quote_plus(client.secret)}"
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode("ascii")
            return []
        case "client_secret_post":
            return [("client_id", client.id), ("client_secret", client.secret)]
        case "client_secret_jwt":
            assertion = client.assertion or _sign(client, audience)
        case "private_key_jwt":
            assertion = client.assertion
        case "none":
            return [("client_id", client.id)] if client.id else []
    return [
        ("client_id", client.id),
        ("client_assertion_type", ASSERTION),
        ("client_assertion", assertion),
    ]


def _sign(client: Client, audience: str) -> str:
    now = int(time.time())
    claims = {
        "iss": client.id,
        "sub": client.id,
        "aud": audience,
        "jti": entropy.token_urlsafe(16),
        "iat": now,
        "exp": now + ASSERTION_LIFETIME_S,
    }
    signed = f"{_encoded({'alg': 'HS256', 'typ': 'JWT'})}.{_encoded(claims)}"
    digest = hmac.new(client.secret.encode(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64url.encode(digest)}"


def _encoded(value: Mapping[str, Any]) -> str:
    return base64url.encode(json.dumps(value, separators=(",", ":")).encode())


# Responses


def describe_refusal(body: Any) -> str:
    """Return code and advice for a refused grant of a token; the free text may repeat secrets."""
    code = body.get("error") if isinstance(body, Mapping) else None
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        return ""
    hint = _HINTS.get(code)
    return f" ({code}); {hint}" if hint else f" ({code})"


def read_issuer(answer: Mapping[str, Any]) -> str | None:
    """Return the issuer of the granted tokens of a response; None if the tokens do not name it.

    Signatures are not verified: the tokens come directly from the authorization server.
    """
    for name in ("access_token", "id_token"):
        token = answer.get(name)
        parts = token.split(".") if isinstance(token, str) else []
        if len(parts) != 3:
            continue
        try:
            claims = json_values.parse(base64url.decode(parts[1]))
        except ValueError:
            continue
        if isinstance(claims, Mapping) and isinstance(claims.get("iss"), str):
            return str(claims["iss"])
    return None
