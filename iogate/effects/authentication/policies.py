"""Parsing and validation of evaluated authentication policies.

Called by `call_credentials`. The compiler validates the documents; members from expressions, and policies
from a secret, can be validated only here.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

from iogate.engine.commands import Authentication
from iogate.errors import WorkflowError

Grant = Literal[
    "client_credentials", "password", "refresh_token", "urn:ietf:params:oauth:grant-type:token-exchange"
]
ClientMethod = Literal[
    "client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt", "none"
]
Encoding = Literal["application/x-www-form-urlencoded", "application/json"]

EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
GRANTS: Final = ("client_credentials", "password", "refresh_token", EXCHANGE)
CLIENT_METHODS: Final = (
    "client_secret_basic",
    "client_secret_post",
    "client_secret_jwt",
    "private_key_jwt",
    "none",
)
ENCODINGS: Final = ("application/x-www-form-urlencoded", "application/json")
DEFAULT_ENDPOINT: Final = "/oauth2/token"
"""Default path of the token endpoint of `oauth2`, below the authority."""
WELL_KNOWN: Final = "/.well-known/"
"""Part of the URL of each discovery document."""

_VISIBLE: Final = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, kw_only=True)
class Basic:
    """Policy of `basic`."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Bearer:
    """Policy of `bearer`."""

    token: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Digest:
    """Policy of `digest`."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Client:
    """Client authentication at the authorization server."""

    id: str = ""
    secret: str = field(default="", repr=False)
    assertion: str = field(default="", repr=False)
    method: ClientMethod = "none"


@dataclass(frozen=True, kw_only=True)
class SecurityToken:
    """Subject or actor token of a token exchange."""

    token: str = field(repr=False)
    type: str


@dataclass(frozen=True, kw_only=True)
class OAuth:
    """A policy of `oauth2` or `oidc`."""

    scheme: Literal["oauth2", "oidc"]
    authority: str
    computed: bool
    """True if the authority's host came from data."""
    foreign: bool
    """True if a function from another host names the authority."""
    grant: Grant
    client: Client
    encoding: Encoding
    token_path: str
    introspection_path: str
    """"" if the policy names none."""
    issuers: tuple[str, ...]
    scopes: tuple[str, ...]
    audiences: tuple[str, ...]
    username: str
    password: str = field(repr=False)
    subject: SecurityToken | None
    actor: SecurityToken | None
    key: str
    """Hash of the policy's content."""

    @property
    def discovered(self) -> bool:
        """Whether a discovery document of its authority names the endpoints of this authentication policy.

        The standard's examples of `oauth2` give the URL of such a document; a token endpoint that the author
        names has priority.
        """
        if self.scheme == "oidc":
            return True
        return WELL_KNOWN in self.authority and self.token_path == DEFAULT_ENDPOINT


Policy = Basic | Bearer | Digest | OAuth


def configuration_error(detail: str) -> WorkflowError:
    """Return the error of an incomplete or invalid authentication policy."""
    return WorkflowError("configuration", title="Authentication is not complete", detail=detail)


def parse_policy(authentication: Authentication) -> Policy:
    """Parse an evaluated authentication policy.

    Raises WorkflowError, of type configuration, that names the missing or invalid member.
    """
    members = _Members(authentication.scheme, authentication.parameters)
    match authentication.scheme:
        case "basic":
            username, password = members.needed("username"), members.needed("password")
            if ":" in username:
                raise configuration_error("the user name of basic authentication must not contain a colon")
            return Basic(username=username, password=password)
        case "bearer":
            token = members.needed("token")
            if not token.isascii() or not token.isprintable():
                raise configuration_error("the bearer token holds characters that a header cannot carry")
            return Bearer(token=token)
        case "digest":
            return Digest(username=members.needed("username"), password=members.needed("password"))
        case "oauth2" | "oidc":
            return _oauth(authentication.scheme, authentication, members)
        case other:
            raise configuration_error(f'unknown authentication scheme "{other}"')


