"""Compiled bundle as JSON, for a publication from another machine.

Written by `iogate bundle`, read by the route that publishes. Pure. Invariants: a bundle that is accepted is
complete and consistent, as a compiled project is; data that another release would read in another way is
refused, not changed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from iogate.compiler import program
from iogate.compiler.revision import Api, Bundle, FaultHandler, Revision, contents_of, digest_of
from iogate.errors import InvalidFiles
from iogate.url_paths import is_plain, reserved_for

INVALID: Final = "IOG803"
_API: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,99}/[A-Za-z0-9][\w.-]{0,99}", re.ASCII)


class _Sent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A bundle with the digest of its revision."""

    digest: str
    revision: Revision
    programs: dict[str, bytes]
    contents: dict[str, bytes] = {}


def encode(bundle: Bundle) -> bytes:
    """Return a bundle as JSON, with the digest of its revision; programs and contents are in base64."""
    sent = _Sent(
        digest=bundle.revision.digest,
        revision=bundle.revision,
        programs=bundle.programs,
        contents=bundle.contents,
    )
    return msgspec.json.encode(sent)


def decode(value: Any) -> Bundle:
    """Return the bundle in decoded JSON, after a check that it is complete and consistent.

    Raises InvalidFiles if it is not, or if another release compiled it.
    """
    try:
        sent = msgspec.convert(value, _Sent)
    except msgspec.ValidationError as error:
        raise invalid(f"it has another form: {error}") from None
    bundle = Bundle(revision=sent.revision, programs=sent.programs, contents=sent.contents)
    if sent.revision.digest != sent.digest:
        raise invalid("its revision has members that this release does not know, or was changed")
    for fault in _faults(bundle):
        raise invalid(fault)
    return bundle


def _faults(bundle: Bundle) -> Iterator[str]:
    """Yield each reason why a bundle from another machine cannot be published."""
    revision = bundle.revision
    for digest, data in bundle.programs.items():
        if not _is_program(digest, data):
            yield f"program {digest[:12]}… is not the definition that its digest names"
    for digest, data in bundle.contents.items():
        if hashlib.sha256(data).hexdigest() != digest:
            yield f"content {digest[:12]}… has another digest"
    needed = {*revision.resources.values()}
    for data in bundle.programs.values():
        needed |= contents_of(data)
    for noun, digests, known in (
        ("program", revision.programs, bundle.programs.keys()),
        ("content", needed, bundle.contents.keys()),
    ):
        for digest in sorted(digests - known):
            yield f"{noun} {digest[:12]}… is missing"
    for name, workflow in revision.workflows.items():
        if workflow.program in bundle.programs:
            yield from _faults_of_workflow(name, bundle.programs[workflow.program])
    paths: dict[str, str] = {}
    for name, api in revision.apis.items():
        yield from _faults_of_api(name, api, revision, paths)


def _faults_of_api(name: str, api: Api, revision: Revision, paths: dict[str, str]) -> Iterator[str]:
    if name != api.id or _API.fullmatch(name) is None:
        yield f"API {name[:80]!r} has another id, or one of a wrong form"
    started = [(api.workflow, api.program)]
    if isinstance(handler := api.on_fault, FaultHandler):
        started.append((handler.workflow, handler.program))
    for workflow, digest in started:
        known = revision.workflows.get(workflow)
        if known is None or known.program != digest:
            yield f"API {name} starts workflow {workflow[:80]}, which is missing or has another definition"
    if (own := api.own_path) is not None:
        if not is_plain(own[0]) or reserved_for(own[0]):
            yield f"API {name} has the path {own[0][:80]!r}, which no API may have"
        if (other := paths.setdefault(own[0].lower(), name)) != name:
            yield f"APIs {other} and {name} have the same path {own[0][:80]}"


def _faults_of_workflow(name: str, data: bytes) -> Iterator[str]:
    try:
        found = program.load(msgspec.json.decode(data)).name
    except Exception:  # noqa: BLE001 — whoever made the definition up: any error may follow
        yield f"workflow {name[:80]} has a definition that this release cannot execute"
        return
    if found != name:
        yield f"workflow {name[:80]} has the definition of {found[:80]}"


def _is_program(digest: str, data: bytes) -> bool:
    try:
        decoded = msgspec.json.decode(data)
        return isinstance(decoded, dict) and digest_of(decoded) == digest
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False


def invalid(why: str) -> InvalidFiles:
    """Return the error for a bundle from another machine that cannot be published."""
    return InvalidFiles(
        f"the bundle cannot be published: {why}",
        code=INVALID,
        hint="compile it with the release of the gateway: `iogate bundle`",
    )
