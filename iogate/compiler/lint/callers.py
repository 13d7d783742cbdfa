"""Rules about who may call: a list of addresses that excludes none (IOG536)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from iogate.compiler.diagnostics import warning_at
from iogate.compiler.lint.project import Api, Project, declared
from iogate.documents.problems import Problem
from iogate.security.networks import NetworkSet, parse_network

EVERYWHERE: Final = {"0.0.0.0/0": "IPv4", "::/0": "IPv6"}
"""Networks of all addresses, and the version that they have."""


def check(project: Project) -> Iterator[Problem]:
    """Report lists of addresses that exclude no address of a version of IP."""
    for api in project.apis:
        yield from _addresses(api)


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
