"""`iogate runs`: list, show, wait for, follow, cancel, retry, suspend runs, straight from the store."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from iogate.cli import completion
from iogate.cli.options import (
    ApiFilter,
    OperationOption,
    SinceFilter,
    StatusFilter,
    UidArgument,
    UntilFilter,
    moment_ms,
    seconds,
    statuses,
)
from iogate.cli.render import write
from iogate.cli.runs import prune
from iogate.cli.runs.bulk import confirm, is_uid, no_run, one_by_one, repeatable, require_known, say_done
from iogate.cli.runs.run_display import ENDED, Watching, details, run_table, told
from iogate.cli.session import Session, author, command
from iogate.errors import Misused, Refused, RunFailed, StillRunning, for_operators

if TYPE_CHECKING:
    from iogate.store.runs.operations import RunView
    from iogate.store.store import Store

GLANCE_S = 0.3
"""How often a live display looks again."""
LOOK_S = 30.0
BULK = 100_000

group = typer.Typer(
    help="List, show, wait for, follow, cancel, retry, suspend, resume and delete runs.",
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    prune.register(group)
    app.add_typer(group, name="runs", rich_help_panel="Runs")


@command(group, "list")
async def list_(
    session: Session,
    api: ApiFilter = None,
    status_: StatusFilter = None,
    since: SinceFilter = None,
    until: UntilFilter = None,
    parent: Annotated[
        str | None,
        typer.Option(
            metavar="UID",
            help="Only runs that this run started and waited for.",
            autocompletion=completion.uids,
        ),
    ] = None,
    limit: Annotated[int, typer.Option(help="How many at most, newest first.", min=1, max=10_000)] = 50,
) -> None:
    """List runs, newest first."""
    from iogate.store.runs.presentation import listed, moment

    async with session.store(session.settings()) as store:
        listing = await store.runs.search(
            api=api,
            statuses=statuses(status_),
            since_ms=moment_ms(since, "--since"),
            until_ms=moment_ms(until, "--until"),
            parent=parent,
            limit=limit,
        )
        if not listing.runs:
            await require_known(store, api)
    runs = [listed(each) for each in listing.runs]
    back_to = moment(listing.looked_back_to_ms)
    if back_to is not None and len(runs) < limit:
        session.screen.note(f"looked back to {back_to} only; add --until {back_to} to look further back")
    elif not runs:
        filtered = any(each is not None for each in (api, status_, since, until, parent))
        session.screen.note("no run matches the filters" if filtered else "no runs yet")
    session.screen.data(
        "runs.list",
        {"runs": runs, "lookedBackTo": back_to if len(runs) < limit else None},
        [run_table(runs)],
    )


@command(group, "show")
async def show(session: Session, uid: UidArgument) -> None:
    """Show one run: its data, its error, its tasks."""
    async with session.store(session.settings()) as store:
        view = await found(store, uid)
        children = await store.runs.children(uid)
        run = whole(view, limited=await is_limited(store, view), children=children)
    session.screen.data("runs.show", run, details(run))


@command(group, "wait")
async def wait(
    session: Session,
    uid: UidArgument,
    limit: Annotated[
        str | None,
        typer.Option("--timeout", metavar="TIME", help="Stop waiting after this time, with exit 124."),
    ] = None,
) -> None:
    """Wait for a run's end, its tasks shown live; exit 7 where it faulted or was cancelled."""
    timeout_s = seconds(limit, "--timeout")
    async with session.store(session.settings()) as store:
        view = await until_end(session, store, uid, timeout_s)
        run = whole(view, children=await store.runs.children(uid))
    session.screen.data("runs.wait", run, details(run))
    raise_outcome(run, limit)


@command(group, "logs")
async def logs(
    session: Session,
    uid: UidArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run's end.")] = False,
) -> None:
    """Print a run's journal: what happened, line by line, with the output of its processes."""
    from iogate.cli.render import Output, to_yaml
    from iogate.store.runs.presentation import entry

    async with session.store(session.settings()) as store:
        await found(store, uid)
        if not follow:
            lines = [entry(raw) for raw in await store.runs.journal(uid)]
            session.screen.data("runs.logs", {"uid": uid, "entries": lines}, [told(each) for each in lines])
            return
        async for _, raw in store.runs.follow(uid):
            line = entry(raw)
            # Whoever reads what goes on reads one document after the other: a line each, or behind `---`.
            match session.screen.output:
                case Output.TEXT:
                    write(told(line))
                case Output.JSON:
                    write(json.dumps(line, ensure_ascii=False))
                case Output.YAML:
                    write(f"---\n{to_yaml(line)}", end="")


