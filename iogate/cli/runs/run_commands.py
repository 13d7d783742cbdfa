"""`iogate runs`: list, show, wait for, follow, cancel, retry, suspend and resume runs in the store."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from iogate.cli import completion, last_run, panels
from iogate.cli.batches.filter_batches import change_matching
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
from iogate.cli.runs.bulk_changes import Selection, change_runs, operation_id
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
from iogate.cli.session import Session, command
from iogate.cli.system.system import RunChange
from iogate.errors import Misused
from iogate.operators.runs.task_records import is_recorded

Uids = Annotated[
    list[str],
    typer.Argument(
        metavar="UID...",
        help="Ids of the runs, or @last.",
        autocompletion=completion.uids,
        callback=last_run.resolve,
    ),
]
OptionalUids = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="UID",
        help="Ids of the runs, or @last.",
        autocompletion=completion.uids,
        callback=last_run.resolve,
    ),
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


@command(group, "show", over_http=True, fields_of="runs.show")
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
    async with session.system() as system:
        run = await system.runs.show(uid, data=data, task=task)
    text = run_details(run)
    if data or task is not None:
        shown = map(format_record, run["recorded"]) if run["recorded"] else [NOTHING_RECORDED]
        text = [*shown] if task is not None else [*text, "", *shown]
    session.screen.data("runs.show", run, text)


@command(group, "wait", over_http=True)
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
    timeout_s = parse_seconds(limit, "--timeout")
    async with session.system() as system:
        run = await wait_for_end(session, system.runs, uid, timeout_s)
    session.screen.data("runs.wait", run, run_details(run))
    raise_for_outcome(run, limit)


@command(group, "logs", over_http=True)
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

    async with session.system() as system:
        if not follow:
            journal = await system.runs.journal(uid)
            entries = [each for each in journal["entries"] if data or not is_recorded(each)]
            session.screen.data(
                "runs.logs", {"uid": uid, "entries": entries}, [format_entry(each) for each in entries]
            )
            return
        async for shown in system.runs.follow(uid):
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


@command(group, "redeliver", over_http=True)
async def redeliver(session: Session, uid: UidArgument, reason: ReasonOption = "") -> None:
    """Send the callback of an ended run again, with the same webhook-id.

    Raises NotFound for an unknown run, Refused if the run has not ended or has no callback.
    """
    change = RunChange(action="redeliver", verb="redelivered", reason=reason)
    async with session.system(changes=True) as system:
        changed = await system.runs.change(change, [uid])
    for error in changed.left:
        raise error
    found = changed.done[0]
    (session.screen.note if found["isSent"] else session.screen.warn)(found["remark"])
    session.screen.data("runs.redeliver", {"uid": uid, "outcome": found["outcome"]})


@command(group, "cancel", over_http=True)
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
    """Cancel runs, by id, or by filters with a batch, which a worker carries out; Ctrl-C stops the batch.

    Raises:
        Misused: the ids and filters are wrong, or `--yes` is missing.
        NotFound, Refused: some runs do not exist or cannot be cancelled; the others are cancelled.
    """
    selection = Selection(
        uids=uids,
        filters=Filters(
            api=api, status=status_, since=since, until=until, workflow=workflow, caller=caller,
            revision=revision, parent=parent, project=project, where=where,
        ),
    )  # fmt: skip
    change = RunChange(action="cancel", verb="cancelled", reason=reason, operation=operation_id(id_))
    if selection.by_filter:
        wanted = selection.filters.parse()
        await change_matching(session, change, wanted, yes=yes, repeats=id_ is not None)
    else:
        await change_runs(session, change, selection)


@command(group, "retry", over_http=True)
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

    With filters, a batch does it, which a worker carries out; Ctrl-C stops the batch.

    Raises:
        Misused: the ids and filters are wrong, or `--yes` is missing.
        NotFound, Refused: some runs do not exist or cannot be retried; the others are retried.
    """
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
    change = RunChange(
        action="retry", verb="retried", reason=reason, operation=operation_id(id_), pointer=from_,
        current=on is not None,
    )  # fmt: skip
    if selection.by_filter:
        wanted = selection.filters.parse()
        await change_matching(session, change, wanted, yes=yes, repeats=id_ is not None)
    else:
        await change_runs(session, change, selection)


@command(group, "suspend", over_http=True)
async def suspend(
    session: Session, uids: Uids, reason: ReasonOption = "", id_: OperationOption = None
) -> None:
    """Suspend runs: no task starts and no timer fires until they are resumed.

    Raises NotFound or Refused if a run cannot be suspended; the others are suspended.
    """
    change = RunChange(action="suspend", verb="suspended", reason=reason, operation=operation_id(id_))
    await change_runs(session, change, Selection(uids=uids))


@command(group, "resume", over_http=True)
async def resume(
    session: Session, uids: Uids, reason: ReasonOption = "", id_: OperationOption = None
) -> None:
    """Resume suspended runs where they stopped.

    Raises NotFound or Refused if a run cannot be resumed; the others are resumed.
    """
    change = RunChange(action="resume", verb="resumed", reason=reason, operation=operation_id(id_))
    await change_runs(session, change, Selection(uids=uids))
