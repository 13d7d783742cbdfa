"""`iogate run FILE`: execution of one workflow file in a temporary store.

Uses the real store, worker and engine in this process, and does not touch the project's live state.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from iogate.cli import panels
from iogate.cli.documents.bundle import compile_or_fail
from iogate.cli.options import EndpointOption, InputOption, parse_endpoints, parse_seconds, read_input
from iogate.cli.render import Output, is_capable_terminal, prints_to_stderr, result_stream
from iogate.cli.run.detached_runs import LINGER_S, log_to_screen, wait_for_detached
from iogate.cli.run.event_input import publish_events, read_events, type_of
from iogate.cli.run.local_links import declared_links, note_on
from iogate.cli.run.workflow_files import required_files
from iogate.cli.runs.run_outcome import raise_for_outcome, wait_for_end
from iogate.cli.session import Session, author, command
from iogate.errors import InvalidFiles, NotFound, Unreachable
from iogate.messages import counted
from iogate.settings.urls import gateway_url
from iogate.store.keys import ENDED

if TYPE_CHECKING:
    from iogate.cli.documents.bundle import CheckResult
    from iogate.compiler.revision import Api, Bundle
    from iogate.settings import Settings
    from iogate.store.store import Store
    from iogate.worker.runs.executor import Executor

API = "run/file"
ALL_HOSTS = ("*", "0.0.0.0/0", "::/0")
"""Allowed hosts of URLs in data, unless the project sets them; addresses that are always denied stay so."""
GRACE_S = 0.2
"""Short grace period after Ctrl-C, since the store is deleted with the run."""


def register(app: typer.Typer) -> None:
    command(app, "run", rich_help_panel=panels.RUNS)(run)


async def run(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Workflow document.")],
    input_: InputOption = None,
    limit: Annotated[
        str | None, typer.Option("--timeout", metavar="TIME", help="Stop after this time, with exit 124.")
    ] = None,
    endpoint: EndpointOption = None,
    event: Annotated[
        list[str] | None,
        typer.Option(
            "--event",
            metavar="JSON|@FILE|-",
            help="A CloudEvent to publish once the run waits for one; may be repeated.",
        ),
    ] = None,
) -> None:
    """Run one workflow file and print its output; exit 7 if it faults.

    Raises:
        Misused, NotFound, InvalidFiles: options or files are wrong.
        RunFailed, StillRunning: the run faulted, or has not ended in time.
    """
    value = read_input(input_)
    events = read_events(event or ())
    timeout_s = parse_seconds(limit, "--timeout")
    if not file.is_file():
        raise NotFound(f"{file}: no such file")
    # A user who runs a file by hand trusts it: all kinds of processes are allowed.
    settings = session.settings()
    settings = replace(
        settings,
        allow_run=("script", "shell", "container"),
        allow_hosts=settings.allow_hosts or ALL_HOSTS,
        # The temporary server has no replica that could confirm a write.
        durability="local",
        # The store is deleted before a sink could receive events.
        events={},
        endpoints={**settings.endpoints, **parse_endpoints(endpoint)},
        # The key is needed only as long as the temporary store.
        link_key=secrets.token_urlsafe(32),
        # The key above signs the bundle: publishers sign revisions for the gateways and workers of a project.
        publishers=(),
        # `$runtime.links` needs an address; nothing listens there, unless a gateway happens to.
        public_url=gateway_url(settings),
    )
    root = Path.cwd() if file.resolve().is_relative_to(Path.cwd().resolve()) else file.resolve().parent
    bundle, api = _single_workflow_bundle(
        compile_or_fail(settings, purpose="run", paths=required_files(file, root), root=root), file
    )
    links = declared_links(bundle)
    if note := note_on(links, map(type_of, events)):
        session.screen.note(note)
    until = math.inf if timeout_s is None else time.monotonic() + timeout_s
    with prints_to_stderr(), log_to_screen(session.screen):
        async with _temporary_worker(settings, root) as (store, executor):
            await store.revisions.publish(bundle)
            uid = await _accept(store, api, value)
            async with publish_events(store, events, links) as left:
                ended = await _wait_for_end(session, store, uid, timeout_s)
                _show(session, ended)
                if ended["status"] in ENDED:
                    limit_s = min(LINGER_S, until - time.monotonic())
                    await wait_for_detached(session.screen, store, executor.result(), uid, limit_s)
    if left:
        session.screen.note(f"{counted(len(left), 'event')} not published: the run did not wait for more")
    raise_for_outcome(ended, limit, output=True)


async def _wait_for_end(session: Session, store: Store, uid: str, timeout_s: float | None) -> dict[str, Any]:
    """Wait for `iogate run`: return the run at its end or at the timeout; on Ctrl-C, print its state."""
    from iogate.cli.system.store_runs import StoreRuns
    from iogate.operators.roles import command_actor
    from iogate.operators.runs.run_details import find_run, run_json

    try:
        return await wait_for_end(session, StoreRuns(store, command_actor(author())), uid, timeout_s)
    except asyncio.CancelledError:
        _show(session, run_json(await find_run(store, uid)))
        raise


def _show(session: Session, ended: dict[str, Any]) -> None:
    session.screen.data("run", {name: ended[name] for name in ("uid", "status", "output", "error")})
    if session.screen.output is Output.TEXT and ended["status"] == "completed":
        pretty = 2 if is_capable_terminal(result_stream()) else None
        session.screen.show(json.dumps(ended["output"], ensure_ascii=False, indent=pretty))


def _single_workflow_bundle(checked: CheckResult, file: Path) -> tuple[Bundle, Api]:
    """Return a bundle for `iogate run` with the workflow of the file, and the API that starts it."""
    import msgspec

    from iogate.auth.model import NoAuth
    from iogate.compiler.revision import Api, Bundle, Revision

    bundle = checked.bundle
    assert bundle is not None, "compile_or_fail() raises without a bundle"
    if not bundle.revision.workflows:
        raise InvalidFiles(
            f"{file} is not a workflow document", hint="a workflow has `document` and `do` at its top level"
        )
    ((name, workflow), *_) = bundle.revision.workflows.items()
    api = Api(id=API, workflow=name, program=workflow.program, enabled=True, auth=NoAuth())
    # The workflow runs once, now: schedules are only for applied workflows.
    workflows = {
        name: msgspec.structs.replace(workflow, schedule=None)
        for name, workflow in bundle.revision.workflows.items()
    }
    revision = Revision(apis={API: api}, workflows=workflows, resources=bundle.revision.resources)
    return Bundle(revision=revision, programs=bundle.programs, contents=bundle.contents), api


async def _accept(store: Store, api: Api, value: Any) -> str:
    from iogate.store.runs.intake import Accepted, AcceptRequest
    from iogate.store.runs.uids import UidSource

    intake = store.intake()
    answer = await intake.accept(
        AcceptRequest(
            uid=UidSource().next(),
            api=api.id,
            digest=api.digest,
            revision=1,
            workflow=api.workflow,
            program=api.program,
            input=json.dumps(value).encode(),
            caller="command line",
        )
    )
    if not isinstance(answer, Accepted):
        raise Unreachable(f"the temporary store refused the run: {answer.reason}")
    return answer.uid


@asynccontextmanager
async def _temporary_worker(
    settings: Settings, root: Path
) -> AsyncIterator[tuple[Store, asyncio.Future[Executor]]]:
    """Start a temporary store and a worker for `iogate run`; yield the store and the `Executor`."""
    from iogate.store.embedded.server import temporary_server
    from iogate.store.integrity.trust import keyring
    from iogate.store.store import open_store
    from iogate.worker.worker_process import work

    with temporary_server(named=settings.store_server) as embedded:
        main_task = asyncio.current_task()
        executor: asyncio.Future[Executor] = asyncio.get_running_loop().create_future()
        settings = replace(settings, redis_url=embedded.url)
        working = asyncio.create_task(
            work(settings, root, grace_s=GRACE_S, temporary=True, on_start=executor.set_result), name="worker"
        )

        def interrupted(_: asyncio.Task[None]) -> None:
            # The worker handles signals, so it ends early only after Ctrl-C.
            if main_task is not None and not closing:
                main_task.cancel()

        closing = False
        working.add_done_callback(interrupted)
        store = await open_store(embedded.url, client_name="iogate-run", keyring=keyring(settings))
        try:
            yield store, executor
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None
        finally:
            closing = True
            await store.close()
            working.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await working
