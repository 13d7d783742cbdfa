"""Check of authentication policies: no grant needs a person, and each has its required parameters.

Policies that come whole out of a secret, and members that are expressions, are checked when a call is made.
"""

from __future__ import annotations

from collections.abc import Iterator

from iogate.compiler.checked_definition import Definition
from iogate.compiler.diagnostics import CheckContext, Document, problem_at
from iogate.documents.problems import Problem
from iogate.expressions import Template
from iogate.expressions.templates import member, plain_text
from iogate.json_pointer import Pointer
from iogate.messages import quoted

_SUBJECT = {
    "refresh_token": 'the refresh token, as "token" with its "type"',
    "urn:ietf:params:oauth:grant-type:token-exchange": 'the token to exchange, as "token" with its "type"',
}


def check(definition: Definition, context: CheckContext) -> Iterator[Problem]:
    del context
    for policy in definition.index.policies:
        scheme, members = policy.element.scheme, policy.element.members
        if scheme in ("oauth2", "oidc") and members is not None:
            at = (*policy.pointer, scheme)
            yield from _grant(definition.document, at, members)
            yield from _client(definition.document, (*at, "client"), members)


def _grant(document: Document, pointer: Pointer, members: Template) -> Iterator[Problem]:
    grant = plain_text(member(members, "grant"))
    if grant == "authorization_code":
        yield problem_at(
            document,
            (*pointer, "grant"),
            "IOG360",
            'the grant "authorization_code" needs a person at a browser, and a workflow has none',
            hint="use client_credentials, or refresh_token with a token that a person has got once",
        )
    elif grant == "password":
        missing = [name for name in ("username", "password") if member(members, name) is None]
        if missing:
            yield _lacks(document, (*pointer, "grant"), "the grant", grant, " and ".join(missing))
    elif grant in _SUBJECT and member(members, "subject") is None:
        yield _lacks(document, (*pointer, "grant"), "the grant", grant, f'"subject": {_SUBJECT[grant]}')


def _client(document: Document, pointer: Pointer, members: Template) -> Iterator[Problem]:
    method = plain_text(member(members, "client", "authentication"))
    at = (*pointer, "authentication")
    has_id, has_secret, signed = (
        member(members, "client", name) is not None for name in ("id", "secret", "assertion")
    )
    if method is None:
        if has_secret and not has_id:
            yield _lacks(document, (*pointer, "secret"), "the key", "secret", '"id" beside it')
        return
    if method == "none":
        return
    if not has_id:
        yield _lacks(document, at, "the client's authentication", method, '"id"')
    if method == "private_key_jwt" and not signed:
        yield _lacks(document, at, "the client's authentication", method, '"assertion", a signed JWT')
    needs_secret = method.startswith("client_secret") and not (method == "client_secret_jwt" and signed)
    if needs_secret and not has_secret:
        yield _lacks(document, at, "the client's authentication", method, '"secret"')


def _lacks(document: Document, pointer: Pointer, what: str, name: str, missing: str) -> Problem:
    return problem_at(document, pointer, "IOG361", f"{what} {quoted(name)} needs {missing}")
