"""Filters of runs that `runs list`, `cancel`, `retry` and `prune` share: their options and their parser."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated

import typer

from iogate.cli import completion
from iogate.cli.options import parse_moment_ms, parse_pair, parse_statuses

if TYPE_CHECKING:
    from iogate.store.runs.run_index import RunFilter

WorkflowFilter = Annotated[
    str | None,
    typer.Option(
        "--workflow",
        metavar="NAME[:VERSION]",
        help="Only runs of this workflow, of all versions without one.",
        autocompletion=completion.workflows,
    ),
]
CallerFilter = Annotated[
    str | None, typer.Option("--caller", metavar="NAME", help='Only runs of this caller; "" is none.')
]
RevisionFilter = Annotated[
    int | None, typer.Option("--revision", metavar="N", help="Only runs of this revision.", min=0)
]
ParentFilter = Annotated[
    str | None,
    typer.Option(
        "--parent", metavar="UID", help="Only child runs of this run.", autocompletion=completion.uids
    ),
]
ProjectFilter = Annotated[
    str | None, typer.Option("--project", metavar="NAME", help="Only runs of APIs of this project.")
]
WhereFilter = Annotated[
    str | None,
    typer.Option(
        "--where",
        metavar="NAME=VALUE",
        help="Only runs with this value of an attribute that their API declares.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Filters of one command, as they were typed."""

    api: str | None = None
    status: str | None = None
    since: str | None = None
    until: str | None = None
    workflow: str | None = None
    caller: str | None = None
    revision: int | None = None
    parent: str | None = None
    project: str | None = None
    where: str | None = None

    @property
    def are_given(self) -> bool:
        """Tell whether the command line has a filter of runs."""
        return any(getattr(self, field.name) is not None for field in fields(self))

    def parse(self) -> RunFilter:
        """Return the filters of runs on the command line as the filter for the store.

        Raises:
            Misused: a time is none, or a status is unknown.
        """
        from iogate.store.runs.run_index import RunFilter

        return RunFilter(
            api=self.api,
            workflow=self.workflow,
            statuses=parse_statuses(self.status),
            since_ms=parse_moment_ms(self.since, "--since"),
            until_ms=parse_moment_ms(self.until, "--until"),
            caller=self.caller,
            parent=self.parent,
            revision=self.revision,
            project=self.project,
            where=None if self.where is None else parse_pair(self.where, "--where", "="),
        )
