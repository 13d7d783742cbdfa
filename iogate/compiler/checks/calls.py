"""HTTP calls can be made: a literal address is one of the web, and its method is one that servers know."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from iogate.compiler import outline
from iogate.compiler.checks.expressions import is_loose
from iogate.compiler.faults import Placed, Surroundings, did_you_mean, fault, warning
from iogate.compiler.outline import Pointer
from iogate.compiler.resources.addresses import as_template
from iogate.documents.problems import Problem, listed, nearest, quoted
from iogate.expressions import compiles
from iogate.settings import Settings

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

_ABSOLUTE = re.compile(r"https?://[^/?#\s]", re.IGNORECASE)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")


def check(document: Placed, surroundings: Surroundings) -> Iterator[Problem]:
    for task in outline.tasks(document.data):
        if task.data.get("call") != "http":
            continue
        call: Mapping[str, Any] = task.data["with"]
        at = (*task.pointer, "with")
        yield from _method(document, (*at, "method"), call["method"])
        endpoint, place = call["endpoint"], (*at, "endpoint")
        if isinstance(endpoint, Mapping):
            endpoint, place = endpoint["uri"], (*place, "uri")
        yield from _address(document, place, endpoint)
        yield from _host(document, place, endpoint, surroundings.settings)


def _method(document: Placed, pointer: Pointer, method: str) -> Iterator[Problem]:
    if "${" in method:
        return
    if method.upper() == "CONNECT":
        yield fault(document, pointer, "IOG362", "CONNECT asks a proxy for a tunnel, which no call can use")
    elif method.upper() not in METHODS:
        yield warning(
            document,
            pointer,
            "IOG509",
            f"{quoted(method)} is no usual method of HTTP; those are {listed(METHODS)}",
            hint=did_you_mean(nearest(method, [known.lower() for known in METHODS])),
        )


def _host(document: Placed, pointer: Pointer, address: str, settings: Settings) -> Iterator[Problem]:
    """Warn of a constant host within an expression, where a reviewer may overlook it."""
    template = as_template(address)
    host = template.split("/")[2] if template else ""
    if (
        host
        and not settings.allow_hosts
        and not any(template.startswith(each) for each in settings.endpoints)
    ):
        yield warning(
            document,
            pointer,
            "IOG513",
            f'the host {quoted(host)} is within an expression, and "allow_hosts" does not let calls reach it',
            hint=f"write {template}",
        )


def _address(document: Placed, pointer: Pointer, address: str) -> Iterator[Problem]:
    if address.lstrip().startswith(("${", "{")) or _ABSOLUTE.match(address):
        return
    if is_loose(document.data) and compiles(address):
        return
    scheme = _SCHEME.match(address)
    near = None
    if scheme and "://" in address:
        name = nearest(scheme[1], ("http", "https"))
        near = f"{name}{address[scheme.end() - 1 :]}" if name else None
    yield fault(
        document,
        pointer,
        "IOG320",
        f"{quoted(address)} is no address that can be called: it must start with http:// or https://, "
        "followed by a host",
        hint=did_you_mean(near),
    )
