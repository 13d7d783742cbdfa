"""Fixtures of the tests of the HTTP API of operators."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from iogate.gateway.console.session import Sessions
from iogate.security.secrets import hash_token
from iogate.store.store import Store
from tests.gateway.driver import Reply, World, build, opened
from tests.keys import LINK_KEY

ROLES = ("read", "operate", "admin")


def token(role: str) -> str:
    """The token of the operator with this role."""
    return f"token-of-{role}-0123456789"


OPERATORS: dict[str, Any] = {
    f"{role}er": {"token": {"hash": hash_token(token(role))}, "role": role} for role in ROLES
}
"""One operator for each role: `reader`, `operateer`, `adminer`."""


def bearer(role: str, **more: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token(role)}"} | {
        name.replace("_", "-"): value for name, value in more.items()
    }


@pytest.fixture
async def operated(store: Store) -> AsyncIterator[World]:
    """A gateway with operators, reachable from elsewhere."""
    async with opened(store, loopback=False, operators=OPERATORS) as found:
        yield found


@pytest.fixture
def browsed(operated: World) -> World:
    """The same, with the console."""
    operated.live.sessions = Sessions(LINK_KEY)
    operated.application = build(operated.live, operated.refresher)
    return operated


def refusal(reply: Reply) -> tuple[int, str, str]:
    return reply.status, reply.code, reply.message