@command(group, "cancel")
async def cancel(
    session: Session,
    uids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[UID]...", help="Ids of the runs.", autocompletion=completion.uids),
    ] = None,
    reason: Annotated[str, typer.Option(help="Reason, recorded in the run's error and journal.")] = "",
    api: ApiFilter = None,
    status_: StatusFilter = None,
    since: SinceFilter = None,
    until: UntilFilter = None,
    yes: Annotated[bool, typer.Option("--yes", help="Cancel all that the filters match.")] = False,
    id_: OperationOption = None,
) -> None:
    """Cancel runs, by id or by filter."""
    filtered = any(each is not None for each in (api, status_, since, until))
    if bool(uids) == filtered:
        raise Misused(
            "name the runs to cancel, or filter them by --api, --status, --since or --until: one of both"
        )
    async with session.store(session.settings(), changes=True) as store, repeatable(id_) as operation:
        wanted = list(uids or ())
        if filtered:
            found_ = await store.runs.list(
                api=api,
                statuses=statuses(status_),
                since_ms=moment_ms(since, "--since"),
                until_ms=moment_ms(until, "--until"),
                limit=BULK,
            )
            live = [each for each in found_ if each.status not in ENDED]
            if not live:
                await require_known(store, api)
                session.screen.note("no run matches the filters")
            confirm("cancels", live, yes=yes)
            wanted = [each.uid for each in live]
        why = f"{author()}: {reason}" if reason else f"{author()} asked for it"

        async def end(uid: str) -> bool:
            match await store.runs.cancel(uid, why, operation=operation):
                case "unknown":
                    raise no_run(uid)
                case "ended":
                    # One that a filter had matched has ended since: nobody meant that very run.
                    if not filtered and (status := (await found(store, uid)).status) != "cancelled":
                        raise has_ended(uid, status)
                    session.screen.note(f"{uid} has ended already")
                    return False
                case _:
                    return True

        cancelled, left = await one_by_one(wanted, end)
    say_done(session, "runs.cancel", "cancelled", cancelled, left)


@command(group, "retry")
async def retry(
    session: Session,
    uids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[UID]...", help="Ids of the runs.", autocompletion=completion.uids),
    ] = None,
    from_: Annotated[
        str | None,
        typer.Option("--from", metavar="POINTER", help="Go on from this earlier task, such as /do/2/charge."),
    ] = None,
    on: Annotated[
        str | None,
        typer.Option("--on", metavar="current", help="Go on with the definition that is live now."),
    ] = None,
    api: ApiFilter = None,
    status_: StatusFilter = None,
    since: SinceFilter = None,
    until: UntilFilter = None,
    yes: Annotated[bool, typer.Option("--yes", help="Retry all that the filters match.")] = False,
    id_: OperationOption = None,
) -> None:
    """Let faulted runs go on from the task that faulted; what was done before is not repeated."""
    from iogate.cli.runs.retry import Attempts
    from iogate.store.connection.connection import time_ms

    if on not in (None, "current"):
        raise Misused(f'--on takes "current", not {on!r}; without it a run keeps its definition')
    filtered = any(each is not None for each in (api, status_, since, until))
    if bool(uids) == filtered:
        raise Misused(
            "name the runs to retry, or filter them by --api, --status, --since or --until: one of both"
        )
    if filtered and status_ not in (None, "faulted"):
        raise Misused(f"--status {status_}: only runs that faulted can be retried")
    async with session.store(session.settings(), changes=True) as store, repeatable(id_) as operation:
        wanted = list(uids or ())
        if filtered:
            found_ = await store.runs.list(
                api=api,
                statuses=("faulted",),
                since_ms=moment_ms(since, "--since"),
                until_ms=moment_ms(until, "--until"),
                limit=BULK,
            )
            if not found_:
                await require_known(store, api)
                session.screen.note("no run matches the filters")
            confirm("retries", found_, yes=yes)
            wanted = [each.uid for each in found_]
        now_ms = time_ms(await store.call("TIME"))
        attempts = Attempts(
            store=store,
            pointer=from_,
            current=on is not None,
            by=author(),
            now_ms=now_ms,
            operation=operation,
        )
        retried, left = await one_by_one(wanted, attempts.make)
    for remark in attempts.remarks:
        session.screen.note(remark)
    say_done(session, "runs.retry", "retried", retried, left)


