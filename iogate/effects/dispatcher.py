"""Entry point of the effects: performs each effect by its kind and returns `Performed`.

Called by the worker, `iogate run` and the test harness. Invariant: `perform` raises only CancelledError,
after the effect has ended: the connection is closed, the process tree killed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, assert_never

from iogate.effects.effect_files import (
    STORE_RETRY_S,
    EffectFiles,
    ReadFile,
    no_files,
    with_files,
    with_operation_files,
    with_paths,
)
from iogate.effects.function_calls import call_function
from iogate.effects.http.failures import CallFailed
from iogate.effects.http.transport import Outside
from iogate.effects.http_calls import HttpCalls
from iogate.effects.openapi import DocumentCache, build_call
from iogate.effects.processes.containers import Containers
from iogate.effects.processes.isolation import Isolation
from iogate.effects.processes.process_run import Wrote
from iogate.effects.processes.scripts import Processes
from iogate.effects.processes.workspace import Workspace
from iogate.engine.commands import (
    CallFunction,
    CallHttp,
    CallOpenApi,
    Perform,
    Performed,
    RunContainer,
    RunProcess,
)
from iogate.errors import Unreachable, WorkflowError, for_operators
from iogate.functions import Context, Registry
from iogate.security.redaction import Redactor

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from iogate.settings import Settings
    from iogate.telemetry.tracing import Span

log = logging.getLogger("iogate.effects")


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectContext:
    """The run that an effect belongs to."""

    uid: str
    attempt: int = 1
    program: str = ""
    """Digest of its program, which identifies the revision whose resources it reads."""
    trace: str = ""
    """Trace context that its HTTP calls pass on, or empty."""
    span: Span | None = None
    """Span of this effect, which gets the facts of its HTTP call; None without tracing."""
    wrote: Wrote | None = None
    """Receives the output of a process of this effect, as it is written."""


Resources = Callable[[EffectContext, str], Awaitable[bytes]]
"""Returns the stored content of a document that a workflow names; raises KeyError for an unknown one."""


async def no_resources(_: EffectContext, uri: str) -> bytes:
    """Provide no document to the dispatcher of effects, for workflows with inline scripts only.

    Raises KeyError.
    """
    raise KeyError(uri)


class Effects:
    """Performs the effects of one worker process; an async context manager."""

    def __init__(
        self,
        *,
        settings: Settings,
        resources: Resources = no_resources,
        functions: Registry | None = None,
        files: ReadFile = no_files,
        redactor: Callable[[], Redactor] = Redactor,
        outside: Outside | None = None,
    ) -> None:
        """Create the clients of the dispatcher; `redactor` returns a redactor with the present secrets."""
        self._files = files
        self._http = HttpCalls(
            allow_hosts=settings.allow_hosts,
            endpoints=settings.endpoints,
            redis_url=settings.redis_url,
            redactor=redactor,
            outside=outside,
        )
        self._documents = DocumentCache(self._http)
        self._isolation = Isolation(settings)
        self._workspace = Workspace(user=self._isolation.user)
        self._processes = Processes(
            self._workspace, settings=settings, isolation=self._isolation, redactor=redactor
        )
        self._containers = Containers(self._workspace, allow_run=settings.allow_run, redactor=redactor)
        self._functions = functions if functions is not None else Registry()
        self._resources = resources
        self._threads = ThreadPoolExecutor(settings.concurrency, thread_name_prefix="iogate-function")

    async def __aenter__(self) -> Self:
        self._containers.start_cleanup()
        try:
            await self._isolation.verify(self._workspace)
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Release all resources of the dispatcher; the caller cancels effects under way."""
        await self._http.close()
        await self._containers.close()
        self._workspace.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def rewrites(self, url: str) -> bool:
        """Tell whether the setting `endpoints` rewrites this URL in effects of every kind."""
        return self._http.rewrites(url)

    async def perform(self, perform: Perform, *, run: EffectContext) -> Performed:
        """Dispatch an effect by its kind, and perform it to its end; log a failure with `await: false`."""
        performed = await self._perform(perform, run)
        if not perform.await_result and performed.error is not None:
            log.warning(
                "%s was not awaited and failed: %s",
                perform.reference,
                for_operators(performed.error.detail or "", performed.error.to_json()),
                extra={"action": "effect.unawaited", "uid": run.uid},
            )
        return performed

    async def _perform(self, perform: Perform, run: EffectContext) -> Performed:
        try:
            return await self._performed(perform, run)
        except CallFailed as failed:
            return Performed(frame=perform.frame, error=failed.error, definite=failed.definite)
        except WorkflowError as error:
            return Performed(frame=perform.frame, error=error)
        except Exception as fault:  # a bug must fault one run, not stop the worker
            log.exception(
                "effect failed unexpectedly",
                extra={"action": "effect.failed", "uid": run.uid, "task": perform.reference},
            )
            unexpected = WorkflowError(
                "runtime",
                title="Effect failed",
                detail=f"unexpected {type(fault).__name__}; the worker's log has the traceback",
            )
            return Performed(frame=perform.frame, error=unexpected, definite=False)

    async def _performed(self, perform: Perform, run: EffectContext) -> Performed:
        output: Any
        identity = {"IOGATE_RUN_ID": run.uid, "IOGATE_IDEMPOTENCY_KEY": perform.idempotency_key}
        effect = perform.effect
        files = EffectFiles(self._files, run.uid)
        if isinstance(effect, CallOpenApi):
            operation = await self._documents.operation(effect, self._loader(run))
            effect = build_call(operation, await with_operation_files(effect, operation, files))
        elif isinstance(effect, CallHttp):
            effect = await with_files(effect, files)
        match effect:
            case CallHttp() as call:
                called = await self._http.call(
                    call,
                    idempotency_key=perform.idempotency_key,
                    at_most_once=perform.at_most_once,
                    trace=run.trace,
                    span=run.span,
                )
                return Performed(
                    frame=perform.frame, output=called.output, authorization=called.authorization
                )
            case RunProcess() as process:
                output = await self._processes.run(
                    process, identity=identity, load=self._loader(run), files=files, wrote=run.wrote
                )
            case RunContainer() as container:
                output = await self._containers.run(container, identity=identity, wrote=run.wrote)
            case CallFunction() as call:
                context = Context(
                    idempotency_key=perform.idempotency_key,
                    attempt=run.attempt,
                    run_id=run.uid,
                    deadline=None if perform.deadline_ms is None else perform.deadline_ms / 1000,
                )
                with self._workspace.file_folder() as folder:
                    call = replace(call, arguments=await with_paths(call.arguments, files, folder))
                    output = await call_function(
                        call, context, functions=self._functions, threads=self._threads
                    )
            case unknown:
                assert_never(unknown)
        return Performed(frame=perform.frame, output=output)

    def _loader(self, run: EffectContext) -> Callable[[str], Awaitable[bytes]]:
        async def load(uri: str) -> bytes:
            while True:
                try:
                    return await self._resources(run, uri)
                except KeyError:
                    raise WorkflowError(
                        "configuration",
                        title="Resource not found",
                        detail=f"{uri} is not stored with this workflow's revision; apply it again",
                    ) from None
                except Unreachable:
                    # The effect has not begun: retry until the store is back, or the lease is lost and the
                    # worker cancels this task.
                    await asyncio.sleep(STORE_RETRY_S)

        return load
