"""Check of authentication policies: no grant needs a person, and each has its required parameters.

Policies that come whole out of a secret, and members that are expressions, are judged when a call is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from iogate.compiler.faults import Placed, Surroundings, fault
from iogate.compiler.outline import Pointer
from iogate.compiler.policies import policies
from iogate.documents.problems import Problem, quoted

_SUBJECT = {
    "refresh_token": 'the refresh token, as "token" with its "type"',
    "urn:ietf:params:oauth:grant-type:token-exchange": 'the token to exchange, as "token" with its "type"',
}


def check(document: Placed, surroundings: Surroundings) -> Iterator[Problem]:
    del surroundings
    for pointer, policy in policies(document.data):
        for scheme in ("oauth2", "oidc"):
            members = policy.get(scheme)
            if isinstance(members, Mapping) and "use" not in members:
                yield from _grant(document, (*pointer, scheme), members)
                yield from _client(document, (*pointer, scheme, "client"), members.get("client") or {})


def _grant(document: Placed, pointer: Pointer, members: Mapping[str, Any]) -> Iterator[Problem]:
    grant = members["grant"]
    if grant == "authorization_code":
        yield fault(
            document,
            (*pointer, "grant"),
            "IOG360",
            'the grant "authorization_code" needs a person at a browser, and a workflow has none',
            hint="use client_credentials, or refresh_token with a token that a person has got once",
        )
    elif grant == "password":
        missing = [name for name in ("username", "password") if members.get(name) is None]
        if missing:
            yield _lacks(document, (*pointer, "grant"), "the grant", grant, " and ".join(missing))
    elif grant in _SUBJECT and members.get("subject") is None:
        yield _lacks(document, (*pointer, "grant"), "the grant", grant, f'"subject": {_SUBJECT[grant]}')


def _client(document: Placed, pointer: Pointer, client: Mapping[str, Any]) -> Iterator[Problem]:
    method = client.get("authentication")
    at = (*pointer, "authentication")
    if method is None:
        if client.get("secret") is not None and client.get("id") is None:
            yield _lacks(document, (*pointer, "secret"), "the key", "secret", '"id" beside it')
        return
    if method == "none":
        return
    if client.get("id") is None:
        yield _lacks(document, at, "the client's authentication", method, '"id"')
    signed = client.get("assertion") is not None
    if method == "private_key_jwt" and not signed:
        yield _lacks(document, at, "the client's authentication", method, '"assertion", a signed JWT')
    needs_secret = method.startswith("client_secret") and not (method == "client_secret_jwt" and signed)
    if needs_secret and client.get("secret") is None:
        yield _lacks(document, at, "the client's authentication", method, '"secret"')


def _lacks(document: Placed, pointer: Pointer, what: str, name: str, missing: str) -> Problem:
    return fault(document, pointer, "IOG361", f"{what} {quoted(name)} needs {missing}")