Uids = Annotated[
    list[str], typer.Argument(metavar="UID...", help="Ids of the runs.", autocompletion=completion.uids)
]


@command(group, "suspend")
async def suspend(session: Session, uids: Uids, id_: OperationOption = None) -> None:
    """Set runs aside: no timer of theirs ends and no task begins until they are resumed."""
    async with session.store(session.settings(), changes=True) as store, repeatable(id_) as operation:

        async def set_aside(uid: str) -> bool:
            match await store.runs.suspend(uid, operation=operation):
                case "unknown":
                    raise no_run(uid)
                case "ended":
                    raise has_ended(uid, (await found(store, uid)).status)
                case "cancelled":
                    raise Refused(f"run {uid} is being cancelled")
                case "asked":
                    session.screen.note(f"{uid} is at work: it stops at its next task")
            return True

        suspended, left = await one_by_one(uids, set_aside)
    say_done(session, "runs.suspend", "suspended", suspended, left)


@command(group, "resume")
async def resume(session: Session, uids: Uids, id_: OperationOption = None) -> None:
    """Let suspended runs go on from where they were."""
    async with session.store(session.settings(), changes=True) as store, repeatable(id_) as operation:

        async def let_go_on(uid: str) -> bool:
            match await store.runs.resume(uid, operation=operation):
                case "unknown":
                    raise no_run(uid)
                case "ended":
                    raise has_ended(uid, (await found(store, uid)).status)
                case "not suspended":
                    session.screen.note(f"{uid} is not suspended")
                    return False
                case _:
                    return True

        resumed, left = await one_by_one(uids, let_go_on)
    say_done(session, "runs.resume", "resumed", resumed, left)


async def found(store: Store, uid: str) -> RunView:
    """The run, or a NotFound that says why it may be gone."""
    view = await store.runs.show(uid) if is_uid(uid) else None
    if view is None:
        raise no_run(uid)
    return view


def has_ended(uid: str, status_: str) -> Refused:
    return Refused(f"run {uid} has ended already: it {ended(status_)}")


async def until_end(session: Session, store: Store, uid: str, timeout_s: float | None) -> RunView:
    """The run at its end or at the time-out, with its tasks shown meanwhile."""
    view = await found(store, uid)
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    with Watching(session.screen) as watching:
        while view.status not in ENDED:
            if watching.active:
                watching.show(whole(view, limited=await is_limited(store, view)))
            pause_s = GLANCE_S if watching.active else LOOK_S
            if deadline is not None:
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    break
                pause_s = min(pause_s, left_s)
            view = await store.runs.wait(uid, pause_s) or view
    return view


def raise_outcome(run: dict[str, Any], limit: str | None, *, output: bool = False) -> None:
    """Raise the failure that an unsuccessful end amounts to.

    `output`: say what is for operators, too, such as the output of a process, since nothing else shows it.
    """
    match run["status"]:
        case "completed":
            return
        case "faulted" | "cancelled":
            error = run.get("error") or {}
            cause = error.get("detail" if run["status"] == "cancelled" else "message")
            if output and cause:
                cause = for_operators(cause, error)
            raise RunFailed(f"run {run['uid']} {ended(run['status'])}" + (f": {cause}" if cause else ""))
        case still:
            unit = "s" if limit and limit.isdigit() else ""
            raise StillRunning(f"run {run['uid']} is still {still} after {limit}{unit}")


def ended(status_: str) -> str:
    return "was cancelled" if status_ == "cancelled" else status_


async def is_limited(store: Store, view: RunView) -> bool:
    """Whether a run that is kept back waits for its API's `running`, not for a worker."""
    if view.place not in {"backlog", "woken"}:
        return False
    live = await store.revisions.live()
    api = (await store.revisions.load(live[0])).apis.get(view.api) if live is not None else None
    return api is not None and api.limits.running is not None


def whole(view: RunView, *, limited: bool = False, children: Sequence[str] = ()) -> dict[str, Any]:
    """Return a run as HTTP shows it, with its parent, its children and the output of a failed process."""
    import msgspec

    from iogate.store.runs import presentation

    decoded: dict[str, Any] = msgspec.json.decode(
        msgspec.json.encode(presentation.whole(view, limited=limited, operator=True))
    )
    return decoded | {"parent": view.parent, "children": list(children)}
