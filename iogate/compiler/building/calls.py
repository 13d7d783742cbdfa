"""Tasks that call: over HTTP, functions of the workflow, registered functions; and their authentication."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, cast

from iogate.compiler.tasks import Body, Endpoint, Function, Http, Inline, OpenApi, Policy, Unsupported
from iogate.expressions.templates import pieces

if TYPE_CHECKING:
    from iogate.compiler.building.builder import Builder

_FUNCTION = re.compile(r"(?P<name>[^:@/]+):(?P<version>[^:@/]+)@default")
_LITERAL_HOST = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#{$]+(?:[/?#]|\Z)")

_PATHS = ("token", "revocation", "introspection")


def call(builder: Builder, pointer: str, function: str, arguments: Mapping[str, Any]) -> Body:
    if function == "http":
        return _http(builder, arguments)
    if function == "openapi":
        return _openapi(builder, pointer, arguments)
    if pointer in builder.bound.calls:
        return Inline(builder.bound.calls[pointer], builder.value(arguments))
    if function in (builder.use.get("functions") or {}):
        return Inline(function, builder.value(arguments))
    if found := _FUNCTION.fullmatch(function):
        return Function(found["name"], found["version"], builder.value(arguments))
    return Unsupported(f"call: {function}")


def _http(builder: Builder, arguments: Mapping[str, Any]) -> Http:
    return Http(
        method=builder.value(arguments["method"]),
        endpoint=endpoint(builder, arguments["endpoint"]),
        headers=builder.value(arguments.get("headers") or {}),
        query=builder.value(arguments.get("query") or {}),
        body=builder.value(arguments["body"]) if "body" in arguments else None,
        output=cast("Literal['raw', 'content', 'response']", arguments.get("output") or "content"),
        redirect=arguments.get("redirect") is True,
    )


def _openapi(builder: Builder, pointer: str, arguments: Mapping[str, Any]) -> OpenApi:
    presented = arguments.get("authentication")
    return OpenApi(
        operation=builder.bound.operations.get(pointer),
        name=builder.value(arguments["operationId"]),
        document=endpoint(builder, arguments["document"]["endpoint"]),
        stored=builder.bound.documents.get(pointer, ""),
        parameters=builder.value(arguments.get("parameters") or {}),
        policy=policy(builder, presented) if presented else None,
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
    computed = _LITERAL_HOST.match(text) is None
    return Endpoint(builder.address(text), computed=computed, policy=presented, source=text)


def policy(builder: Builder, source: Any) -> Policy:
    """An authentication policy, inline or by its name in `use.authentications`."""
    name = source if isinstance(source, str) else source.get("use")
    if name is not None:
        named = (builder.use.get("authentications") or {}).get(name)
        return Policy("", None, missing=name) if named is None else policy(builder, named)
    scheme, members = next(iter(source.items()))
    secret = members.get("use") if isinstance(members, Mapping) else None
    if secret:
        return Policy(scheme, None, secret=secret)
    if scheme not in ("oauth2", "oidc"):
        return Policy(scheme, builder.value(members))
    rest = {name: value for name, value in members.items() if name not in ("authority", "endpoints")}
    paths = members.get("endpoints") or {}
    return Policy(
        scheme,
        builder.value(rest),
        authority=endpoint(builder, members["authority"]),
        endpoints={name: _path(str(paths[name])) for name in _PATHS if paths.get(name)},
    )


def _path(text: str) -> Endpoint:
    """An address below an authority; one of its own where it names a host."""
    own = text.lstrip().startswith("{") or "${" in text or "://" in text
    return Endpoint(pieces(text), computed=own and _LITERAL_HOST.match(text) is None, source=text)