def _oauth(scheme: Literal["oauth2", "oidc"], authentication: Authentication, members: _Members) -> OAuth:
    grant = members.needed("grant")
    if grant == "authorization_code":
        raise configuration_error(
            f'the grant of {scheme} is "authorization_code", which needs a person at a browser; '
            "a workflow has none: use client_credentials or refresh_token"
        )
    grant = members.choice("grant", GRANTS, grant)
    policy = OAuth(
        scheme=scheme,
        authority=members.needed("authority"),
        computed=authentication.computed,
        foreign=authentication.foreign,
        grant=cast("Grant", grant),
        client=_client(members.below("client")),
        encoding=cast(
            "Encoding", members.below("request").choice("encoding", ENCODINGS, default=ENCODINGS[0])
        ),
        token_path=members.below("endpoints").text("token") or DEFAULT_ENDPOINT,
        introspection_path=members.below("endpoints").text("introspection"),
        issuers=members.texts("issuers"),
        scopes=members.texts("scopes"),
        audiences=members.texts("audiences"),
        username=members.text("username"),
        password=members.text("password"),
        subject=_token(members, "subject"),
        actor=_token(members, "actor"),
        key=_key(authentication),
    )
    if grant == "password":
        members.needed("username")
        members.needed("password")
    if grant in {"refresh_token", EXCHANGE} and policy.subject is None:
        needed = "the refresh token" if grant == "refresh_token" else "the token to exchange"
        raise configuration_error(f'{scheme} with the grant "{grant}" needs "subject", with {needed}')
    return policy


def _client(members: _Members) -> Client:
    identity, secret = members.text("id"), members.text("secret")
    assertion = members.text("assertion")
    method = members.choice("authentication", CLIENT_METHODS, default="")
    if not method:
        method = "client_secret_post" if secret else "none"
    elif method != "none" and not identity:
        raise configuration_error(f'{members.name} with the authentication "{method}" needs "id"')
    if method.startswith("client_secret") and not secret and not (method.endswith("jwt") and assertion):
        raise configuration_error(f'{members.name} with the authentication "{method}" needs "secret"')
    if method == "client_secret_post" and not identity:
        raise configuration_error(f'{members.name} needs "id" beside "secret"')
    if method == "private_key_jwt" and not assertion:
        raise configuration_error(
            f'{members.name} with the authentication "{method}" needs "assertion", a signed JWT'
        )
    return Client(id=identity, secret=secret, assertion=assertion, method=cast("ClientMethod", method))


def _token(members: _Members, name: str) -> SecurityToken | None:
    if members.source.get(name) is None:
        return None
    inner = members.below(name)
    return SecurityToken(token=inner.needed("token"), type=inner.needed("type"))


def _key(authentication: Authentication) -> str:
    content = [
        authentication.scheme,
        authentication.computed,
        authentication.foreign,
        authentication.parameters,
    ]
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


class _Members:
    """Typed access to the members of a policy; all methods raise WorkflowError for an invalid member."""

    def __init__(self, name: str, source: Mapping[str, Any]) -> None:
        self.name = f"{name} authentication" if "." not in name else f'"{name}"'
        self._path = name
        self.source = source

    def below(self, key: str) -> _Members:
        """Return the members of a nested object of an authentication policy. Raises WorkflowError."""
        value = self.source.get(key)
        if value is not None and not isinstance(value, Mapping):
            raise configuration_error(f'{self.name} needs "{key}" to be an object')
        return _Members(f"{self._path}.{key}", value or {})

    def needed(self, key: str) -> str:
        """Return a required text of an authentication policy. Raises WorkflowError."""
        value = self.source.get(key)
        if not isinstance(value, str):
            raise configuration_error(f'{self.name} needs "{key}", as text')
        return value

    def text(self, key: str) -> str:
        """Return an optional text of an authentication policy, by default empty. Raises WorkflowError."""
        value = self.source.get(key)
        if value is not None and not isinstance(value, str):
            raise configuration_error(f'{self.name} needs "{key}" to be text')
        return value or ""

    def texts(self, key: str) -> tuple[str, ...]:
        """Return an optional list of texts of an authentication policy. Raises WorkflowError."""
        value = self.source.get(key)
        if value is None:
            return ()
        if not isinstance(value, list | tuple) or not all(
            isinstance(each, str) and _VISIBLE.fullmatch(each) for each in value
        ):
            raise configuration_error(f'{self.name} needs "{key}" to be a list of texts without spaces')
        return tuple(value)

    def choice(
        self, key: str, choices: tuple[str, ...], value: str | None = None, *, default: str = ""
    ) -> str:
        found = value if value is not None else self.text(key) or default
        if found and found not in choices:
            raise configuration_error(f'{self.name} needs "{key}" to be one of {", ".join(choices)}')
        return found
