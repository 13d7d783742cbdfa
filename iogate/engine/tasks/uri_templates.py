"""Addresses of calls: URI templates of the author are expanded, expressions are used unchanged.

Used by `call` and `authentication`. Invariant: data in a template stays in its place: it cannot add a
segment to the path, leave the path, or begin a query.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from iogate.compiler.endpoints import Endpoint
from iogate.engine.expression_scope import Scope
from iogate.errors import WorkflowError
from iogate.expressions import Template
from iogate.json_values import scalar_to_text, type_name
from iogate.messages import shorten

_VARIABLE = re.compile(r"\{([^{}]*)\}")
_CLIMBING = frozenset({".", ".."})
_ENVIRONMENT = re.compile(r"(?<![.\w$])env\b|\$ENV\b")
_LONGEST_SHOWN = 120


def build_url(endpoint: Endpoint, scope: Scope) -> str:
    """Return the address of an endpoint of a call, with its URI template expanded.

    Raises WorkflowError, of type expression, if data is invalid in an address.
    """
    made = "".join(
        _expand(part, scope.input)
        if isinstance(part, str)
        else _given(part, part.evaluate(scope.input, scope))
        for part in endpoint.parts
    )
    if not made:
        raise WorkflowError("expression", detail="the endpoint is empty")
    return made


def _expand(text: str, data: Any) -> str:
    """Expand a template as RFC 6570 simple expansion, with top-level properties by their verbatim names."""

    def value_of(variable: re.Match[str]) -> str:
        name = variable[1]
        value = data.get(name) if isinstance(data, dict) else None
        if value is None:
            return ""
        return quote(scalar_text(value, f"{{{name}}} in the endpoint"), safe="")

    expanded = _VARIABLE.sub(value_of, text)
    # A dot needs no encoding, and an encoded dot has the same effect: no encoding makes the value harmless.
    for written, made in zip(text.split("/"), expanded.split("/"), strict=False):
        segment = re.split(r"[?#]", made, maxsplit=1)[0]
        if segment in _CLIMBING and "{" in re.split(r"[?#]", written, maxsplit=1)[0]:
            raise WorkflowError(
                "expression",
                detail=f'{written} in the endpoint became "{segment}", which would lead to another path; '
                "give it a name, or put it into the query",
            )
    return expanded


def _given(source: Template, value: Any) -> str:
    """Return the result of an expression in a URI template as text.

    Raises WorkflowError for null: a template leaves out an undefined variable (RFC 6570, section 3.2.1), but
    an expression has no such rule, and the call would go to another resource.
    """
    if isinstance(value, Mapping) and "uri" in value:
        value = value["uri"]
    if value is None:
        text = str(getattr(source, "text", ""))
        shown = shorten(text, _LONGEST_SHOWN)
        why = "; expressions see no environment variables" if _ENVIRONMENT.search(text) else ""
        raise WorkflowError("expression", detail=f"expression ${{ {shown} }} in the endpoint gives null{why}")
    return scalar_text(value, "the endpoint")


def scalar_text(value: Any, label: str) -> str:
    """Return a scalar in a URI template or URL as text; `label` names it in messages.

    Raises WorkflowError for an object or an array.
    """
    text = scalar_to_text(value)
    if text is None:
        raise WorkflowError(
            "expression", detail=f"{label} must be text, a number or a boolean, not {type_name(value)}"
        )
    return text
