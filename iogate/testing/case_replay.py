"""Replays debug cases without a gateway: validates the request by the gateway's rules, runs the workflow.

Called by the command `test`; `request_of` also by `debug`, so that both send the same request. Credentials,
addresses and `enabled` are not checked.
"""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from iogate.auth.model import SignatureAuth, alternatives
from iogate.auth.signature_schemes import scheme_of
from iogate.errors import NotFound, for_operators, same_type
from iogate.gateway.calls import call_keys
from iogate.gateway.calls.callback_url import named_ends
from iogate.gateway.calls.routing_table import Route, Shared
from iogate.gateway.http.request import Request
from iogate.gateway.http.responses import HTTPError, not_allowed, too_large
from iogate.gateway.observability.metrics import Counts
from iogate.gateway.validation import call_input as content
from iogate.gateway.validation.call_input import Input
from iogate.gateway.validation.input_keys import text_at
from iogate.json_values import differences
from iogate.testing.harness import Harness
from iogate.testing.outcome import Outcome
from iogate.testing.scripted_mock import scripted

if TYPE_CHECKING:
    from iogate.compiler.revision import Api
    from iogate.documents.api import DebugCase
    from iogate.documents.api.debug_cases import PartFile
    from iogate.documents.debug_cases import RunExpectation

_BOUNDARY = "iogate-9f1c2e7ab6d84d0e"


@dataclass(frozen=True, kw_only=True)
class Sent:
    """The request that a debug case stores, as it goes over the wire."""

    verb: str
    query: str
    """Encoded, without a question mark."""
    headers: Mapping[str, str]
    body: bytes | None


@dataclass(frozen=True, kw_only=True)
class Replayed:
    sent: Sent
    http: int
    message: str
    """Why the request was refused, else empty."""
    outcome: Outcome | None
    """The run, of a request that was not refused."""
    failures: tuple[str, ...]
    """Differences from the expectations of the case; empty if it passed."""


