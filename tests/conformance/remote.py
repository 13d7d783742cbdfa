"""The outside of a conformance test: a local HTTP server in place of every host that a workflow names.

`https://api.example/echo` answers with the request itself; other paths answer as a case's `site` says, one
answer after the other, the last for good. Paths of the standard's own examples answer as those services do.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from multidict import CIMultiDict

from tests.conformance import digest

HOSTS = (
    "https://api.example",
    "http://plain.example",
    "https://petstore.swagger.io",
    "https://httpbin.org",
    "https://swapi.dev",
    "https://superbet-casinos.com",
    "https://fake-hospital.com",
    "https://external-service.example.com",
    "https://login.example",
    "http://keycloak",
    "http://myorg.io",
    "https://fake-chat-api.com",
    "https://virtual-wf-powered-race.com",
    "https://example.com",
    "https://hospital.example.com",
    "https://fake.com",
    "https://mocked.service.com",
    "https://raw.githubusercontent.com",
)


PETSTORE: dict[str, Any] = {
    "swagger": "2.0",
    "host": "petstore.swagger.io",
    "basePath": "/v2",
    "schemes": ["https", "http"],
    "paths": {
        "/pet/findByStatus": {
            "get": {
                "operationId": "findPetsByStatus",
                "produces": ["application/json", "application/xml"],
                "parameters": [
                    {
                        "name": "status",
                        "in": "query",
                        "required": True,
                        "type": "array",
                        "items": {"type": "string"},
                        "collectionFormat": "multi",
                    }
                ],
            }
        },
        "/pet/{petId}": {
            "get": {
                "operationId": "getPetById",
                "produces": ["application/json", "application/xml"],
                "parameters": [{"name": "petId", "in": "path", "required": True, "type": "integer"}],
            }
        },
    },
}
"""What the document at petstore.swagger.io says of these two operations."""


@dataclass(kw_only=True)
class Remote:
    url: str = ""
    answers: Mapping[str, Any] = field(default_factory=dict)
    seen: list[dict[str, Any]] = field(default_factory=list)
    given: dict[str, int] = field(default_factory=dict)
    left: int = 0
    """Callers that went away before their answer."""

    @property
    def endpoints(self) -> dict[str, str]:
        return dict.fromkeys(HOSTS, self.url)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        seen = {
            "method": request.method,
            "path": request.raw_path.partition("?")[0],
            "query": [list(pair) for pair in request.query.items()],
            "headers": {name.lower(): value for name, value in request.headers.items()},
            "body": _read(body),
        }
        self.seen.append(seen)
        answers = self.answers.get(request.path)
        if answers is not None:
            answers = answers if isinstance(answers, list) else [answers]
            turn = self.given.get(request.path, 0)
            self.given[request.path] = turn + 1
            answer = answers[min(turn, len(answers) - 1)]
            try:
                await asyncio.sleep(answer.get("after_s", 0))
            except asyncio.CancelledError:
                self.left += 1
                raise
            return _answer(answer)
        if request.path == "/echo":
            return web.json_response(seen)
        return _service(request)


def _read(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return body.decode(errors="replace")


def _answer(answer: Mapping[str, Any]) -> web.Response:
    headers = CIMultiDict(answer.get("headers") or {})
    if "json" in answer:
        body = json.dumps(answer["json"]).encode()
        headers.setdefault("Content-Type", "application/json")
    elif "base64" in answer:
        body = base64.b64decode(answer["base64"])
        headers.setdefault("Content-Type", "application/octet-stream")
    else:
        body = str(answer.get("text") or "").encode()
        headers.setdefault("Content-Type", "text/plain")
    return web.Response(status=answer.get("status", 200), body=body, headers=headers)


def _service(request: web.Request) -> web.Response:
    """What the services in the standard's scenarios and examples answer."""
    match request.path.strip("/").split("/"):
        case ["v2", "swagger.json"]:
            return web.json_response(PETSTORE)
        case ["v2", "pet", "findByStatus"]:
            status = request.query.get("status")
            return web.json_response([{"id": 1, "name": "milou", "status": status}])
        case ["v2", "pet", number] if number.isdigit():
            return web.json_response({"id": int(number), "name": "milou", "status": "pending"})
        case ["basic-auth", user, password]:
            pair = base64.b64encode(f"{user}:{password}".encode()).decode()
            known = request.headers.get("Authorization") == f"Basic {pair}"
            return web.json_response({"authenticated": known}, status=200 if known else 401)
        case ["digest-auth", _, user, password, *_]:
            known, asks = digest.judge(request, user=user, password=password)
            return web.json_response({"authenticated": known}, status=200 if known else 401, headers=asks)
        case ["api", "people"]:
            return web.json_response({"results": [{"name": request.query.get("search")}]})
        case ["api", "people", number]:
            return web.json_response({"id": number, "homeworld": "https://swapi.dev/api/planets/1"})
        case ["api", "planets", _]:
            return web.json_response({"name": "Tatooine"})
        case ["api", *_]:
            return web.json_response({"accepted": True})
        case _:
            return web.json_response({"message": "not found"}, status=404)


@asynccontextmanager
async def serving(answers: Mapping[str, Any] | None = None) -> AsyncIterator[Remote]:
    """A server on a free port, for as long as the block."""
    remote = Remote(answers=answers or {})
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", remote.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        remote.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield remote
    finally:
        await runner.cleanup()
