"""Builds the HTTP call from an OpenAPI operation and its parameters.

Pure. Errors name the parameter and never its value: `configuration` if the call does not match the
operation, `expression` if its data does not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from iogate.compiler.openapi import Operation, Parameter
from iogate.effects.openapi import bodies, parameter_styles
from iogate.engine.commands import CallHttp, CallOpenApi
from iogate.errors import WorkflowError

_VARIABLE = re.compile(r"\{([^{}]+)\}")


def build_call(operation: Operation, call: CallOpenApi) -> CallHttp:
    """Return the HTTP call of an OpenAPI call.

    Raises WorkflowError for a parameter that is missing, unknown, or not representable.
    """
    given = {name: value for name, value in call.parameters.items() if value is not None}
    query: list[str] = []
    headers: dict[str, str] = {"Accept": operation.accept}
    cookies: list[str] = []
    path: dict[str, str] = {}
    for parameter in operation.parameters:
        if parameter.name not in given:
            if parameter.required:
                raise missing_error(
                    operation, f'parameter "{parameter.name}"', null=parameter.name in call.parameters
                )
            continue
        value = given[parameter.name]
        match parameter.place:
            case "path":
                path[parameter.name] = _serialize_segment(parameter, value)
            case "query":
                query += parameter_styles.serialize_query(parameter, value)
            case "header":
                headers[parameter.name] = parameter_styles.serialize_header(parameter, value)
            case "cookie":
                cookies += parameter_styles.serialize_cookies(parameter, value)
    if cookies:
        headers["Cookie"] = "; ".join(cookies)
    body, media = _encode_body(operation, call.parameters, given)
    if media:
        headers["Content-Type"] = media
    address = _expand_url(operation, path)
    return CallHttp(
        method=operation.method,
        url=address + ("?" + "&".join(query) if query else ""),
        headers=headers,
        body=body,
        has_body=media != "",
        output=call.output,
        redirect=call.redirect,
        authentication=call.authentication,
        computed=call.computed,
        foreign=operation.foreign or call.foreign,
        address=operation.url,
    )


def missing_error(operation: Operation, subject: str, *, null: bool) -> WorkflowError:
    """Return the error of an OpenAPI request that lacks a required parameter or body, or has null for it."""
    if null:
        detail = f'{subject} of operation "{operation.id}" is null, and it is required'
        return WorkflowError("expression", title="OpenAPI call cannot be made", detail=detail)
    return WorkflowError(
        "configuration",
        title="OpenAPI call cannot be made",
        detail=f'operation "{operation.id}" needs {subject}, which is not given',
    )


def _expand_url(operation: Operation, path: Mapping[str, str]) -> str:
    parts = []
    for part in operation.url.split("/"):
        filled = _VARIABLE.sub(lambda variable: path[variable[1]], part)
        # No encoding of these is harmless: they lead to another path than the document's.
        if filled != part and filled in {".", ".."}:
            raise WorkflowError(
                "expression",
                title="OpenAPI call cannot be made",
                detail=f'{part} in the path of operation "{operation.id}" became "{filled}", '
                "which would lead to another path",
            )
        parts.append(filled)
    return "/".join(parts)


def _serialize_segment(parameter: Parameter, value: Any) -> str:
    text = parameter_styles.serialize_path(parameter, value)
    if not text:
        raise parameter_styles.parameter_error(parameter, "is empty, and stands in the path")
    return text


def _encode_body(
    operation: Operation, parameters: Mapping[str, Any], given: Mapping[str, Any]
) -> tuple[Any, str]:
    """Return the encoded body of an OpenAPI call and its media type; no body if nothing is given for it."""
    body = operation.body
    known = {parameter.name for parameter in operation.parameters}
    rest = {name: value for name, value in given.items() if name not in known}
    if body is None:
        if rest:
            raise WorkflowError(
                "configuration",
                title="OpenAPI call cannot be made",
                detail=f'operation "{operation.id}" has no parameter "{next(iter(rest))}"',
            )
        return None, ""
    whole = next((name for name in rest if operation.is_body(name)), None)
    if whole is not None:
        value = rest.pop(whole)
        if rest and isinstance(value, Mapping):
            value = {**value, **rest}
    elif rest:
        value = rest
    elif body.required or body.needed:
        raise missing_error(operation, "a body", null=any(map(operation.is_body, parameters)))
    else:
        return None, ""
    if isinstance(value, Mapping):
        for name in body.needed:
            if value.get(name) is None:
                raise missing_error(operation, f'field "{name}" of its body', null=name in value)
    return bodies.encode_body(body, value)
