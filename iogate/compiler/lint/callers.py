"""Rules about who may call.

Lists of addresses that exclude none (IOG536), JWTs for any audience (IOG537), keys over plain HTTP (IOG538).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from iogate.auth.model import JwtAuth, alternatives
from iogate.compiler.diagnostics import warning_at
from iogate.compiler.lint.project import Api, Project, declared
from iogate.documents.problems import Problem
from iogate.security.networks import NetworkSet, parse_network
from iogate.settings.urls import is_loopback

EVERYWHERE: Final = {"0.0.0.0/0": "IPv4", "::/0": "IPv6"}
"""Networks of all addresses, and the version that they have."""


def check(project: Project) -> Iterator[Problem]:
    """Report APIs that accept more callers than their document suggests."""
    for api in project.apis:
        yield from _addresses(api)
        yield from _jwts(api)


def _jwts(api: Api) -> Iterator[Problem]:
    for form in alternatives(api.method.auth) if api.method.auth is not None else ():
        if not isinstance(form, JwtAuth):
            continue
        if not form.audience and not form.secret:
            yield warning_at(
                api.document,
                declared(api, "auth"),
                "IOG537",
                f"{api.id} accepts JWTs that the issuer has made for any other service",
                hint="name the audience that the issuer gives this API: audience: https://api.example.com",
            )
        source = form.jwks or ("" if form.key or form.secret else form.issuer) or ""
        url = urlsplit(source)
        if url.scheme == "http" and not is_loopback(url.hostname or ""):
            yield warning_at(
                api.document,
                declared(api, "auth"),
                "IOG538",
                f"keys for JWTs of {api.id} come over plain HTTP, where someone on the way can replace them",
                hint="use the https:// URL of the issuer",
            )


def _addresses(api: Api) -> Iterator[Problem]:
    allowed = api.method.allow_ips
    if allowed is None:
        return
    networks = NetworkSet(map(parse_network, allowed.networks))
    for everywhere, version in EVERYWHERE.items():
        if networks.covers(parse_network(everywhere)):
            yield warning_at(
                api.document,
                declared(api, "allow_ips"),
                "IOG536",
                f"allow_ips of {api.id} has every {version} address, so it excludes no caller with one",
                hint="list the networks of the callers, or remove allow_ips",
            )
