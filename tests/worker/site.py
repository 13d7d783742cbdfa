"""A store with workflows, and real worker processes on it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from iogate.auth.model import NoAuth
from iogate.compiler.revision import Api, Bundle, Limits, Revision, Workflow, canonical, digest_of
from iogate.gateway.calls.routing_table import Route, Shared
from iogate.gateway.observability.metrics import Counts
from iogate.settings import Settings, to_environment
from iogate.store.runs.intake import Accepted, AcceptRequest, Intake
from iogate.store.runs.run_ends import RunEnds
from iogate.supervision.heartbeat import IDENTITY
from tests import fork_server

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from iogate.store.runs.operations import RunView
    from iogate.store.store import Store

ROOT = Path(__file__).parent.parent.parent


def workflow(name: str, *tasks: dict[str, Any], **members: Any) -> dict[str, Any]:
    document = {"dsl": "1.0.0", "namespace": "test", "name": name, "version": "1.0.0"}
    return {"document": document, "do": list(tasks), **members}


NOOP = workflow("noop", {"done": {"set": {"ok": True}}})


async def until(
    condition: Callable[[], bool | Awaitable[bool]], timeout_s: float = 60.0, name: str = "the condition"
) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        outcome = condition()
        if not isinstance(outcome, bool):
            outcome = await outcome
        if outcome:
            return
        assert time.monotonic() < deadline, f"{name} did not come true within {timeout_s:g} s"
        await asyncio.sleep(0.01)


@dataclass(eq=False)
class Worker:
    """A worker process and its log."""

    name: str
    process: fork_server.Process
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def wait(self, timeout_s: float = 30.0) -> int:
        async with asyncio.timeout(timeout_s):
            while (code := self.process.poll()) is None:
                await asyncio.sleep(0.005)
            return code

    def log_text(self) -> str:
        return self.log.read_text()


@dataclass(eq=False)
class Site:
    store: Store
    intake: Intake
    settings: Settings
    folder: Path
    apis: dict[str, Api] = field(default_factory=dict)
    workers: list[Worker] = field(default_factory=list)
    revision: int = 0

    async def publish(
        self, *definitions: dict[str, Any], limits: Limits | None = None, **options: Any
    ) -> None:
        """Publish one API for each workflow, of the same name."""
        programs = {digest_of(definition): canonical(definition) for definition in definitions}
        workflows, apis = {}, {}
        for definition in definitions:
            name = definition["document"]["name"]
            full = f"test/{name}:1.0.0"
            workflows[full] = Workflow(program=digest_of(definition))
            apis[f"test/{name}"] = Api(
                id=f"test/{name}",
                workflow=full,
                program=digest_of(definition),
                auth=NoAuth(),
                enabled=True,
                limits=limits or Limits(),
                **options,
            )
        revision = Revision(apis=apis, workflows=workflows)
        self.revision = await self.store.revisions.publish(Bundle(revision=revision, programs=programs))
        self.apis = apis

    async def call(
        self, name: str = "noop", data: Any = None, *, trace: str = "", callback_url: str = ""
    ) -> str:
        """Accept a call as a gateway does."""
        api = self.apis[f"test/{name}"]
        route = Route(api, counts=Counts(), shared=Shared())
        ends = RunEnds(letters=route.callback_letters, url=callback_url) if callback_url else route.after
        outcome = await self.intake.accept(
            AcceptRequest(
                uid=self.intake.uid(),
                api=api.id,
                digest=api.digest,
                revision=self.revision,
                workflow=api.workflow,
                program=api.program,
                input=msgspec.json.encode({} if data is None else data),
                retention_s=api.retention_s,
                timeout_s=api.timeout_s,
                trace=trace,
                after=ends,
            )
        )
        assert isinstance(outcome, Accepted), outcome
        return outcome.uid

    async def worker(self, *arguments: str, ready: bool = True, **changes: Any) -> Worker:
        """Start a worker, and wait until it takes runs."""
        name = f"test-{len(self.workers) + 1}"
        log = self.folder / f"{name}.log"
        environment = {**os.environ, **to_environment(replace(self.settings, **changes)), IDENTITY: name}
        environment["PYTHONPATH"] = str(ROOT)
        with log.open("wb") as output:
            process = fork_server.start(
                *("iogate.worker", *arguments),
                environment=environment,
                folder=self.folder,
                stdout=output,
                stderr=output,
            )
        worker = Worker(name=name, process=process, log=log)
        self.workers.append(worker)
        if ready:
            await until(lambda: "worker.started" in worker.log_text(), 40, "a started worker")
        return worker

    async def view(self, uid: str) -> RunView:
        view = await self.store.runs.show(uid)
        assert view is not None
        return view

    async def ended(self, uid: str, timeout_s: float = 60.0) -> RunView:
        view = await self.store.runs.wait(uid, timeout_s)
        assert view is not None
        assert view.ended, f"run {uid} is {view.status} at {view.state} after {timeout_s:g} s"
        return view

    async def all_ended(self, uids: list[str], timeout_s: float = 40.0) -> list[RunView]:
        return [await self.ended(uid, timeout_s) for uid in uids]

    async def close(self) -> None:
        for worker in self.workers:
            worker.process.kill()
            worker.process.wait()


def decoded(data: bytes | None) -> Any:
    return None if data is None else msgspec.json.decode(data)
