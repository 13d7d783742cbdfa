"""Signatures in the OpenAPI document: their security schemes, headers, and the tests of a URL by senders.

Used by `openapi`. Pure. Invariant: a header is `required` only if a call without it is always refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from iogate.auth.model import SignatureAuth, alternatives
from iogate.auth.signature_schemes import parts_of, scheme_of
from iogate.gateway.observability import openapi_responses as responses

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from iogate.auth.model import Auth
    from iogate.auth.signature_schemes import Scheme
    from iogate.compiler.revision import Api, Verb

Json = dict[str, Any]

_TEXT: Final[Json] = {"type": "string"}
_EVENTS: Final[Mapping[str, tuple[str, str]]] = {
    "github": ("X-GitHub-Event", "Kind of the event; ping tests the URL and starts no run"),
}
"""Further header that the gateway reads, by scheme."""
_TESTS: Final[Mapping[str, tuple[str, Json]]] = {
    "github": (
        "Answer to the event ping, which starts no run",
        responses.envelope({"event": {"const": "ping"}}),
    ),
    "slack": (
        "Answer to the event url_verification, which starts no run",
        {
            "application/json": {
                "schema": {"type": "object", "required": ["challenge"], "properties": {"challenge": _TEXT}}
            }
        },
    ),
}


def forms_of(auth: Auth[Any]) -> list[SignatureAuth[Any]]:
    """Return the signatures that an `auth` accepts, to describe them in OpenAPI."""
    return [form for form in alternatives(auth) if isinstance(form, SignatureAuth)]


def scheme_name(form: SignatureAuth[Any]) -> str:
    """Return the name of the OpenAPI security scheme of a signature."""
    if form.declared is None:
        return f"signature-{form.scheme}"
    return f"signature-{form.declared.header.lower()}"


def security_schemes(accepted: Iterable[Auth[Any]]) -> Json:
    """Return the OpenAPI security schemes of the signatures that APIs and the intake of events accept."""
    found = {}
    for auth in accepted:
        for form in forms_of(auth):
            scheme = scheme_of(form)
            first, *others = scheme.formats
            also = "".join(f"; also in {other.header}" for other in others)
            found[scheme_name(form)] = {
                "type": "apiKey",
                "in": "header",
                "name": first.header,
                "description": f"{first.prefix}HMAC ({first.algorithm}, {first.encoding}) of "
                f"{first.signed}{_or_public(scheme)}{also}",
            }
    return dict(sorted(found.items()))


def _or_public(scheme: Scheme) -> str:
    return "".join(f", or {each.prefix}Ed25519 ({each.encoding})" for each in scheme.public[:1])


def parameters(auth: Auth[Any]) -> list[Json]:
    """Return the OpenAPI headers beside a signature: time and id that are signed, and the kind of event."""
    forms = forms_of(auth)
    alone = len(forms) == 1 == len(list(alternatives(auth)))
    found: dict[str, Json] = {}
    for form in forms:
        formats = scheme_of(form).formats
        first = formats[0]
        needed = alone and len(formats) == 1
        signed = {part for _, part in parts_of(first.signed)}
        if first.timestamp and first.timestamp.lower() != first.header.lower():
            unit = "milliseconds" if first.unit == "ms" else "seconds"
            about = f"Time of the signature, in {unit} since 1970"
            found.setdefault(first.timestamp, _header(first.timestamp, about, required=needed))
        if first.id:
            about = "Id of the delivery: a repetition with the same id starts no second run"
            found.setdefault(first.id, _header(first.id, about, required=needed and "id" in signed))
        if form.scheme in _EVENTS:
            name, about = _EVENTS[form.scheme]
            found.setdefault(name, _header(name, about, required=False))
    return list(found.values())


def _header(name: str, about: str, *, required: bool) -> Json:
    header: Json = {"name": name, "in": "header", "description": about, "schema": _TEXT}
    return header | {"required": True} if required else header


def delivers(api: Api) -> bool:
    """Tell, for OpenAPI, whether a signature brings the id of a delivery: a call may be a repetition."""
    return any(
        scheme_of(form).delivery or any(each.id for each in scheme_of(form).formats)
        for form in forms_of(api.auth)
    )


def with_tests(api: Api, verb: Verb, shown: Json) -> Json:
    """Return the OpenAPI responses to a signed call, with those to the tests of the URL by senders."""
    if verb == "GET":
        return _with_registration(shown) if _is_registered(api) else shown
    for form in forms_of(api.auth):
        if form.scheme not in _TESTS:
            continue
        description, content = _TESTS[form.scheme]
        before = shown.get("200")
        if before is None:
            shown = {"200": {"description": description, "content": content}, **shown}
            continue
        known = before["content"]["application/json"]
        either = known["schema"].get("anyOf", [known["schema"]])
        schema = {"anyOf": [*either, content["application/json"]["schema"]]}
        shown = {
            **shown,
            "200": {
                **before,
                "description": f"{before['description']}. {description}",
                "content": {"application/json": {**known, "schema": schema}},
            },
        }
    return shown


def registration(api: Api, label: str) -> Json:
    """Return the OpenAPI operation by which Meta registers the URL of a signed API; may be empty."""
    if "GET" in api.verbs or not _is_registered(api):
        return {}
    module, _, method = api.id.partition("/")
    fields = (
        ("hub.mode", "subscribe", {"const": "subscribe"}),
        ("hub.verify_token", "The verify token of the API", _TEXT),
        ("hub.challenge", "Text of the response", {"type": "string", "minLength": 1}),
    )
    return {
        "get": {
            "operationId": f"{module}.{method}.get.{label}",
            "tags": [module],
            "summary": f"Register the URL of {api.id} at Meta",
            "security": [{}],
            "parameters": [
                {"name": name, "in": "query", "required": True, "description": about, "schema": schema}
                for name, about, schema in fields
            ],
            "responses": {
                **_with_registration({}),
                **responses.errors(401, 403, 404, 405, 421, 429, 431, 500, 503),
            },
        }
    }


def _is_registered(api: Api) -> bool:
    return any(form.scheme == "meta" for form in forms_of(api.auth))


def _with_registration(shown: Json) -> Json:
    before = shown.get("200", {"description": "The challenge of a registration", "content": {}})
    content = {**before["content"], "text/plain": {"schema": _TEXT}}
    return {**shown, "200": {**before, "content": content}}
