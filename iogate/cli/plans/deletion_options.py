"""Options of the commands that publish: what may be deleted, and which part of the files is meant."""

from __future__ import annotations

from typing import Annotated

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
