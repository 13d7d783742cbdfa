"""`iogate diff`: differences between two revisions, the live one and the files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from iogate.cli import completion, panels
from iogate.cli.options import ExitCodeOption
from iogate.cli.plans.plan_text import plan_lines
from iogate.cli.render import Output
from iogate.cli.session import CHANGES, Session, command
from iogate.errors import Misused

if TYPE_CHECKING:
    from iogate.cli.system.system import Revisions
    from iogate.operators.revisions import Version
    from iogate.settings import Settings

LIVE = "live"
FILES = "files"


def register(app: typer.Typer) -> None:
    command(app, "diff", formats=(Output.MARKDOWN,), over_http=True, rich_help_panel=panels.LIVE)(diff)


async def diff(
    session: Session,
    before: Annotated[
        str, typer.Argument(metavar="A", help="Revision, live or files.", autocompletion=completion.revisions)
    ],
    after: Annotated[
        str,
        typer.Argument(metavar="B", help="The same; default: live.", autocompletion=completion.revisions),
    ] = LIVE,
    exit_code: ExitCodeOption = False,
) -> None:
    """Show the differences between two revisions, and their meaning.

    Raises:
        NotFound: there is no such revision.
        InvalidFiles: the files have errors.
        Misused: a name is not a revision.
    """
    from iogate.cli.plans.plan_markdown import plan_markdown
    from iogate.reconcile.plan_reader import read_plan

    for name in (before, after):
        _check_name(name)
    if FILES in (before, after):
        found = await _diff_files(session, before, after)
    else:
        async with session.system() as system:
            found = await system.revisions.diff(_number(before), _number(after))
    plan = read_plan(found)
    note = f"from {_called(before, found['from'])} to {_called(after, found['to'])}"
    session.screen.note(note, style="bright_black")
    summary = plan.past_summary()
    session.screen.data(
        "diff",
        found,
        plan_lines(plan, summary=summary),
        {Output.MARKDOWN: lambda: plan_markdown(plan, "iogate diff", [note], summary)},
    )
    if exit_code and plan:
        raise typer.Exit(CHANGES)


def _check_name(name: str) -> None:
    """Raise Misused if an argument of `iogate diff` is not the name of a revision."""
    if name not in {LIVE, FILES} and not (name.isascii() and name.isdigit() and len(name) < 16):
        raise Misused(f"{name}: expected the number of a revision, {LIVE} or {FILES}")


def _called(name: str, side: dict[str, Any]) -> str:
    if side["revision"] is None:
        return "the files"
    return f"live revision {side['revision']}" if name == LIVE else f"revision {side['revision']}"


def _number(name: str) -> int | None:
    return None if name == LIVE else int(name)


async def _diff_files(session: Session, before: str, after: str) -> dict[str, Any]:
    """Return the difference of a revision and the files, as JSON.

    Raises NotFound and InvalidFiles as `_version` does.
    """
    from iogate.operators import revisions

    settings = session.settings()
    async with session.system(settings) as system:
        found = system.revisions
        sides = await _version(found, settings, before), await _version(found, settings, after)
    return revisions.compare(*sides).to_json()


async def _version(found: Revisions, settings: Settings, name: str) -> Version:
    """Return one side of `iogate diff`: a revision, or the files.

    Raises:
        NotFound: the store does not keep the revision, or none was applied yet.
        InvalidFiles: the files have errors.
        Refused: the role of the operator does not suffice.
    """
    from iogate.cli.documents.bundle import compile_or_fail
    from iogate.operators.revisions import Version

    if name == FILES:
        checked = compile_or_fail(settings, purpose="apply")
        assert checked.bundle is not None, "compile_or_fail() raises without a bundle"
        return Version(number=None, bundle=checked.bundle)
    return await found.version(_number(name))
