"""Driver for the application in this process, and for real gateway processes."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch
from urllib.parse import unquote

import httpx
from litestar import Litestar

from iogate.auth.model import HashedSecret, NoAuth, StoredAuth, TokenAuth, UserAuth
from iogate.compiler.revision import Api, Bundle, Revision, Workflow
from iogate.gateway import app, sockets
from iogate.gateway.app import Application
from iogate.gateway.authentication.run_links import Links
from iogate.gateway.calls.call_handler import CallHandler
from iogate.gateway.http.request import Request, from_scope
from iogate.gateway.operators.operator_api import OperatorApi
from iogate.gateway.revision_refresher import Refresher
from iogate.gateway.state import GatewayState
from iogate.operators.operator_tokens import OperatorTokens
from iogate.security import secrets
from iogate.security.password_hashing import Hashing
from iogate.settings import Settings
from iogate.settings.operators import declared
from iogate.store.runs.leases import Claim, Commit
from iogate.store.runs.uids import UidSource
from iogate.store.store import Store
from tests import fork_server, patience
from tests.keys import LINK_KEY, RING

if TYPE_CHECKING:
    from litestar.types import Receive, Scope, Send

TOKEN = TokenAuth(tokens={"token": (HashedSecret(value=secrets.hash_token("123456")),)})
OTHER = TokenAuth(tokens={"robot": (HashedSecret(value=secrets.hash_token("other")),)})
USER = UserAuth(
    users={"iolinker": (HashedSecret(value=secrets.hash_password("123456", salt=b"0123456789abcdef")),)}
)


def api(name: str, auth: StoredAuth | None = None, **more: Any) -> Api:
    given: dict[str, Any] = {"verbs": ("GET", "POST"), "enabled": True} | more
    return Api(id=name, workflow="test/echo:1", program="p1", auth=auth or NoAuth(), **given)


def request(
    *headers: tuple[bytes, bytes],
    method: str = "POST",
    path: str = "/",
    client: tuple[str, int] | None = ("127.0.0.1", 50_000),
    chunks: Iterable[bytes] = (),
) -> Request:
    """A request as `app` builds it; its client sends `chunks` and then waits for the response."""
    left = list(chunks)

    async def receive() -> Any:
        if left:
            return {"type": "http.request", "body": left.pop(0), "more_body": True}
        return await asyncio.Event().wait()

    target, _, query = path.partition("?")
    scope: dict[str, Any] = {
        "method": method,
        "raw_path": target.encode(),
        "query_string": query.encode(),
        "headers": list(headers),
        "client": client,
    }
    return from_scope(scope, receive)  # type: ignore[arg-type]  # a plain mapping is a scope


async def publish(store: Store, *apis: Api) -> int:
    revision = Revision(
        apis={each.id: each for each in apis}, workflows={"test/echo:1": Workflow(program="p1")}
    )
    return await store.revisions.publish(Bundle(revision=revision, programs={"p1": b"{}"}))


@dataclass(frozen=True, kw_only=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes
    cookies: tuple[str, ...] = ()
    """Each `Set-Cookie`, of which `headers` has the last one."""

    @property
    def json(self) -> Any:
        return json.loads(self.body)["response"]

    @property
    def uid(self) -> str:
        assert self.status == 202, self.body
        uid: str = self.json["uid"]
        return uid

    @property
    def code(self) -> str:
        code: str = self.json["error"]["code"]
        return code

    @property
    def message(self) -> str:
        """The message of the error, with its hint."""
        error = self.json["error"]
        return f"{error['message']}; {error['hint']}" if "hint" in error else str(error["message"])


@dataclass(kw_only=True)
class World:
    """A gateway in this process."""

    store: Store
    live: GatewayState
    refresher: Refresher
    application: Application
    sent: list[bytes] = field(default_factory=list)
    client: tuple[str, int] = ("127.0.0.1", 50_000)
    """Address from which requests come."""

    async def ask(
        self,
        path: str,
        method: str = "GET",
        headers: Iterable[tuple[str, str]] | dict[str, str] = (),
        body: bytes | Iterable[bytes] = b"",
        raw: bytes | None = None,
        *,
        leaves: bool = False,
    ) -> Reply:
        """One request through the whole application; its client may leave before the response."""
        target, _, query = path.partition("?")
        chunks = [body] if isinstance(body, bytes) else list(body)
        pairs = headers.items() if isinstance(headers, dict) else headers
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(target),
            "raw_path": raw if raw is not None else target.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in pairs],
            "server": ("127.0.0.1", 80),
            "client": self.client,
            "state": {},
        }
        answers: list[Any] = []
        answered = asyncio.Event()

        async def receive() -> Any:
            if chunks:
                return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks)}
            if not leaves:
                await answered.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            answers.append(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                answered.set()

        await self.application(scope, receive, send)  # type: ignore[arg-type]  # a plain mapping is a scope
        start, *rest = answers
        received = {name.decode().lower(): value.decode() for name, value in start["headers"]}
        return Reply(
            status=start["status"],
            headers=received,
            body=b"".join(bytes(message.get("body", b"")) for message in rest),
            cookies=tuple(
                value.decode() for name, value in start["headers"] if name.lower() == b"set-cookie"
            ),
        )

    async def call(self, name: str, body: bytes = b"{}", /, **headers: str) -> Reply:
        """POST to an API, `/async`."""
        given = {key.replace("_", "-"): value for key, value in headers.items()}
        return await self.ask(f"/v1/api/{name}/async", "POST", given, body)

    async def publish(self, *apis: Api) -> int:
        """Make a revision live, here too."""
        number = await publish(self.store, *apis)
        await self.refresher.reload()
        return number

    async def finish(self, uid: str, status: str = "completed", **more: Any) -> None:
        """End a run as a worker does."""
        claim = await self.claim(uid)
        (verdict,) = await self.store.leases.commit(
            [Commit(uid=uid, token=claim.token, seq=claim.seq + 1, move="end", status=status, **more)]
        )
        assert verdict.applied

    async def claim(self, uid: str) -> Claim:
        taken = await self.store.leases.take("w1", 100)
        (claim,) = [claim for claim in taken.claims if claim.uid == uid]
        return claim


def _still() -> float:
    """A clock that stands still."""
    return 0.0


class OnDemand:
    """Litestar, built for the first request that reaches it: building takes longer than most tests."""

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._built: Litestar | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._built is None:
            self._built = Litestar(**self._options)
        await self._built(scope, receive, send)


def build(live: GatewayState, refresher: Refresher) -> Application:
    """Build the application of a gateway in this process."""
    with patch.object(app, "Litestar", OnDemand):
        return app.build(live, CallHandler(live, refresher, UidSource()))


@asynccontextmanager
async def opened(
    store: Store,
    *,
    loopback: bool = True,
    root: Path | None = None,
    senders: StoredAuth | None = None,
    operators: dict[str, Any] | None = None,
) -> AsyncIterator[World]:
    """A gateway in this process on the given store; nothing refreshes it but `reload`.

    Wrong credentials are not forgotten, so that it does not matter how long a test takes to send some.
    """
    live = GatewayState(
        hashing=Hashing(monotonic=_still),
        links=Links(LINK_KEY),
        loopback=loopback,
        public_url="http://gateway.test",
        root=root,
        senders=senders,
        settings=Settings(link_key=LINK_KEY),
    )
    live.store, live.intake = store, store.intake()
    store.verified = live.verified_revision
    refresher = Refresher(live, lambda: store.url, RING)
    if operators is not None:
        live.operators = OperatorApi(live, OperatorTokens(declared(operators), root=root, monotonic=_still))
    application = build(live, refresher)
    try:
        with ExitStack() as patched:
            # A busy machine may keep the store waiting; `test_http_server` proves the limits of a process.
            for module, name in patience.OF_GATEWAY:
                patched.enter_context(patch.object(module, name, patience.PATIENT_S))
            yield World(store=store, live=live, refresher=refresher, application=application)
    finally:
        await live.validation.close()


async def until(condition: Callable[[], Awaitable[Any]], timeout_s: float = 60.0) -> Any:
    """Poll until the condition gives something true."""
    deadline = time.monotonic() + timeout_s
    while True:
        if found := await condition():
            return found
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.02)


async def announced(store: Store, *gateways: Gateway) -> bool:
    """Whether these processes have taken a revision."""
    taken = {process.pid for process in await store.presence.list("gateway") if process.revision}
    return {gateway.process.pid for gateway in gateways} <= taken


async def settle(folder: Path, number: int, served: Callable[[], Awaitable[object]]) -> None:
    """Wait for a pause of the gateway `settling` in a folder; let it end when `served` has returned."""
    await until(lambda: asyncio.to_thread((folder / f"settling-{number}").exists))
    await served()
    (folder / f"settled-{number}").touch()


async def accepts(client: httpx.AsyncClient) -> bool:
    """Whether the gateway accepts a call of `a/b`."""
    try:
        return (await client.post("/v1/api/a/b/async")).status_code == 202
    except httpx.TransportError:
        return False


@dataclass(kw_only=True)
class Gateway:
    """A real process."""

    process: fork_server.Process
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(60)


def listening() -> socket.socket:
    return sockets.listen("127.0.0.1", 0)


def spawn(
    redis_url: str,
    on: socket.socket,
    folder: Path,
    *,
    run: Sequence[str] = ("-m", "iogate.gateway"),
    patient: bool = True,
    **settings: Any,
) -> Gateway:
    """Start `python -m iogate.gateway`, or what `run` says, on an inherited socket.

    It waits longer for its store than one of production, unless it is not `patient`.
    """
    log = folder / f"gateway-{time.monotonic_ns()}.log"
    given = {"redis_url": redis_url, "link_key": LINK_KEY, "log_format": "text"} | settings
    environment = {name: value for name, value in os.environ.items() if not name.startswith("IOGATE_")}
    environment |= {f"IOGATE_{name.upper()}": str(value) for name, value in given.items()}
    environment[sockets.LISTEN_FD] = str(on.fileno())
    # The code under test is the one beside the tests, whatever the interpreter has installed.
    environment["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
    with log.open("wb") as output:
        if run[0] == "-m":
            files = [on.fileno()]
            process: fork_server.Process = fork_server.start(
                *run[1:],
                environment=environment,
                folder=folder,
                stdout=output,
                stderr=output,
                files=files,
                patient=patient,
            )
        else:
            process = subprocess.Popen(
                [sys.executable, *run],
                env=environment,
                stderr=output,
                stdout=output,
                pass_fds=[on.fileno()],
                cwd=folder,
            )
    return Gateway(process=process, port=on.getsockname()[1], log=log)


def connected(port: int, peer: int) -> bool:
    """Tell whether the gateway's end of a connection exists and is established."""
    wanted = f":{port:04X}", f":{peer:04X}"
    for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        _, local, remote, state = line.split()[:4]
        if (local[-5:], remote[-5:], state) == (*wanted, "01"):
            return True
    return False
