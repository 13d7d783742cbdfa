"""A real HTTP server that records its requests, and effects under default settings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from iogate.effects import EffectContext, Effects
from iogate.engine.commands import CallHttp, Effect, Perform, Performed, RunProcess
from iogate.settings import Settings

KEY = "213996969363910656/do/0/step/0/0"


def shell(code: str, **run: Any) -> RunProcess:
    return RunProcess(kind="shell", code=code, **run)


def python(code: str, **run: Any) -> RunProcess:
    return RunProcess(kind="script", language="python", code=code, **run)


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, kw_only=True)
class Seen:
    method: str
    path: str
    query: list[tuple[str, str]]
    headers: Mapping[str, str]
    body: bytes


@dataclass(kw_only=True)
class Site:
    url: str = ""
    port: int = 0
    seen: list[Seen] = field(default_factory=list)
    handlers: dict[str, Handler] = field(default_factory=dict)
    left: int = 0
    """Requests whose caller went away before the answer."""
    reads: bool = True
    """Whether the body is remembered; a handler that reads a form needs it for itself."""

    def respond(self, path: str, **response: Any) -> str:
        """Set the response of this path; return its URL."""

        async def handler(_: web.Request) -> web.Response:
            return web.Response(**response)

        self.handlers[path] = handler
        return self.url + path

    def redirect(self, path: str, to: str, *, status: int = 302) -> str:
        return self.respond(path, status=status, headers={"Location": to})

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(
            Seen(
                method=request.method,
                path=request.path,
                query=list(request.query.items()),
                headers=request.headers.copy(),
                body=await request.read() if self.reads else b"",
            )
        )
        handler = self.handlers.get(request.path)
        if handler is None:
            return web.json_response({"path": request.path})
        try:
            return await handler(request)
        except asyncio.CancelledError:
            self.left += 1
            raise


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    made = Site()
    app = web.Application(client_max_size=2**24)
    app.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    listener = web.TCPSite(runner, "127.0.0.1", 0)
    await listener.start()
    made.port = runner.addresses[0][1]
    made.url = f"http://127.0.0.1:{made.port}"
    yield made
    await runner.cleanup()


Do = Callable[[Effect], Awaitable[Performed]]


@pytest.fixture
async def effects() -> AsyncIterator[Effects]:
    async with Effects(settings=Settings(allow_run=("shell", "script"))) as made:
        yield made


async def do(effects: Effects, effect: Effect, **perform: Any) -> Performed:
    return await effects.perform(
        Perform(frame=7, reference="/do/0/step", effect=effect, idempotency_key=KEY, **perform),
        run=EffectContext(uid="213996969363910656", attempt=2),
    )


def get(url: str, **call: Any) -> CallHttp:
    return CallHttp(method="get", url=url, **call)


def failure(performed: Performed) -> tuple[str, int, str]:
    """Return the last segment of the error's type, its status and its detail."""
    assert performed.error is not None, performed
    return performed.error.type.rpartition("/")[2], performed.error.status, performed.error.detail or ""


def written(performed: Performed) -> Mapping[str, Any]:
    """Return the exit code and the end of the output in the error of a failed process."""
    assert performed.error is not None, performed
    assert performed.error.process is not None, performed.error
    return performed.error.process


async def until(condition: Callable[[], object], *, deadline_s: float = 20.0) -> None:
    """Poll a condition that another task or process fulfils."""
    end = asyncio.get_running_loop().time() + deadline_s
    while not condition():
        assert asyncio.get_running_loop().time() < end, "the condition did not come about in time"
        await asyncio.sleep(0.01)
