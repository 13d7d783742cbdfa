"""`iogate runs`: list, show, wait for, follow, cancel, retry, suspend and resume runs in the store."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from iogate.cli import completion, panels
from iogate.cli.options import (
    ApiFilter,
    OperationOption,
    SinceFilter,
    StatusFilter,
    UidArgument,
    UntilFilter,
    parse_seconds,
)
from iogate.cli.render import write_stdout
from iogate.cli.runs import file_command, prune, run_list, statistics_commands
from iogate.cli.runs.bulk_changes import Selection, change_runs
from iogate.cli.runs.run_display import format_entry, format_record, run_details
from iogate.cli.runs.run_filters import (
    CallerFilter,
    Filters,
    ParentFilter,
    ProjectFilter,
    RevisionFilter,
    WhereFilter,
    WorkflowFilter,
)
from iogate.cli.runs.run_outcome import raise_for_outcome, wait_for_end
from iogate.cli.session import Session, command, recorded_change
from iogate.errors import Misused, Refused
from iogate.operators.task_records import is_recorded
from iogate.store.keys import NOT_ENDED

Uids = Annotated[
    list[str], typer.Argument(metavar="UID...", help="Ids of the runs.", autocompletion=completion.uids)
]
OptionalUids = Annotated[
    list[str] | None,
    typer.Argument(metavar="UID", help="Ids of the runs.", autocompletion=completion.uids),
]

ReasonOption = Annotated[str, typer.Option(help="Reason, recorded in the activity.")]
DataOption = Annotated[
    bool, typer.Option("--data", help="Show the recorded input and output of tasks (`record` of the API).")
]
NOTHING_RECORDED = "no input or output of a task was recorded (`record` of the API says which are)"

group = typer.Typer(
    help="List, show, wait for, follow, cancel, retry, suspend, resume and delete runs.",
    no_args_is_help=True,
)
run_list.register(group)


def register(app: typer.Typer) -> None:
    prune.register(group)
    statistics_commands.register(group)
    file_command.register(group)
    app.add_typer(group, name="runs", rich_help_panel=panels.RUNS)


@command(group, "show")
async def show(
    session: Session,
    uid: UidArgument,
    data: DataOption = False,
    task: Annotated[
        str | None,
        typer.Option(
            "--task",
            metavar="REF",
            help="Show the recorded input and output of this task, by reference or name.",
        ),
    ] = None,
) -> None:
    """Show one run with its data, error and tasks.

    Raises NotFound if there is no such run, or no such task.
    """
    from iogate.operators.runs import run_actions

    async with session.store(session.settings()) as store:
        run = await run_actions.show(store, uid, data=data, task=task)
    text = run_details(run)
    if data or task is not None:
        shown = map(format_record, run["recorded"]) if run["recorded"] else [NOTHING_RECORDED]
        text = [*shown] if task is not None else [*text, "", *shown]
    session.screen.data("runs.show", run, text)


@command(group, "wait")
async def wait(
    session: Session,
    uid: UidArgument,
    limit: Annotated[
        str | None,
        typer.Option("--timeout", metavar="TIME", help="Stop waiting after this time, with exit 124."),
    ] = None,
) -> None:
    """Wait until a run ends and show its tasks live; exit 7 if it faulted or was cancelled.

    Raises NotFound, RunFailed and StillRunning as `wait_for_end` and `raise_for_outcome` do.
    """
    from iogate.operators.runs.run_details import add_calls, run_json

    timeout_s = parse_seconds(limit, "--timeout")
    async with session.store(session.settings()) as store:
        view = await wait_for_end(session, store, uid, timeout_s)
        run = run_json(view, children=await store.runs.children(uid))
        await add_calls(store, view, run, run["input"])
    session.screen.data("runs.wait", run, run_details(run))
    raise_for_outcome(run, limit)


@command(group, "logs")
async def logs(
    session: Session,
    uid: UidArgument,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print new entries until the run ends.")
    ] = False,
    data: DataOption = False,
) -> None:
    """Print the journal of a run, with the output of its processes.

    Raises NotFound if there is no such run.
    """
    from iogate.cli.render import Output, to_yaml
    from iogate.operators.runs.run_details import find_run, journal_of
    from iogate.store.runs.presentation import journal_entry

    async with session.store(session.settings()) as store:
        await find_run(store, uid)
        if not follow:
            entries = [each for each in await journal_of(store, uid) if data or not is_recorded(each)]
            session.screen.data(
                "runs.logs", {"uid": uid, "entries": entries}, [format_entry(each) for each in entries]
            )
            return
        async for _, raw in store.runs.follow(uid):
            shown = journal_entry(raw)
            if is_recorded(shown) and not data:
                continue
            # A stream is a sequence of documents: one line each in JSON, separated by `---` in YAML.
            match session.screen.output:
                case Output.TEXT:
                    write_stdout(format_entry(shown))
                case Output.JSON:
                    write_stdout(json.dumps(shown, ensure_ascii=False))
                case Output.YAML:
                    write_stdout(f"---\n{to_yaml(shown)}", end="")


@command(group, "redeliver")
async def redeliver(session: Session, uid: UidArgument, reason: ReasonOption = "") -> None:
    """Send the callback of an ended run again, with the same webhook-id.

    Raises NotFound for an unknown run, Refused if the run has not ended or has no callback.
    """
    from iogate.operators.runs import run_actions

    async with (
        session.store(session.settings()) as store,
        recorded_change(store, "runs.redeliver", "run", [uid], reason),
    ):
        found = await run_actions.redeliver(store, uid)
    (session.screen.note if found["isSent"] else session.screen.warn)(found["remark"])
    session.screen.data("runs.redeliver", {"uid": uid, "outcome": found["outcome"]})


@command(group, "cancel")
async def cancel(
    session: Session,
    uids: OptionalUids = None,
    reason: Annotated[str, typer.Option(help="Reason, recorded in the run's error and journal.")] = "",
    api: ApiFilter = None,
    status_: StatusFilter = None,
    since: SinceFilter = None,
    until: UntilFilter = None,
    workflow: WorkflowFilter = None,
    caller: CallerFilter = None,
    revision: RevisionFilter = None,
    parent: ParentFilter = None,
    project: ProjectFilter = None,
    where: WhereFilter = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Cancel all that the filters match.")] = False,
    id_: OperationOption = None,
) -> None:
    """Cancel runs, by id or by filter.

    Raises:
        Misused: the ids and filters are wrong, or `--yes` is missing.
        NotFound, Refused: some runs do not exist or cannot be cancelled; the others are cancelled.
    """
    from iogate.operators.runs import run_actions

    selection = Selection(
        uids=uids,
        filters=Filters(
            api=api, status=status_, since=since, until=until, workflow=workflow, caller=caller,
            revision=revision, parent=parent, project=project, where=where,
        ),
    )  # fmt: skip
    async with change_runs(session, "cancel", "cancelled", id_, reason) as changes:

        async def cancel_one(uid: str) -> bool:
            """Cancel a run; raise NotFound or Refused as `Changes.apply` expects."""
            try:
                found = await run_actions.cancel(
                    changes.store, uid, actor=changes.actor, reason=reason, operation=changes.operation
                )
            except Refused:
                # A run that a filter has matched may have ended since, which is no error.
                if not selection.by_filter:
                    raise
                found = {"outcome": "unchanged"}
            if found["outcome"] == "unchanged":
                session.screen.note(f"{uid} has ended already")
                return False
            return True

        wanted = await selection.resolve(session, changes.store, "cancels", NOT_ENDED, yes=yes)
        await changes.apply(wanted, cancel_one)


@command(group, "retry")
async def retry(
    session: Session,
    uids: OptionalUids = None,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="POINTER", help="Resume from this earlier task, such as /do/2/charge."
        ),
    ] = None,
    on: Annotated[
        str | None,
        typer.Option("--on", metavar="current", help="Use the live definition."),
    ] = None,
    reason: ReasonOption = "",
    api: ApiFilter = None,
    status_: StatusFilter = None,
    since: SinceFilter = None,
    until: UntilFilter = None,
    workflow: WorkflowFilter = None,
    caller: CallerFilter = None,
    revision: RevisionFilter = None,
    parent: ParentFilter = None,
    project: ProjectFilter = None,
    where: WhereFilter = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Retry all that the filters match.")] = False,
    id_: OperationOption = None,
) -> None:
    """Retry faulted runs from the task that faulted; completed tasks are not repeated.

    Raises:
        Misused: the ids and filters are wrong, or `--yes` is missing.
        NotFound, Refused: some runs do not exist or cannot be retried; the others are retried.
    """
    from iogate.operators.runs.run_retry import Retrier

    if on not in (None, "current"):
        raise Misused(f'--on takes "current", not {on!r}; without it a run keeps its definition')
    selection = Selection(
        uids=uids,
        filters=Filters(
            api=api, status=status_, since=since, until=until, workflow=workflow, caller=caller,
            revision=revision, parent=parent, project=project, where=where,
        ),
    )  # fmt: skip
    if selection.by_filter and status_ not in (None, "faulted"):
        raise Misused(f"--status {status_}: only faulted runs can be retried")
    async with change_runs(session, "retry", "retried", id_, reason) as changes:
        wanted = await selection.resolve(session, changes.store, "retries", ["faulted"], yes=yes)
        retrier = Retrier(
            store=changes.store,
            pointer=from_,
            current=on is not None,
            by=changes.actor.name,
            now_ms=await changes.store.now_ms(),
            operation=changes.operation,
        )
        await changes.apply(wanted, retrier.retry)
        for remark in retrier.remarks:
            session.screen.note(remark)


@command(group, "suspend")
async def suspend(
    session: Session, uids: Uids, reason: ReasonOption = "", id_: OperationOption = None
) -> None:
    """Suspend runs: no task starts and no timer fires until they are resumed.

    Raises NotFound or Refused if a run cannot be suspended; the others are suspended.
    """
    from iogate.operators.runs import run_actions

    async with change_runs(session, "suspend", "suspended", id_, reason) as changes:

        async def suspend_one(uid: str) -> bool:
            """Suspend a run; raise NotFound or Refused as `Changes.apply` expects."""
            found = await run_actions.suspend(changes.store, uid, operation=changes.operation)
            if found["outcome"] == "requested":
                session.screen.note(f"{uid} is running: it stops at its next task")
            return True

        await changes.apply(uids, suspend_one)


@command(group, "resume")
async def resume(
    session: Session, uids: Uids, reason: ReasonOption = "", id_: OperationOption = None
) -> None:
    """Resume suspended runs where they stopped.

    Raises NotFound or Refused if a run cannot be resumed; the others are resumed.
    """
    from iogate.operators.runs import run_actions

    async with change_runs(session, "resume", "resumed", id_, reason) as changes:

        async def resume_one(uid: str) -> bool:
            """Resume a run; raise NotFound or Refused as `Changes.apply` expects."""
            found = await run_actions.resume(changes.store, uid, operation=changes.operation)
            if found["outcome"] == "unchanged":
                session.screen.note(f"{uid} is not suspended")
                return False
            return True

        await changes.apply(uids, resume_one)
