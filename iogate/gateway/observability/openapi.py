"""`/openapi.json`: the enabled APIs of the live revisions as an OpenAPI 3.1 document.

Pure; built once per revision and set of enabled APIs. Invariant: the document names kinds of credentials,
never a value or its source.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_never

import msgspec

from iogate.auth.model import AnyAuth, JwtAuth, NoAuth, SignatureAuth, TokenAuth, UserAuth
from iogate.gateway.observability import openapi_callbacks as callbacks
from iogate.gateway.observability import openapi_events, openapi_links
from iogate.gateway.observability import openapi_responses as responses
from iogate.gateway.observability import openapi_schemas as schemas
from iogate.gateway.observability import openapi_signatures as signatures
from iogate.gateway.observability.openapi_responses import UID
from iogate.url_paths import MODES, Mode, api_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from iogate.auth.model import StoredAuth
    from iogate.compiler.revision import Api, Example, Verb

_RUN_PARAMETERS = [
    {"name": "uid", "in": "path", "required": True, "schema": UID},
    {"name": "sig", "in": "query", "description": "signature of the link", "schema": {"type": "string"}},
]

SCHEMES: dict[str, Any] = {
    "token": {"type": "apiKey", "in": "header", "name": "token"},
    "bearer": {"type": "http", "scheme": "bearer"},
    "user": {"type": "apiKey", "in": "header", "name": "user"},
    "password": {"type": "apiKey", "in": "header", "name": "password"},
    "basic": {"type": "http", "scheme": "basic"},
    "jwt": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
}


def document(
    apis: Mapping[str, Api],
    *,
    number: int,
    server: str,
    senders: StoredAuth | None = None,
    has_links: bool = True,
) -> dict[str, Any]:
    """Return the document `/openapi.json` of the enabled APIs; `senders` may send events.

    `has_links` tells whether workflows declare one-time links.
    """
    paths: dict[str, Any] = {}
    shared, errors = responses.components()
    for name, api in sorted(apis.items()):
        if isinstance(api.input_schema, dict):
            schema = schemas.name_of(name)
            shared[schema] = schemas.embedded(api.input_schema, schema)
        urls: list[tuple[str, Mode, str]] = [(api_path(name, mode), mode, mode) for mode in MODES]
        if (own := api.own_path) is not None:
            urls.append((*own, "path"))
        for path, mode, label in urls:
            paths[path] = {
                verb.lower(): _operation(api, verb, mode, label, shared.get(schemas.name_of(name)))
                for verb in api.verbs
            } | signatures.registration(api, label)
    paths |= _run_paths(_forms(apis))
    if has_links:
        paths["/v1/links/{link}"] = openapi_links.path_item()
    if senders is not None:
        paths["/v1/events"] = openapi_events.path_item(security(senders), signatures.parameters(senders))
    accepted = [*(api.auth for api in apis.values()), *([] if senders is None else [senders])]
    shared |= callbacks.schemas(apis)
    sent = callbacks.webhooks(apis)
    return {
        "openapi": "3.1.0",
        "info": {"title": "iogate", "version": str(number)},
        "servers": [{"url": server}],
        "paths": paths,
        **({"webhooks": sent} if sent else {}),
        "components": {
            "securitySchemes": SCHEMES | signatures.security_schemes(accepted),
            "schemas": shared,
            "responses": errors,
        },
    }


def _operation(api: Api, verb: Verb, mode: Mode, label: str, schema: Any) -> dict[str, Any]:
    """Return one operation of `/openapi.json`; `label` distinguishes the URLs of an API in its id."""
    module, _, method = api.id.partition("/")
    posted = verb == "POST"
    kinds = _possible(api, posted=posted)
    shown = _examples(api, verb)
    outputs = {each.name: each.output for each in shown if each.output is not msgspec.UNSET}
    whole = api.input_from == "request"
    queried = schemas.part(schema, "query") if whole else schema
    queries = {each.name: each.query for each in shown if isinstance(each.query, dict)}
    operation: dict[str, Any] = {
        "operationId": f"{module}.{method}.{verb.lower()}.{label}",
        "tags": [module, *(tag for tag in dict.fromkeys(api.tags) if tag != module)],
        "summary": api.description or f"Start {api.id}",
        "security": security(api.auth),
        "parameters": [
            *(schemas.query_parameters(queried, queries) if not posted or whole else ()),
            *signatures.parameters(api.auth),
            *_headers(api, mode),
            *callbacks.parameters(api),
        ],
        "responses": responses.of_sync(kinds, outputs) if mode == "sync" else responses.of_async(kinds),
        **callbacks.callbacks(api),
    }
    operation["responses"] = signatures.with_tests(api, verb, operation["responses"])
    if posted:
        body: Any = schemas.part(schema, "body") if whole else {} if schema is None else schema
        named = (
            body if whole or schema is None else {"$ref": f"#/components/schemas/{schemas.name_of(api.id)}"}
        )
        bodies = {each.name: each.body for each in shown if each.body is not msgspec.UNSET}
        operation["requestBody"] = schemas.request_body(body, named, bodies)
        content = operation["requestBody"]["content"]
        if not isinstance(api.files, msgspec.UnsetType):
            form = {"multipart/form-data": {"schema": schemas.form_with_files(body)}}
            operation["requestBody"]["content"] = form | {
                kind: each
                for kind, each in content.items()
                if kind not in form and not schemas.needs_file(body)
            }
        if api.has_raw:
            content["*/*"] = {"schema": {}}
    return operation


def _possible(api: Api, *, posted: bool) -> responses.Possible:
    """Return the responses that calls of an API can get, for `/openapi.json`."""
    rules = api.idempotency
    keyed = rules.header is not None or rules.key_pointer is not None
    statuses = responses.OF_CALLS + (responses.OF_BODIES if posted else ())
    if not isinstance(api.auth, NoAuth):
        statuses += (401,)
    if keyed:
        statuses += (422,)
    return responses.Possible(
        statuses=statuses,
        replays=keyed or signatures.delivers(api),
        coalesces=api.coalesces is not None,
    )


def _examples(api: Api, verb: Verb) -> list[Example]:
    """Return the examples of an API for a verb in OpenAPI, without those whose name was there before."""
    if isinstance(api.examples, msgspec.UnsetType):
        return []
    found = {each.name: each for each in reversed(api.examples) if each.verb == verb}
    return [each for each in api.examples if found.get(each.name) is each]


def _headers(api: Api, mode: Mode) -> list[dict[str, Any]]:
    """Return the headers of a call that are no credentials, for OpenAPI."""
    waits = "; wait=N: number of seconds to wait for the end, at most 300" if mode == "sync" else ""
    found: list[dict[str, Any]] = []
    rules = api.idempotency
    if rules.header is not None:
        key = {
            "name": rules.header,
            "in": "header",
            "description": "Key of this call: a repetition with the same key starts no second run",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255},
        }
        # Beside a pointer, a key in the input serves as well.
        found.append(key | ({"required": True} if rules.is_required and rules.key_pointer is None else {}))
    found.append(
        {
            "name": "Prefer",
            "in": "header",
            "description": f"link=cancel: the link in Location may cancel the run, too{waits}",
            "example": "wait=30" if mode == "sync" else "link=cancel",
            "schema": {"type": "string"},
        }
    )
    return found


def security(auth: StoredAuth) -> list[dict[str, list[str]]]:
    """Return the security requirements of an API for OpenAPI, one per accepted kind of credentials."""
    match auth:
        case NoAuth():
            return [{}]
        case TokenAuth():
            return [{"token": []}, {"bearer": []}]
        case UserAuth():
            return [{"user": [], "password": []}, {"basic": []}]
        case SignatureAuth():
            return [{signatures.scheme_name(auth): []}]
        case JwtAuth():
            return [{"jwt": []}]
        case AnyAuth():
            return [way for part in auth.any for way in security(part)]
        case _:
            assert_never(auth)


def _forms(apis: Mapping[str, Api]) -> list[dict[str, list[str]]]:
    """Return, in OpenAPI, the ways to authenticate at a run: by its link, or as a caller of an API.

    A signature is that of a call, so it shows no run.
    """
    ways: list[dict[str, list[str]]] = [{}]
    for _, api in sorted(apis.items()):
        for way in security(api.auth):
            if way not in ways and way.keys() <= SCHEMES.keys():
                ways.append(way)
    return sorted(ways, key=lambda way: [list(SCHEMES).index(name) for name in way])


def _run_paths(ways: list[dict[str, list[str]]]) -> dict[str, Any]:
    """Return the paths of runs for `/openapi.json`."""

    def operation(name: str, summary: str, shown: dict[str, Any], *more: dict[str, Any]) -> dict[str, Any]:
        return {
            "operationId": f"runs.{name}",
            "tags": ["runs"],
            "summary": summary,
            "security": ways,
            "parameters": [*_RUN_PARAMETERS, *more],
            "responses": shown,
        }

    errors = responses.errors(*responses.OF_RUNS)
    run = {
        "type": "object",
        "required": ["response"],
        "properties": {"response": {"$ref": "#/components/schemas/Run"}},
    }
    wait = {
        "name": "wait",
        "in": "query",
        "description": "Seconds to wait for the end of the run; a longer wait than 60 s is one of 60 s",
        "schema": {"type": "integer", "minimum": 0, "maximum": 60},
    }
    after = {
        "name": "Last-Event-ID",
        "in": "header",
        "description": "Continue after this entry",
        "schema": {"type": "string", "pattern": "^[0-9]{1,19}$"},
    }
    shown = {"200": {"description": "The run", "content": {"application/json": {"schema": run}}}, **errors}
    stream = {"description": "The journal so far, then live", "content": {"text/event-stream": {}}}
    cancelled = {"description": "The run is cancelled", "content": responses.envelope({"uid": UID})}
    return {
        "/v1/runs/{uid}": {"get": operation("show", "Show a run", shown, wait)},
        "/v1/runs/{uid}/events": {
            "get": operation("follow", "Follow the journal of a run", {"200": stream, **errors}, after)
        },
        "/v1/runs/{uid}/cancel": {
            "post": operation("cancel", "Cancel a run", {"202": cancelled, **errors, **responses.errors(409)})
        },
    }
