"""Shell completion of arguments: ids of APIs and workflows, uids of runs, numbers of revisions, error codes.

Invoked by the shell on Tab. Invariant: a completer returns within about a second and prints nothing; after
any error it suggests nothing. Ids come from the files, and from the live system if that can be reached, by
its store or over HTTP; uids and revisions come from the system.
"""

from __future__ import annotations

import functools
import itertools
import logging
import os
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

if TYPE_CHECKING:
    from iogate.cli.system.system import Json, System

T = TypeVar("T")
Completer = Callable[[typer.Context, str], list[tuple[str, str]]]

BUDGET_S = 0.7
"""Time limit in seconds for reading files, and for the store."""
_environment: ContextVar[str | None] = ContextVar("environment", default=None)
"""Value of `--env` on the command line being typed."""
_profile: ContextVar[str | None] = ContextVar("profile", default=None)
"""Value of `--profile` there."""
MAX_RUNS = 50
"""Most runs that are suggested."""
MAX_REVISIONS = 50
"""Number of revisions that a store keeps."""
_SAFE = re.compile(r"[\w./:-]{1,200}", re.ASCII)


def _completer(suggest: Callable[[str], Iterator[tuple[str, str]]]) -> Completer:
    """Return a completer that works in the folder of `-C` and suggests nothing after a failure."""

    @functools.wraps(suggest)
    def complete(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
        before = logging.root.manager.disable
        logging.disable()
        try:
            _enter(ctx)
            return [
                (value, text)
                for value, text in suggest(incomplete)
                if value.startswith(incomplete) and _SAFE.fullmatch(value)
            ]
        except Exception:  # noqa: BLE001 — a message would appear in the command line being typed
            return []
        finally:
            logging.disable(before)

    # Typer reads these annotations; it must not see those of `suggest`.
    del complete.__wrapped__
    complete.__annotations__ = {"ctx": typer.Context, "incomplete": str, "return": list}
    return complete


def _enter(ctx: typer.Context) -> None:
    """Choose folder and environment for completion as the command line being typed does."""
    directory, environment = _given(ctx, "directory"), _given(ctx, "environment")
    _environment.set(environment)
    _profile.set(_given(ctx, "server_profile") or _given(ctx, "profile"))
    if directory is not None:
        os.chdir(directory)


def _given(ctx: typer.Context, name: str) -> Any:
    """Return the value of a global option for completion; it may be before or after the command."""
    each: Any = ctx
    while each is not None:
        if (value := each.params.get(name)) is not None:
            return value
        each = each.parent
    return None


def _documents(folder: str) -> Iterator[dict[str, Any]]:
    """Yield the documents of a folder that completion can read within its time limit."""
    from iogate.documents.yaml.reader import read_file

    until = time.monotonic() + BUDGET_S
    for path in itertools.chain(Path(folder).rglob("*.yaml"), Path(folder).rglob("*.yml")):
        if time.monotonic() > until:
            return
        data = read_file(path, str(path)).data
        if isinstance(data, dict):
            yield data


@_completer
def apis(incomplete: str) -> Iterator[tuple[str, str]]:
    """Complete the id of an API, in apis.d or live."""
    del incomplete
    live = {api["api"]: api["description"] for api in _live_apis()}
    yield from {**live, **dict(_apis())}.items()


@_completer
def modules(incomplete: str) -> Iterator[tuple[str, str]]:
    """Complete a module of APIs."""
    del incomplete
    ids = (*dict(_apis()), *(api["api"] for api in _live_apis()))
    yield from ((name, "") for name in sorted({each.partition("/")[0] for each in ids}))


@_completer
def tags(incomplete: str) -> Iterator[tuple[str, str]]:
    """Complete a tag of APIs, live or in apis.d."""
    del incomplete
    yield from ((tag, "") for tag in sorted(_tags()))


@_completer
def selections(incomplete: str) -> Iterator[tuple[str, str]]:
    """Complete a tag or a module of the APIs in apis.d."""
    del incomplete
    yield from ((tag, "tag") for tag in sorted(_tags()))
    yield from sorted({(name.partition("/")[0], "module") for name in dict(_apis())})


@_completer
def environment_names(incomplete: str) -> Iterator[tuple[str, str]]:
    """Complete the name of an environment that has a file of settings."""
    del incomplete
    for path in sorted(Path().glob("iogate.*.yaml")):
        yield path.name.removeprefix("iogate.").removesuffix(".yaml"), path.name


@_completer
def profiles(incomplete: str) -> Iterator[tuple[str, str]]:
    """Complete the name of a login."""
    from iogate.cli.system.logins import Logins

    del incomplete
    yield from ((name, login.server) for name, login in Logins(os.environ).all().items())


def _tags() -> set[str]:
    found = {tag for api in _live_apis() for tag in api["tags"]}
    for data in _documents("apis.d"):
        for part in (data, *(data.get("methods") or {}).values()):
            found.update(map(str, (part or {}).get("tags") or ()))
    return found


def _apis() -> Iterator[tuple[str, str]]:
    for data in _documents("apis.d"):
        for name, method in (data.get("methods") or {}).items():
            yield f"{data.get('module')}/{name}", str((method or {}).get("description") or "")


def _live_apis() -> list[Json]:
    """Return the live APIs for completion; none if the system cannot be reached in time."""
    return _found("apis", lambda system: system.apis.list())


def _found(name: str, read: Callable[[System], Awaitable[Json]]) -> list[Json]:
    """Return a list of live objects for completion; empty if the system cannot be reached in time."""
    try:
        rows: list[Json] = _within_budget(_read(read))[name]
    except Exception:  # noqa: BLE001 — the files are enough
        return []
    return rows


async def _read(read: Callable[[System], Awaitable[Json]]) -> Json:
    async with _system() as system:
        return await read(system)


@_completer
def cases(incomplete: str) -> Iterator[tuple[str, str]]:
    """Complete the id of a debug case: of an API, or of a workflow with a schedule."""
    del incomplete
    yield from _apis()
    for data in _documents("workflows.d"):
        if data.get("schedule") and isinstance(head := data.get("document"), dict):
            text = str(head.get("title") or head.get("summary") or "")
            yield f"schedule:{head.get('namespace')}/{head.get('name')}", text


@_completer
def workflows(incomplete: str) -> Iterator[tuple[str, str]]:
    """Complete the name of a workflow, live or in workflows.d, and its version once a colon is typed."""
    found: dict[str, str] = {}
    live = _found("workflows", lambda system: system.workflows.list())
    found |= {each["workflow"]: each["title"] for each in live}
    for data in _documents("workflows.d"):
        if isinstance(head := data.get("document"), dict):
            name = f"{head.get('namespace')}/{head.get('name')}:{head.get('version')}"
            found[name] = str(head.get("title") or head.get("summary") or "")
    if ":" not in incomplete:
        found = {name.partition(":")[0]: text for name, text in found.items()}
    yield from found.items()


@_completer
def codes(incomplete: str) -> Iterator[tuple[str, str]]:
    """Complete the code of an error."""
    from iogate.cli.documents.explanations import load_explanations

    for code, (title, _) in load_explanations().items():
        yield (code.lower() if incomplete[:1].islower() else code), title


@_completer
def uids(incomplete: str) -> Iterator[tuple[str, str]]:
    """Complete the uid of one of the newest runs in the store."""
    del incomplete
    from iogate.store.runs.run_index import RunFilter

    page = _within_budget(_read(lambda system: system.runs.list(RunFilter(), limit=MAX_RUNS)))
    yield from ((run["uid"], f"{run['status']} {run['api']}") for run in page["runs"])


@_completer
def revisions(incomplete: str) -> Iterator[tuple[str, str]]:
    """Complete the number of a revision that the store keeps, newest first."""
    del incomplete
    page = _within_budget(_read(lambda system: system.revisions.history(MAX_REVISIONS)))
    for each in page["revisions"]:
        yield str(each["revision"]), (each["message"] or each["changes"]).partition("\n")[0]


@asynccontextmanager
async def _system() -> AsyncIterator[System]:
    """Open the live system of the command line being typed, without a key: nothing is verified."""
    from iogate.cli.store_address import read_project_settings, store_url
    from iogate.cli.system import server_choice

    settings = read_project_settings(environment=_environment.get())
    server = server_choice.chosen(_profile.get(), os.environ)
    server = server or server_choice.of_last_login(settings, os.environ)
    if server is not None:
        from iogate.cli.system.http_system import HttpSystem
        from iogate.cli.system.operator_client import operator_client

        async with operator_client(server, server_choice.project_of(settings)) as client:
            yield HttpSystem(client)
        return
    from iogate.cli.system.store_system import StoreSystem
    from iogate.operators.roles import command_actor
    from iogate.store.store import open_store

    url = store_url(settings)
    store = await open_store(url, client_name="iogate-completion", project=settings.project)
    try:
        yield StoreSystem(store, settings, command_actor("completion"))
    finally:
        await store.close()


def _within_budget(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine within the time limit of completion.

    Raises TimeoutError after BUDGET_S.
    """
    import asyncio

    return asyncio.run(asyncio.wait_for(work, BUDGET_S))
