"""Authentication of outgoing calls: basic, bearer, digest, OAuth 2 and OpenID Connect."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field

from iogate.documents.dsl.form import DslShape, OpenDslShape, either
from iogate.documents.dsl.text import UriTemplate
from iogate.documents.shape import Maybe, as_tag, branch
from iogate.documents.values import Text, TextList

_Name = Annotated[Text, Field(min_length=1)]


class SecretReference(DslShape):
    use: _Name
    """A name in use.secrets."""


class UserPassword(DslShape):
    username: Text
    password: Text


class BearerToken(DslShape):
    token: Text


class OAuthToken(DslShape):
    token: Text
    type: Text


class OAuthClient(DslShape):
    id: Maybe[Text] = None
    secret: Maybe[Text] = None
    assertion: Maybe[Text] = None
    authentication: Maybe[
        Literal["client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt", "none"]
    ] = None


class OAuthRequest(OpenDslShape):
    encoding: Maybe[Literal["application/x-www-form-urlencoded", "application/json"]] = None


class OAuthEndpoints(OpenDslShape):
    token: Maybe[Text] = None
    revocation: Maybe[Text] = None
    introspection: Maybe[Text] = None


class OpenIdConnect(DslShape):
    authority: UriTemplate
    grant: Literal[
        "authorization_code",
        "client_credentials",
        "password",
        "refresh_token",
        "urn:ietf:params:oauth:grant-type:token-exchange",
    ]
    client: Maybe[OAuthClient] = None
    request: Maybe[OAuthRequest] = None
    issuers: Maybe[TextList] = None
    scopes: Maybe[TextList] = None
    audiences: Maybe[TextList] = None
    username: Maybe[Text] = None
    password: Maybe[Text] = None
    subject: Maybe[OAuthToken] = None
    actor: Maybe[OAuthToken] = None


class OAuth2(OpenIdConnect):
    endpoints: Maybe[OAuthEndpoints] = None


def _by_use(value: Any) -> str:
    return branch("secret" if isinstance(value, dict) and "use" in value else "given")


_Secret = Annotated[SecretReference, as_tag("secret")]
_BasicValue = Annotated[Annotated[UserPassword, as_tag("given")] | _Secret, Discriminator(_by_use)]
_BearerValue = Annotated[Annotated[BearerToken, as_tag("given")] | _Secret, Discriminator(_by_use)]
_OAuth2Value = Annotated[Annotated[OAuth2, as_tag("given")] | _Secret, Discriminator(_by_use)]
_OidcValue = Annotated[Annotated[OpenIdConnect, as_tag("given")] | _Secret, Discriminator(_by_use)]


class BasicPolicy(DslShape):
    basic: _BasicValue


class BearerPolicy(DslShape):
    bearer: _BearerValue


class DigestPolicy(DslShape):
    digest: _BasicValue


class OAuth2Policy(DslShape):
    oauth2: _OAuth2Value


class OidcPolicy(DslShape):
    oidc: _OidcValue


class PolicyReference(DslShape):
    use: _Name
    """A name in use.authentications."""


_KINDS = ("basic", "bearer", "digest", "oauth2", "oidc")
_check_inline = either(*_KINDS, of="an authentication policy")


def _kind(value: Any) -> str | None:
    found = [key for key in (*_KINDS, "use") if key in value] if isinstance(value, dict) else []
    return branch(found[0]) if found else None


def _only_policy(value: Any) -> Any:
    """In use.authentications the schema lets unknown keys stand beside the policy."""
    checked = _check_inline(value)
    return {key: inner for key, inner in checked.items() if key in _KINDS}


Authentication = Annotated[
    Annotated[BasicPolicy, as_tag("basic")]
    | Annotated[BearerPolicy, as_tag("bearer")]
    | Annotated[DigestPolicy, as_tag("digest")]
    | Annotated[OAuth2Policy, as_tag("oauth2")]
    | Annotated[OidcPolicy, as_tag("oidc")],
    Discriminator(_kind),
    BeforeValidator(_only_policy),
]

ReferableAuthentication = Annotated[
    Annotated[BasicPolicy, as_tag("basic")]
    | Annotated[BearerPolicy, as_tag("bearer")]
    | Annotated[DigestPolicy, as_tag("digest")]
    | Annotated[OAuth2Policy, as_tag("oauth2")]
    | Annotated[OidcPolicy, as_tag("oidc")]
    | Annotated[PolicyReference, as_tag("use")],
    Discriminator(_kind),
    BeforeValidator(either("use", *_KINDS, of="an authentication")),
]
