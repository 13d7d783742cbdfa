"""Options of the commands that publish: permission to delete, part of the files, time to wait, message.

Used by `plan`, `apply`, `rollback` and `watch`.
"""

from __future__ import annotations

from typing import Annotated, Final

import typer

from iogate.cli import completion

YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; required without a terminal.")]
PruneOption = Annotated[bool, typer.Option("--prune", help="Allow to delete APIs and workflows.")]
EmptyOption = Annotated[
    bool, typer.Option("--allow-empty", help="Allow to delete all APIs, or all workflows.")
]
MaxDeletesOption = Annotated[
    int | None,
    typer.Option(
        "--max-deletes",
        metavar="N",
        min=0,
        help="Allow at most N deletions; default: a quarter of the APIs and of the workflows.",
    ),
]
OrphansOption = Annotated[
    bool, typer.Option("--keep-orphans", help="Keep APIs and workflows live that the files lack.")
]
SelectOption = Annotated[
    str,
    typer.Option(
        "--select",
        metavar="TAG|MODULE",
        help="Only APIs with this tag or of this module.",
        autocompletion=completion.selections,
    ),
]
WaitOption = Annotated[
    str, typer.Option("--wait", metavar="TIME", help="Longest time to wait for gateways and workers.")
]
WAIT: Final = "5s"
"""Default of `--wait`."""
RepairOption = Annotated[
    bool,
    typer.Option("--repair", help="If the live revision is refused, say why, and replace it by a new one."),
]
MessageOption = Annotated[
    str,
    typer.Option(
        "--message", "-m", metavar="TEXT", help="Note for the history of revisions; required over HTTP."
    ),
]
