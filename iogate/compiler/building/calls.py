"""Tasks that call: over HTTP, functions of the workflow, registered functions; and their authentication."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, cast

from iogate.compiler.tasks import Body, Endpoint, Function, Http, Inline, Policy, Unsupported
from iogate.expressions.templates import pieces

if TYPE_CHECKING:
    from iogate.compiler.building.builder import Builder

_FUNCTION = re.compile(r"(?P<name>[^:@/]+):(?P<version>[^:@/]+)@default")
_LITERAL_HOST = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#{$]+(?:[/?#]|\Z)")


def call(builder: Builder, function: str, arguments: Mapping[str, Any]) -> Body:
    if function == "http":
        return _http(builder, arguments)
    if function in (builder.use.get("functions") or {}):
        return Inline(function, builder.value(arguments))
    if found := _FUNCTION.fullmatch(function):
        return Function(found["name"], found["version"], builder.value(arguments))
    return Unsupported(f"call: {function}")


def _http(builder: Builder, arguments: Mapping[str, Any]) -> Http:
    return Http(
        method=str(arguments["method"]).upper(),
        endpoint=endpoint(builder, arguments["endpoint"]),
        headers=builder.value(arguments.get("headers") or {}),
        query=builder.value(arguments.get("query") or {}),
        body=builder.value(arguments["body"]) if "body" in arguments else None,
        output=cast("Literal['raw', 'content', 'response']", arguments.get("output") or "content"),
        redirect=arguments.get("redirect") is True,
    )


def endpoint(builder: Builder, source: Any) -> Endpoint:
    """Where a call goes, and what it presents there."""
    presented = None
    if isinstance(source, Mapping):
        if source.get("authentication"):
            presented = policy(builder, source["authentication"])
        source = source["uri"]
    text = str(source)
    return Endpoint(pieces(text), computed=_LITERAL_HOST.match(text) is None, policy=presented)


def policy(builder: Builder, source: Any) -> Policy:
    """An authentication policy, inline or by its name in `use.authentications`."""
    name = source if isinstance(source, str) else source.get("use")
    if name is not None:
        named = (builder.use.get("authentications") or {}).get(name)
        return Policy("", None, missing=name) if named is None else policy(builder, named)
    scheme, members = next(iter(source.items()))
    secret = members.get("use") if isinstance(members, Mapping) else None
    return Policy(scheme, None, secret=secret) if secret else Policy(scheme, builder.value(members))
