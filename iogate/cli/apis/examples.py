"""Example calls of an API, from its debug cases or generated from its JSON Schema.

Used by the banner of `up` and `serve`. Performs no I/O.
"""

from __future__ import annotations

import json
import mimetypes
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from iogate.compiler.examples.schema_examples import NoExample, example_value

if TYPE_CHECKING:
    from iogate.compiler.revision import Api
    from iogate.documents.api import DebugCase
    from iogate.documents.api.debug_cases import PartFile

MAX_BODY_LENGTH = 1000
"""Most characters of a body in a command line."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """Example call with a body for POST, or a query for GET."""

    verb: str
    body: str | None = None
    body_file: str | None = None
    form: str = ""
    """Options of curl for the fields of a form."""
    content_type: str | None = None
    query: str = ""


def example_for(api: Api, cases: Iterable[DebugCase] = ()) -> Example | None:
    """Return an example call that the API accepts: of a debug case that expects a run, else by its schema.

    The debug case is the first such one.
    """
    made = (_of_case(api, case) for case in cases)
    return next((example for example in made if example is not None), None) or _of_schema(api)


def _of_case(api: Api, case: DebugCase) -> Example | None:
    """Return the example call of a debug case; None if it expects a rejection or sends its own headers."""
    refused = case.expect is not None and case.expect.http not in (None, 202)
    headers = {name.lower(): value for name, value in (case.headers or {}).items()}
    content_type = headers.pop("content-type", None)
    if refused or headers:
        return None
    has_body = case.sends_body
    verb = case.verb or ("POST" if (has_body or "GET" not in api.verbs) and "POST" in api.verbs else "GET")
    query = urlencode(
        {name: _query_values(value) for name, value in (case.query or {}).items()}, doseq=True, safe="/:,"
    )
    body = None
    if case.body_file is not None:
        content_type = content_type or mimetypes.guess_type(case.body_file)[0] or "application/octet-stream"
    if case.has_body:
        raw = isinstance(case.body, str) and content_type is not None and "json" not in content_type
        body = case.body if raw else json.dumps(case.body, ensure_ascii=False)
        if len(body) > MAX_BODY_LENGTH:
            return None
        # curl declares a body as a form. The gateway still parses it as JSON if it is an object or a list.
        if not raw and not isinstance(case.body, dict | list):
            content_type = "application/json"
    elif verb == "POST" and not has_body:
        body = "{}"
    return Example(
        verb=verb,
        body=body,
        body_file=case.body_file,
        form=form_options(case.parts),
        content_type=content_type,
        query=query,
    )


def form_options(parts: Iterable[tuple[str, PartFile | str]]) -> str:
    """Return the curl options of an example call for the fields of a form, with their types."""
    return "".join(f"{_form_option(name, part)} " for name, part in parts)


def _form_option(name: str, part: PartFile | str) -> str:
    if isinstance(part, str):
        # With -F, a text that begins like a file or ends like a type would be one.
        option = "--form-string" if part[:1] in ("@", "<") or ";" in part else "-F"
        return f"{option} {shlex.quote(f'{name}={part}')}"
    path = f'"{part.file}"' if any(char in part.file for char in ',;"') else part.file
    kind = mimetypes.guess_type(part.file)[0] or "application/octet-stream"
    return f"-F {shlex.quote(f'{name}=@{path};type={kind}')}"


def _of_schema(api: Api) -> Example | None:
    from iogate.compiler.revision import Files

    if api.has_raw or isinstance(api.files, Files):
        return None  # no file is known
    schema = True if api.input_schema is None else api.input_schema
    if schema is not True and api.input_from == "request":
        return None  # the schema is one of headers, query and body together
    try:
        value = example_value(schema)
    except NoExample:
        return None
    if "POST" in api.verbs:
        body = json.dumps(value, ensure_ascii=False)
        return Example(verb="POST", body=body) if len(body) <= MAX_BODY_LENGTH else None
    if not isinstance(value, dict) or any(isinstance(each, dict) for each in value.values()):
        return None
    query = {name: _query_values(each) for name, each in value.items()}
    return Example(verb="GET", query=urlencode(query, doseq=True, safe="/:,"))


def _query_values(value: Any) -> list[str]:
    return [
        each if isinstance(each, str) else json.dumps(each)
        for each in (value if isinstance(value, list) else [value])
    ]
