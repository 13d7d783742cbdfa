"""APIs of the campaign `fuzzed_credentials`, one of every form of authentication, and the callers of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from iogate.auth.allow_ips import AllowedAddresses
from iogate.auth.model import (
    AnyAuth,
    EnvSecret,
    HashedSecret,
    JwtAuth,
    NoAuth,
    SignatureAuth,
    SignatureScheme,
    StoredAuth,
    TokenAuth,
    UserAuth,
)
from iogate.compiler.revision import Api, Limits
from iogate.security import secrets
from tests.faults.fuzzed_identities import SCHEMES, Identity, jwt, signature, token, user
from tests.faults.signatures import OWN
from tests.gateway.authentication import tokens
from tests.gateway.driver import api

ENVIRONMENT: dict[str, str] = {}
"""Variables of the gateway with the secrets of the targets."""
META_VERIFY = "meta verify token"


@dataclass(frozen=True, kw_only=True)
class Target:
    """An API, and the identities that it accepts."""

    name: str
    auth: StoredAuth
    accepts: frozenset[str] = frozenset()
    is_open: bool = False
    is_closed: bool = False
    """Whether it accepts nobody: disabled, or from other addresses only."""
    path: str = ""
    weight: int = 20
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def verbs(self) -> tuple[str, ...]:
        found: tuple[str, ...] = self.more.get("verbs", ("GET", "POST"))
        return found

    @property
    def paths(self) -> list[str]:
        own_path = [self.path] if self.path else []
        return [f"/v1/api/{self.name}/async", f"/v1/api/{self.name}/sync", *own_path]

    def api(self) -> Api:
        own_path = {"path": self.path} if self.path else {}
        return api(self.name, self.auth, limits=Limits(queued=10_000_000), **own_path, **self.more)


def _env(name: str, value: str) -> EnvSecret:
    ENVIRONMENT[f"FUZZ_{name}"] = value
    return EnvSecret(name=f"FUZZ_{name}")


def _signed(scheme: SignatureScheme, variable: str, secret: str) -> SignatureAuth[Any]:
    verify = (_env("META_VERIFY", META_VERIFY),) if scheme == "meta" else ()
    declared = OWN if scheme == "hmac" else None
    return SignatureAuth(
        scheme=scheme,
        secrets=(_env(variable, secret),),
        caller=scheme,
        verify_token=verify,
        declared=declared,
    )


def built() -> tuple[dict[str, Identity], list[Target]]:
    """Return the identities by name, and all targets."""
    key = tokens.private_key("p256", 1)
    first, second = "https://gateway.test", "https://second.test"
    found = [
        *(token(f"token {each}", f"Tok-{each}-{each * 9}") for each in "abcdefgh"),
        user("ada", "ada", "Correct-Horse-1"),
        user("bob", "bob", "battery:Staple-2"),
        user("carl", "carl", "Carl-Password-3"),
        user("dora", "dora", "Dora-Password-4"),
        jwt("jwt first", "ES256", key, first),
        jwt("jwt second", "ES256", key, second),
        jwt("jwt shared", "HS256", tokens.SECRET, first),
        *(signature(scheme, scheme, secret) for scheme, (_, _, secret) in SCHEMES.items()),
        signature("github 2", "github", "github secret two"),
    ]
    identities = {each.name: each for each in found}

    def accepts(*names: str) -> frozenset[str]:
        return frozenset(names)

    def es(audience: str) -> JwtAuth[Any]:
        return JwtAuth(issuer=tokens.ISSUER, audience=(audience,), key=(pem,))

    def env_token(each: str) -> TokenAuth[Any]:
        return TokenAuth(tokens={each: (_env(f"TOKEN_{each.upper()}", f"Tok-{each}-{each * 9}"),)})

    pem = _env("PEM", tokens.public_pem("p256", 1))
    ada = UserAuth(users={"ada": (_env("ADA", "Correct-Horse-1"),), "eve": (_env("EVE", "Eve-Password-5"),)})
    bob = UserAuth(users={"bob": (_env("BOB", "battery:Staple-2"),)})
    carl = UserAuth(users={"carl": (_env("CARL", "Carl-Password-3"),)})
    slow = UserAuth(users={"dora": (HashedSecret(value=secrets.hash_password("Dora-Password-4")),)})
    hashed = TokenAuth(tokens={"b": (HashedSecret(value=secrets.hash_token("Tok-b-bbbbbbbbb")),)})
    post = {"verbs": ("POST",)}
    targets = [
        Target(name="open/none", auth=NoAuth(), is_open=True, path="/own/open"),
        Target(name="plain/token", auth=env_token("a"), accepts=accepts("token a"), path="/hooks/plain"),
        Target(name="plain/hashed", auth=hashed, accepts=accepts("token b")),
        Target(
            name="plain/post", auth=env_token("c"), accepts=accepts("token c"), more=post, path="/own/post"
        ),
        Target(name="plain/user", auth=ada, accepts=accepts("ada")),
        Target(name="slow/user", auth=slow, accepts=accepts("dora"), weight=1),
        Target(name="jwt/first", auth=es(first), accepts=accepts("jwt first")),
        Target(
            name="jwt/shared",
            auth=JwtAuth(issuer=tokens.ISSUER, audience=(first,), secret=(_env("HS", tokens.SECRET),)),
            accepts=accepts("jwt shared"),
        ),
        *(
            Target(
                name=f"hooks/{scheme}",
                auth=_signed(scheme, scheme.upper().replace("-", "_"), secret),
                accepts=accepts(scheme),
                more=post,
                path=f"/hooks/{scheme}",
                weight=10,
            )
            for scheme, (_, _, secret) in SCHEMES.items()
        ),
        Target(name="any/both", auth=AnyAuth(any=(env_token("d"), bob)), accepts=accepts("token d", "bob")),
        Target(
            name="any/signed",
            auth=AnyAuth(any=(_signed("github", "GITHUB_2", "github secret two"), env_token("e"))),
            accepts=accepts("github 2", "token e"),
            path="/own/any",
        ),
        Target(name="any/jwt", auth=AnyAuth(any=(es(second), carl)), accepts=accepts("jwt second", "carl")),
        Target(
            name="any/open",
            auth=AnyAuth(any=(NoAuth(), env_token("f"))),
            accepts=accepts("token f"),
            is_open=True,
        ),
        Target(
            name="closed/disabled",
            auth=env_token("g"),
            accepts=accepts("token g"),
            is_closed=True,
            more={"enabled": False},
            weight=5,
        ),
        Target(
            name="closed/elsewhere",
            auth=env_token("h"),
            accepts=accepts("token h"),
            is_closed=True,
            more={"allow_ips": AllowedAddresses(networks=("10.0.0.0/8",))},
            weight=5,
        ),
    ]
    return identities, targets
