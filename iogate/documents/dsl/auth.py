"""Authentication of outgoing calls: basic, bearer, digest, OAuth 2 and OpenID Connect."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field

from iogate.documents.base_model import Maybe, as_tag, tag_name
from iogate.documents.dsl.base_model import DslModel, OpenDslModel, exactly_one_of
from iogate.documents.dsl.field_types import UriTemplate
from iogate.documents.field_types import Text, TextList

_Name = Annotated[Text, Field(min_length=1)]


class SecretReference(DslModel):
    use: _Name
    """A name in use.secrets."""


class UserPassword(DslModel):
    username: Text
    password: Text


class BearerToken(DslModel):
    token: Text


class OAuthToken(DslModel):
    token: Text
    type: Text


class OAuthClient(DslModel):
    id: Maybe[Text] = None
    secret: Maybe[Text] = None
    assertion: Maybe[Text] = None
    authentication: Maybe[
        Literal["client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt", "none"]
    ] = None


class OAuthRequest(OpenDslModel):
    encoding: Maybe[Literal["application/x-www-form-urlencoded", "application/json"]] = None


class OAuthEndpoints(OpenDslModel):
    token: Maybe[Text] = None
    revocation: Maybe[Text] = None
    introspection: Maybe[Text] = None


class OpenIdConnect(DslModel):
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
    return tag_name("secret" if isinstance(value, dict) and "use" in value else "given")


_Secret = Annotated[SecretReference, as_tag("secret")]
_BasicValue = Annotated[Annotated[UserPassword, as_tag("given")] | _Secret, Discriminator(_by_use)]
_BearerValue = Annotated[Annotated[BearerToken, as_tag("given")] | _Secret, Discriminator(_by_use)]
_OAuth2Value = Annotated[Annotated[OAuth2, as_tag("given")] | _Secret, Discriminator(_by_use)]
_OidcValue = Annotated[Annotated[OpenIdConnect, as_tag("given")] | _Secret, Discriminator(_by_use)]


class BasicPolicy(DslModel):
    basic: _BasicValue


class BearerPolicy(DslModel):
    bearer: _BearerValue


class DigestPolicy(DslModel):
    digest: _BasicValue


class OAuth2Policy(DslModel):
    oauth2: _OAuth2Value


class OidcPolicy(DslModel):
    oidc: _OidcValue


class PolicyReference(DslModel):
    use: _Name
    """A name in use.authentications."""


_KINDS = ("basic", "bearer", "digest", "oauth2", "oidc")
_check_inline = exactly_one_of(*_KINDS, of="an authentication policy")


def _kind(value: Any) -> str | None:
    found = [key for key in (*_KINDS, "use") if key in value] if isinstance(value, dict) else []
    return tag_name(found[0]) if found else None


def _only_policy(value: Any) -> Any:
    """Return only the authentication policy: in use.authentications, unknown keys may stand beside it."""
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
    BeforeValidator(exactly_one_of("use", *_KINDS, of="an authentication")),
]
