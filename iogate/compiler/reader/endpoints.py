"""Endpoints, the authentication of calls to them, and the documents that endpoints of a definition name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from iogate.compiler.endpoints import Endpoint, Policy
from iogate.compiler.reader.index import Located, Place, Reference, Resource, ResourceKind
from iogate.compiler.reader.reader import EMPTY, Reader
from iogate.expressions.templates import pieces
from iogate.json_values import JsonObject

_LITERAL_HOST: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#{$]+(?:[/?#]|\Z)")
_SCHEMES: Final = ("basic", "bearer", "digest", "oauth2", "oidc")
_PATHS: Final = ("token", "revocation", "introspection")


def resource(reader: Reader, kind: ResourceKind, place: Place, source: JsonObject) -> Endpoint:
    """Return the endpoint of an external resource, `{endpoint: …}`, and enter the resource into the index."""
    given = source["endpoint"]
    found = endpoint(reader, place.at("endpoint"), given)
    authentication = given.get("authentication") if isinstance(given, Mapping) else None
    reader.index.resources.append(
        Located(place.pointer, Resource(kind=kind, uri=found.source, authentication=authentication))
    )
    return found


def endpoint(reader: Reader, place: Place, source: str | JsonObject) -> Endpoint:
    """Read the endpoint of a call and its authentication."""
    presented, address = None, source
    if isinstance(source, Mapping):
        if source.get("authentication"):
            presented = policy(reader, place.at("authentication"), source["authentication"])
        address = source["uri"]
    text = str(address)
    computed = _LITERAL_HOST.match(text) is None
    foreign = not computed and reader.is_foreign(text)
    return Endpoint(reader.address(text), computed=computed, policy=presented, source=text, foreign=foreign)


def policy(reader: Reader, place: Place, source: JsonObject) -> Policy:
    """Read an authentication policy of an endpoint, inline or by its name in `use.authentications`."""
    name = source.get("use")
    if name is not None:
        named = reader.named("authentications", place.at("use"), name)
        return Policy("", None, missing=name) if named is None else _inline(reader, place, named)
    found = _inline(reader, place, source)
    reader.index.policies.append(Located(place.pointer, found))
    if found.secret:
        at = place.at(found.scheme, "use").pointer
        reader.index.references.append(Reference(section="secrets", pointer=at, name=found.secret))
    return found


def _inline(reader: Reader, place: Place, source: JsonObject) -> Policy:
    # The standard lets other keys be beside the policy.
    scheme = next(name for name in _SCHEMES if name in source)
    members = source[scheme]
    secret = members.get("use") if isinstance(members, Mapping) else None
    if secret:
        return Policy(scheme, None, secret=secret)
    if scheme not in ("oauth2", "oidc"):
        return Policy(scheme, reader.value(members))
    rest = {name: value for name, value in members.items() if name not in ("authority", "endpoints")}
    paths = members.get("endpoints") or EMPTY
    return Policy(
        scheme,
        reader.value(rest),
        authority=endpoint(reader, place.at(scheme, "authority"), members["authority"]),
        endpoints={name: _path(reader, str(paths[name])) for name in _PATHS if paths.get(name)},
    )


def _path(reader: Reader, text: str) -> Endpoint:
    """Return the address of an endpoint below an authority; one of its own if it names a host."""
    own = text.lstrip().startswith("{") or "${" in text or "://" in text
    computed = own and _LITERAL_HOST.match(text) is None
    return Endpoint(
        pieces(text),
        computed=computed,
        source=text,
        foreign=own and not computed and reader.is_foreign(text),
    )
