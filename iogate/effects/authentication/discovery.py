"""Endpoints of an authority: from its policy, or from its discovery document.

Called by `tokens`. An endpoint in the document is trusted like a redirect: on the provider's own origin like
the authority itself, elsewhere as REDIRECTED.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from multidict import CIMultiDict
from yarl import URL

import iogate
from iogate.effects import values
from iogate.effects.authentication.policies import WELL_KNOWN, OAuth
from iogate.effects.http import naming
from iogate.effects.http.addresses import Trust
from iogate.effects.http.failures import RefusedStatus, failed, failures
from iogate.effects.http.request import Request, parse_url
from iogate.effects.http.transport import Transport, more_cautious

DOCUMENT: Final = "/.well-known/openid-configuration"
MAX_ANSWER: Final = 1024 * 1024
"""Maximum size of a discovery document or of a token response, in bytes."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """An address of the authorization server, and the trust in it."""

    url: URL
    trust: Trust


@dataclass(frozen=True, kw_only=True)
class Provider:
    """Endpoints of an authorization server."""

    token: Endpoint
    introspection: Endpoint | None = None
    issuer: str | None = None
    """Issuer that the discovery document names."""


def by_rule(policy: OAuth) -> Provider:
    """Return the endpoints below the authority, without discovery.

    Raises WorkflowError if an endpoint is not a valid address.
    """
    return Provider(
        token=_below(policy, policy.token_path),
        introspection=_below(policy, policy.introspection_path) if policy.introspection_path else None,
    )


def _below(policy: OAuth, path: str) -> Endpoint:
    if "://" not in path:
        path = f"{policy.authority.rstrip('/')}/{path.lstrip('/')}"
    return Endpoint(url=parse_url(path, what=f'the "authority" of {policy.scheme}'), trust=_trust(policy))


def _trust(policy: OAuth) -> Trust:
    if policy.computed:
        return Trust.COMPUTED
    return Trust.REDIRECTED if policy.foreign else Trust.REVIEWED


async def discover(policy: OAuth, transport: Transport) -> Provider:
    """Fetch the discovery document of an OpenID provider; an authority may be the URL of the document.

    Raises CallFailed and WorkflowError.
    """
    address = policy.authority
    if WELL_KNOWN not in address:
        address = address.rstrip("/") + DOCUMENT
    url = parse_url(address, what=f'the "authority" of {policy.scheme}')
    route = transport.route(url, _trust(policy))
    shown = naming.server("the OpenID provider", url, route.url)
    headers = CIMultiDict({"Accept": "application/json", "User-Agent": f"iogate/{iogate.__version__}"})
    async with failures(shown):
        received = await transport.exchange(
            Request(method="GET", url=url, headers=headers, body=None),
            route,
            wanted=lambda status, _: status == 200,
            cap=MAX_ANSWER,
        )
        if received.status != 200:
            raise RefusedStatus(received.status, f"its discovery document is expected below {DOCUMENT}")
    try:
        said = values.parse(received.body)
    except ValueError:
        said = None
    named = said.get("token_endpoint") if isinstance(said, Mapping) else None
    if not isinstance(said, Mapping) or not isinstance(named, str):
        detail = f"{shown} answered, but its discovery document names no token_endpoint"
        raise failed(detail, definite=False, sent_to=shown.sent_to)
    own = {url.origin(), route.url.origin()}
    introspection, issuer = said.get("introspection_endpoint"), said.get("issuer")
    return Provider(
        token=_named(named, own, _trust(policy), shown),
        introspection=_named(introspection, own, _trust(policy), shown)
        if isinstance(introspection, str)
        else None,
        issuer=issuer if isinstance(issuer, str) else None,
    )


def _named(address: str, own: set[URL], trust: Trust, shown: naming.Called) -> Endpoint:
    url = parse_url(address, what=f"what {shown} names as its endpoint")
    return Endpoint(url=url, trust=trust if url.origin() in own else more_cautious(trust, Trust.REDIRECTED))
