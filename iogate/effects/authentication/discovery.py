"""Endpoints of an authority: from its policy, or from its discovery document.

Called by `token_cache`. An endpoint in the document is trusted like a redirect: on the provider's own origin
like the authority itself, elsewhere as REDIRECTED.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from multidict import CIMultiDict
from yarl import URL

import iogate
from iogate import json_values
from iogate.effects.authentication.policies import WELL_KNOWN, OAuth
from iogate.effects.http import target_names
from iogate.effects.http.address_policy import Trust, lower_trust
from iogate.effects.http.failures import UnexpectedStatus, call_error, convert_failures
from iogate.effects.http.request import Request, parse_url
from iogate.effects.http.transport import Transport

DOCUMENT: Final = "/.well-known/openid-configuration"
MAX_RESPONSE: Final = 1024 * 1024
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


def provider_of_policy(policy: OAuth) -> Provider:
    """Return the endpoints below an OpenID or OAuth authority, without discovery.

    Raises WorkflowError if an endpoint is not a valid address.
    """
    return Provider(
        token=_endpoint_below(policy, policy.token_path),
        introspection=_endpoint_below(policy, policy.introspection_path)
        if policy.introspection_path
        else None,
    )


def _endpoint_below(policy: OAuth, path: str) -> Endpoint:
    if "://" not in path:
        path = f"{policy.authority.rstrip('/')}/{path.lstrip('/')}"
    return Endpoint(url=parse_url(path, subject=f'the "authority" of {policy.scheme}'), trust=_trust(policy))


def _trust(policy: OAuth) -> Trust:
    if policy.computed:
        return Trust.COMPUTED
    return Trust.REDIRECTED if policy.foreign else Trust.REVIEWED


async def discover_provider(policy: OAuth, transport: Transport) -> Provider:
    """Fetch the discovery document of an OpenID provider; `authority` may be the document's own URL.

    Raises CallFailed and WorkflowError.
    """
    address = policy.authority
    if WELL_KNOWN not in address:
        address = address.rstrip("/") + DOCUMENT
    url = parse_url(address, subject=f'the "authority" of {policy.scheme}')
    route = transport.route(url, _trust(policy))
    target = target_names.name_server("the OpenID provider", url, route.url)
    headers = CIMultiDict({"Accept": "application/json", "User-Agent": f"iogate/{iogate.__version__}"})
    async with convert_failures(target):
        response = await transport.exchange(
            Request(method="GET", url=url, headers=headers, body=None),
            route,
            wanted=lambda status, _: status == 200,
            cap=MAX_RESPONSE,
        )
        if response.status != 200:
            raise UnexpectedStatus(response.status, f"its discovery document is expected below {DOCUMENT}")
    try:
        document = json_values.parse(response.body)
    except ValueError:
        document = None
    named = document.get("token_endpoint") if isinstance(document, Mapping) else None
    if not isinstance(document, Mapping) or not isinstance(named, str):
        detail = f"{target} answered, but its discovery document names no token_endpoint"
        raise call_error(detail, definite=False, sent_to=target.sent_to)
    own = {url.origin(), route.url.origin()}
    introspection, issuer = document.get("introspection_endpoint"), document.get("issuer")
    return Provider(
        token=_discovered_endpoint(named, own, _trust(policy), target),
        introspection=_discovered_endpoint(introspection, own, _trust(policy), target)
        if isinstance(introspection, str)
        else None,
        issuer=issuer if isinstance(issuer, str) else None,
    )


def _discovered_endpoint(
    address: str, own: set[URL], trust: Trust, target: target_names.TargetName
) -> Endpoint:
    url = parse_url(address, subject=f"what {target} names as its endpoint")
    return Endpoint(url=url, trust=trust if url.origin() in own else lower_trust(trust, Trust.REDIRECTED))
