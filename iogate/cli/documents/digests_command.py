"""`iogate digests`: list of the processes that workflows start, for the setting `allow_run`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from iogate.cli import panels
from iogate.cli.documents.bundle import check_documents
from iogate.cli.documents.problem_display import show_problems
from iogate.cli.options import PathsArgument
from iogate.cli.session import Session, command
from iogate.errors import InvalidFiles
from iogate.messages import counted, printable
from iogate.settings.permissions import KINDS

if TYPE_CHECKING:
    from iogate.compiler.checks.processes import ProcessTask


def register(app: typer.Typer) -> None:
    command(app, "digests", rich_help_panel=panels.DOCUMENTS)(digests)


def digests(
    session: Session,
    paths: PathsArgument = None,
    unlisted: Annotated[
        bool, typer.Option("--unlisted", help="Only those that allow_run does not allow yet.")
    ] = False,
) -> None:
    """Print the digest of each shell command, script and container, for the setting allow_run.

    Raises:
        InvalidFiles: a document has an error, so that the list may lack some.
    """
    from iogate.compiler.checks.processes import CODE, UNLISTED

    checked = check_documents(session.settings(), paths=paths or None, online=True)
    problems = [each for each in checked.problems if each.code not in (CODE, UNLISTED)]
    errors = [each for each in problems if each.severity == "error"]
    show_problems(errors, checked.sources, sys.stderr)
    found = [each for each in checked.processes if not (unlisted and each.allowed)]
    session.screen.data(
        "digests",
        {
            "processes": [
                {
                    "kind": each.kind,
                    "digest": each.digest,
                    "workflow": each.workflow,
                    "task": each.task,
                    "place": each.place,
                    "allowed": each.allowed,
                }
                for each in found
            ]
        },
        ["\n".join(_setting(found))] if found else [],
    )
    refused = len({each.digest for each in found if not each.allowed})
    session.screen.note(f"{counted(len({each.digest for each in found}), 'digest')}, {refused} not allowed")
    if errors:
        raise InvalidFiles(
            f"validation failed: {counted(len(errors), 'error')}",
            hint="correct the documents and repeat: digests of invalid workflows are missing",
        )


def _setting(found: Sequence[ProcessTask]) -> Iterator[str]:
    """Yield the lines of the setting with the digests, with the place of each process."""
    yield "allow_run:"
    for kind in KINDS:
        places: dict[str, list[str]] = {}
        for each in found:
            if each.kind == kind:
                places.setdefault(each.digest, []).append(f"{each.place} {each.task}")
        if places:
            yield f"  {kind}:"
        for digest, at in places.items():
            yield f"    - {digest}  # {printable(', '.join(dict.fromkeys(at)))}"
