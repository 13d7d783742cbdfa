"""Rules about APIs: open to everyone (IOG526), long retention (IOG529)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from iogate.auth.model import NoAuth, alternatives
from iogate.compiler.diagnostics import problem_at, warning_at
from iogate.compiler.lint.project import Api, Project, declared
from iogate.documents.problems import Problem
from iogate.settings import Settings
from iogate.settings.urls import is_loopback
from iogate.timing.durations import format_seconds

LONG_RETENTION_S: Final = 90 * 86_400


def check(project: Project) -> Iterator[Problem]:
    """Report the exposure of APIs: open to everyone, or runs that are kept for long."""
    address = None if project.settings is None else _public_address(project.settings)
    for api in project.apis:
        if address is not None:
            yield from _open(api, address)
        yield from _kept(api)


def _public_address(settings: Settings) -> str | None:
    """Return the setting that exposes the gateway to other machines; None if nothing does."""
    if settings.public_url and not is_loopback(urlsplit(settings.public_url).hostname or ""):
        return f"public_url: {settings.public_url}"
    return None if is_loopback(settings.host) else f"host: {settings.host}"


def _open(api: Api, address: str) -> Iterator[Problem]:
    accepted = api.method.auth
    if accepted is None or not any(isinstance(form, NoAuth) for form in alternatives(accepted)):
        return
    yield warning_at(
        api.document,
        declared(api, "auth"),
        "IOG526",
        f"everyone can call {api.id}: it needs no authentication, and the gateway is public ({address})",
        hint="ask for a token, auth: {token: {env: NAME}}, or ignore this with the reason",
    )


def _kept(api: Api) -> Iterator[Problem]:
    retention_s = api.method.retention
    if retention_s is None or retention_s <= LONG_RETENTION_S:
        return
    yield problem_at(
        api.document,
        declared(api, "retention"),
        "IOG529",
        f"runs of {api.id} are kept for {format_seconds(retention_s)}, with their data, in the store",
        hint="shorten it to 90d or less, and keep records in a database of your own",
        severity="advice",
    )
