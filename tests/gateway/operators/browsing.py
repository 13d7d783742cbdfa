"""Visits of an operator's browser to the console of a gateway in this process."""

from __future__ import annotations

from urllib.parse import urlencode

from tests.gateway.driver import Reply, World


def session(world: World, role: str) -> str:
    """The cookie of a session of the operator with this role."""
    sessions, operators = world.live.sessions, world.live.operators
    assert sessions is not None
    assert operators is not None
    name = f"{role}er"
    generation = operators.authentication.access.generation(name)
    return f"{sessions.cookie}={sessions.sign(name, generation, world.live.clock.now_ms() / 1000)}"


async def visit(world: World, path: str, role: str = "admin") -> Reply:
    """Open a page of the console in a session."""
    return await world.ask(path, headers={"cookie": session(world, role)})


async def submit(world: World, path: str, role: str = "admin", **fields: str) -> Reply:
    """Send a form of the console in a session."""
    headers = {
        "cookie": session(world, role),
        "sec-fetch-site": "same-origin",
        "content-type": "application/x-www-form-urlencoded",
    }
    return await world.ask(path, "POST", headers, urlencode(fields).encode())
