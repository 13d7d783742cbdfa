"""Tasks that call: over HTTP, functions of the workflow, registered functions; and their authentication."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, cast

from iogate.compiler.building.draft import Draft
from iogate.compiler.tasks import Body, Endpoint, Function, Http, Inline, OpenApi, Policy, Unsupported
from iogate.expressions.templates import pieces

_FUNCTION = re.compile(r"(?P<name>[^:@/]+):(?P<version>[^:@/]+)@default")
_LITERAL_HOST = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#{$]+(?:[/?#]|\Z)")

_PATHS = ("token", "revocation", "introspection")


def call(draft: Draft, pointer: str, function: str, arguments: Mapping[str, Any]) -> Body:
    if function == "http":
        return _http(draft, arguments)
    if function == "openapi":
        return _openapi(draft, pointer, arguments)
    if pointer in draft.bound.calls:
        return Inline(draft.bound.calls[pointer], draft.value(arguments), foreign=True)
    if function in (draft.use.get("functions") or {}):
        return Inline(function, draft.value(arguments))
    if found := _FUNCTION.fullmatch(function):
        return Function(found["name"], found["version"], draft.value(arguments))
    return Unsupported(f"call: {function}")


def _http(draft: Draft, arguments: Mapping[str, Any]) -> Http:
    return Http(
        method=draft.value(arguments["method"]),
        endpoint=endpoint(draft, arguments["endpoint"]),
        headers=draft.value(arguments.get("headers") or {}),
        query=draft.value(arguments.get("query") or {}),
        body=draft.value(arguments["body"]) if "body" in arguments else None,
        output=cast("Literal['raw', 'content', 'response']", arguments.get("output") or "content"),
        redirect=arguments.get("redirect") is True,
    )


def _openapi(draft: Draft, pointer: str, arguments: Mapping[str, Any]) -> OpenApi:
    presented = arguments.get("authentication")
    return OpenApi(
        operation=draft.bound.operations.get(pointer),
        name=draft.value(arguments["operationId"]),
        document=endpoint(draft, arguments["document"]["endpoint"]),
        stored=draft.bound.documents.get(pointer, ""),
        parameters=draft.value(arguments.get("parameters") or {}),
        policy=policy(draft, presented) if presented else None,
        output=cast("Literal['raw', 'content', 'response']", arguments.get("output") or "content"),
        redirect=arguments.get("redirect") is True,
    )


def endpoint(draft: Draft, source: Any) -> Endpoint:
    """Endpoint of a call and its authentication."""
    presented = None
    if isinstance(source, Mapping):
        if source.get("authentication"):
            presented = policy(draft, source["authentication"])
        source = source["uri"]
    text = str(source)
    computed = _LITERAL_HOST.match(text) is None
    foreign = not computed and draft.is_foreign(text)
    return Endpoint(draft.address(text), computed=computed, policy=presented, source=text, foreign=foreign)


def policy(draft: Draft, source: Any) -> Policy:
    """An authentication policy, inline or by its name in `use.authentications`."""
    name = source if isinstance(source, str) else source.get("use")
    if name is not None:
        named = (draft.use.get("authentications") or {}).get(name)
        return Policy("", None, missing=name) if named is None else policy(draft, named)
    scheme, members = next(iter(source.items()))
    secret = members.get("use") if isinstance(members, Mapping) else None
    if secret:
        return Policy(scheme, None, secret=secret)
    if scheme not in ("oauth2", "oidc"):
        return Policy(scheme, draft.value(members))
    rest = {name: value for name, value in members.items() if name not in ("authority", "endpoints")}
    paths = members.get("endpoints") or {}
    return Policy(
        scheme,
        draft.value(rest),
        authority=endpoint(draft, members["authority"]),
        endpoints={name: _path(draft, str(paths[name])) for name in _PATHS if paths.get(name)},
    )


def _path(draft: Draft, text: str) -> Endpoint:
    """An address below an authority; one of its own where it names a host."""
    own = text.lstrip().startswith("{") or "${" in text or "://" in text
    computed = own and _LITERAL_HOST.match(text) is None
    return Endpoint(
        pieces(text),
        computed=computed,
        source=text,
        foreign=own and not computed and draft.is_foreign(text),
    )