def request_of(case: DebugCase, api: Api, *, root: Path) -> Sent:
    """Build the request to replay a debug case: its verb, else POST with a body, else the API's first."""
    verb = case.verb or (
        "POST" if (case.sends_body or "GET" not in api.verbs) and "POST" in api.verbs else "GET"
    )
    headers = dict(case.headers or {})
    label = next((value for name, value in headers.items() if name.lower() == "content-type"), None)
    body: bytes | None = None
    if case.body_file is not None:
        path = root / case.body_file
        body = path.read_bytes()
        guessed = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        headers |= {} if label else {"Content-Type": guessed}
    elif case.multipart is not None:
        body = _multipart(case.parts, root)
        headers |= {} if label else {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
    elif case.has_body:
        as_it_is = isinstance(case.body, str) and label is not None and "json" not in label
        body = case.body.encode() if as_it_is else json.dumps(case.body, ensure_ascii=False).encode()
        headers |= {} if label else {"Content-Type": "application/json"}
    query = {
        name: [_text(each) for each in (value if isinstance(value, list) else [value])]
        for name, value in (case.query or {}).items()
    }
    return Sent(verb=verb, query=urlencode(query, doseq=True), headers=headers, body=body)


async def replay(harness: Harness, api_id: str, case: DebugCase) -> Replayed:
    """Replay one debug case and compare the result with its `expect`.

    Raises NotFound for an unknown API, and Unmocked for a call to the network without a mock.
    """
    api = harness.bundle.revision.apis.get(api_id)
    if api is None:
        raise NotFound(f"no API {api_id}; there are: {', '.join(sorted(harness.bundle.revision.apis))}")
    sent = request_of(case, api, root=harness.root)
    http, message, outcome = 202, "", None
    mocks = scripted(case.mocks)
    try:
        value, files = input_of(api, sent, harness.root)
    except HTTPError as refused:
        http, message = refused.response.status, refused.response.message
    else:
        if files:
            harness = replace(harness, files=files)
        outcome = await harness.run(api.workflow, value, mocks=mocks, events=case.events or ())
    found = failures(case, http, message, outcome)
    if outcome is not None:
        found += [failure for mock in mocks.values() for failure in mock.failures()]
    return Replayed(
        sent=sent,
        http=http,
        message=message,
        outcome=outcome,
        failures=tuple(found),
    )


def input_of(api: Api, sent: Sent, root: Path) -> tuple[Any, Mapping[str, memoryview]]:
    """Return the input that a case's request gives the replayed run, and the run's files by digest.

    Raises HTTPError, with the response of the gateway, for a request that it refuses.
    """
    if sent.verb not in api.verbs:
        raise HTTPError(not_allowed(sent.verb, ", ".join(api.verbs)))
    body = sent.body or b""
    raw = [
        (name.lower().encode(), value.encode("latin-1", "replace")) for name, value in sent.headers.items()
    ]
    request = Request(
        method=sent.verb, query=sent.query.encode(), raw_headers=raw, headers=dict(raw), body=body
    )
    route = Route(api, counts=Counts(), shared=Shared(root=root))
    if sent.verb == "POST":
        content.check_encoding(request)
    limit = route.body_limit(request)
    if len(body) > limit:
        raise too_large(limit)
    upload = None if route.files is None else route.files.split(request)
    value = content.value(content.sent(route, request, upload=upload), route.schema)
    keys = tuple(text_at(value, pointer) for pointer in route.pointers)
    if _delivery(api, value) is None:
        key = call_keys.header_key(route.idempotency_header, request)
        if key is None and route.keys is not None:
            call_keys.input_key(route.keys, Input(json=b"", fingerprint="", keys=keys))
    if route.callback_hosts is not None:
        named_ends(request, route.callback_hosts, route.callback_letters, None)
    return value, {} if upload is None else upload.contents


def _delivery(api: Api, value: Any) -> str | None:
    """Return the id of the delivery for the replay of a signed request; None without one."""
    body = value["body"] if api.input_from == "request" else value
    for form in alternatives(api.auth):
        if isinstance(form, SignatureAuth):
            scheme = scheme_of(form)
            if any(each.id for each in scheme.formats):
                return "debug case"
            found = body.get(scheme.delivery) if isinstance(body, dict) and scheme.delivery else None
            if isinstance(found, str) and found:
                return found
    return None


def failures(case: DebugCase, http: int, message: str, outcome: Outcome | None) -> list[str]:
    """Return the failures of a debug case in a replay: differences of the response and of its run."""
    expect = case.expect
    found: list[str] = []
    wanted = expect.http if expect is not None and expect.http is not None else None
    if wanted is not None and wanted != http:
        found.append(f"http: expected {wanted}, got {http}" + (f": {message}" if message else ""))
    if outcome is None:
        if wanted is None:
            found.append(f"http: the request was refused with {http}: {message}")
        return found
    return found + run_failures(expect, outcome)


def run_failures(expect: RunExpectation | None, outcome: Outcome) -> list[str]:
    """Return the failures of a replayed run: its end compared with what a debug case expects.

    Without an expectation, the run must have completed.
    """
    error = expect.error if expect is not None else None
    status = expect.status if expect is not None and expect.status is not None else "completed"
    if error is not None:
        status = "faulted"
    if outcome.status != status:
        given = outcome.error or {}
        detail = given.get("detail") or given.get("title")
        detail = detail and for_operators(str(detail), given)
        return [f"status: expected {status}, got {outcome.status}" + (f": {detail}" if detail else "")]
    if expect is not None and expect.has_output:
        return [*differences(expect.output, outcome.output)]
    return [] if error is None else [*_unlike(error, outcome.error or {})]


def _unlike(expected: Mapping[str, Any], error: Mapping[str, Any]) -> tuple[str, ...]:
    """Compare the error of a replayed case with the expected one; types are equal if they are for `catch`."""
    kind, found = expected.get("type"), error.get("type")
    if isinstance(kind, str) and isinstance(found, str) and same_type(kind, found):
        expected = {**expected, "type": found}
    return differences(dict(expected), dict(error), "error")


def _multipart(fields: Iterable[tuple[str, PartFile | str]], root: Path) -> bytes:
    parts = []
    for name, value in fields:
        head = f'Content-Disposition: form-data; name="{_quoted(name)}"'
        if isinstance(value, str):
            content = value.encode()
        else:
            path = root / value.file
            content = path.read_bytes()
            guessed = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            head += f'; filename="{_quoted(path.name)}"\r\nContent-Type: {guessed}'
        parts.append(f"--{_BOUNDARY}\r\n{head}\r\n\r\n".encode() + content + b"\r\n")
    return b"".join(parts) + f"--{_BOUNDARY}--\r\n".encode()


def _quoted(text: str) -> str:
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
