"""Check of HTTP calls: a literal address is one of the web, and its method is one that servers know."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from iogate.compiler.checked_definition import Definition
from iogate.compiler.diagnostics import CheckContext, Document, did_you_mean, problem_at, warning_at
from iogate.compiler.resources.document_addresses import as_template
from iogate.compiler.tasks import Http
from iogate.documents.problems import Problem
from iogate.expressions import compiles
from iogate.expressions.templates import plain_text
from iogate.json_pointer import Pointer
from iogate.messages import listed, nearest, quoted
from iogate.settings import Settings

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

_ABSOLUTE = re.compile(r"https?://[^/?#\s]", re.IGNORECASE)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")


def check(definition: Definition, context: CheckContext) -> Iterator[Problem]:
    document = definition.document
    for task in definition.index.tasks:
        if not isinstance(call := task.body, Http):
            continue
        at, address = (*task.location, "with"), call.endpoint.source
        place = (*at, "endpoint")
        if isinstance(task.definition["with"]["endpoint"], Mapping):
            place = (*place, "uri")
        method = plain_text(call.method)
        if method is not None:
            yield from _method(document, (*at, "method"), method)
        yield from _address(definition, place, address)
        yield from _host(document, place, address, context.settings)


def _method(document: Document, pointer: Pointer, method: str) -> Iterator[Problem]:
    if method.upper() == "CONNECT":
        yield problem_at(
            document, pointer, "IOG362", "CONNECT asks a proxy for a tunnel, which no call can use"
        )
    elif method.upper() not in METHODS:
        yield warning_at(
            document,
            pointer,
            "IOG509",
            f"{quoted(method)} is no usual method of HTTP; those are {listed(METHODS)}",
            hint=did_you_mean(nearest(method, [known.lower() for known in METHODS])),
        )


def _host(document: Document, pointer: Pointer, address: str, settings: Settings) -> Iterator[Problem]:
    """Warn of an HTTP call to a constant host within an expression, where a reviewer may overlook it."""
    template = as_template(address)
    host = template.split("/")[2] if template else ""
    if (
        host
        and not settings.allow_hosts
        and not any(template.startswith(each) for each in settings.endpoints)
    ):
        yield warning_at(
            document,
            pointer,
            "IOG513",
            f'the host {quoted(host)} is within an expression, and "allow_hosts" does not let calls reach it',
            hint=f"write {template}",
        )


def _address(definition: Definition, pointer: Pointer, address: str) -> Iterator[Problem]:
    if address.lstrip().startswith(("${", "{")) or _ABSOLUTE.match(address):
        return
    if definition.loose and compiles(address):
        return
    scheme = _SCHEME.match(address)
    near = None
    if scheme and "://" in address:
        name = nearest(scheme[1], ("http", "https"))
        near = f"{name}{address[scheme.end() - 1 :]}" if name else None
    yield problem_at(
        definition.document,
        pointer,
        "IOG320",
        f"{quoted(address)} is no address that can be called: it must start with http:// or https://, "
        "followed by a host",
        hint=did_you_mean(near),
    )
