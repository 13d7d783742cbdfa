"""`iogate enable`, `disable`, `override`: the switch of each live API, apart from its documents."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from iogate.cli import completion, panels
from iogate.cli.apis.gate_display import state_text
from iogate.cli.options import parse_rate, parse_seconds
from iogate.cli.render import Table
from iogate.cli.session import Session, command
from iogate.errors import Misused, Refused
from iogate.messages import counted

if TYPE_CHECKING:
    from iogate.operators.live_revision import ApiSelection

overrides = typer.Typer(
    help="List and clear overrides that `enable` and `disable` set.", no_args_is_help=True
)

NOT_CONFIRMED = "IOG642"

ApisArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="MODULE/METHOD", help="Ids of the APIs.", autocompletion=completion.apis),
]
ModuleOption = Annotated[
    list[str] | None,
    typer.Option(
        "--module",
        metavar="NAME",
        help="All APIs of this module; may be repeated.",
        autocompletion=completion.modules,
    ),
]
TagOption = Annotated[
    list[str] | None,
    typer.Option(
        "--tag",
        metavar="TAG",
        help="All APIs with this tag; may be repeated.",
        autocompletion=completion.tags,
    ),
]
AllOption = Annotated[
    bool, typer.Option("--all", help="All live APIs of the project; asks for confirmation.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation of --all.")]
RateOption = Annotated[
    str | None,
    typer.Option(
        "--rate", metavar="N/s", help="Release the runs on hold gradually: 50/s, 100/m. Default: all at once."
    ),
]
ReasonOption = Annotated[str, typer.Option(help="Reason, shown to other users.")]
TtlOption = Annotated[
    str | None, typer.Option(metavar="TIME", help="End the override after this time: 30m, 2h.")
]


def register(app: typer.Typer) -> None:
    command(app, "enable", over_http=True, rich_help_panel=panels.LIVE)(enable)
    command(app, "disable", over_http=True, rich_help_panel=panels.LIVE)(disable)
    app.add_typer(overrides, name="override", rich_help_panel=panels.LIVE)


async def enable(
    session: Session,
    apis: ApisArgument = None,
    module: ModuleOption = None,
    tag: TagOption = None,
    all_: AllOption = False,
    hold: Annotated[
        bool, typer.Option("--hold", help="Accept and store calls, but start no new run.")
    ] = False,
    rate: RateOption = None,
    reason: ReasonOption = "",
    ttl: TtlOption = None,
    yes: YesOption = False,
) -> None:
    """Enable APIs, on all gateways before the command returns, and release their runs on hold.

    Raises Misused, NotFound and Refused as `_switch` does.
    """
    selection = _selection(apis, module, tag, all_=all_)
    if hold and rate is not None:
        raise Misused("--hold and --rate cannot be combined")
    await _switch(session, selection, "enable", hold=hold, reason=reason, ttl=ttl, rate=rate, yes=yes)


async def disable(
    session: Session,
    apis: ApisArgument = None,
    module: ModuleOption = None,
    tag: TagOption = None,
    all_: AllOption = False,
    hold: Annotated[
        bool,
        typer.Option(
            "--hold", help="Start no new run until `enable`; calls are accepted and stored as before."
        ),
    ] = False,
    reason: ReasonOption = "",
    ttl: TtlOption = None,
    yes: YesOption = False,
) -> None:
    """Disable APIs: callers get a 403, accepted runs continue. --hold accepts calls, and starts no new run.

    Raises Misused, NotFound and Refused as `_switch` does.
    """
    selection = _selection(apis, module, tag, all_=all_)
    await _switch(session, selection, "disable", hold=hold, reason=reason, ttl=ttl, yes=yes)
    if not reason:
        session.screen.note("no reason given: --reason TEXT tells others why")


def _selection(
    apis: Sequence[str] | None, modules: Sequence[str] | None, tags: Sequence[str] | None, *, all_: bool
) -> ApiSelection:
    """Return the selection that `enable` and `disable` get. Raises Misused as ApiSelection does."""
    from iogate.operators.live_revision import ApiSelection

    return ApiSelection(apis=apis or (), modules=modules or (), tags=tags or (), all_=all_)


async def _switch(
    session: Session,
    selection: ApiSelection,
    verb: str,
    *,
    hold: bool,
    reason: str,
    ttl: str | None,
    rate: str | None = None,
    yes: bool,
) -> None:
    """Switch all selected APIs in one step, and print the changes.

    Raises:
        Misused: an option is wrong, or `--all` needs a confirmation.
        NotFound: nothing is selected.
        Refused: not confirmed, or the live revision changes all the time.
    """
    from iogate.cli.system.system import GateSwitch

    word = "hold" if hold else verb
    wanted = GateSwitch(
        selection=selection,
        enabled=verb == "enable",
        hold=hold,
        reason=reason,
        ttl_s=parse_seconds(ttl, "--ttl"),
        rate=parse_rate(rate, "--rate"),
        confirm=(lambda apis: confirm_all(word, apis)) if selection.all_ and not yes else None,
    )
    async with session.system(changes=True) as system:
        value = await system.apis.switch(wanted)
    changes = value["changes"]
    session.screen.data(verb, value, [_change_text(each, ttl, rate) for each in changes])
    starting = sum(each["queued"] for each in changes if each["after"] == "disabled")
    if starting:
        session.screen.note(
            f"{counted(starting, 'queued run')} will still start: "
            "iogate disable --hold keeps new runs from starting"
        )


def confirm_all(verb: str, apis: Sequence[str]) -> None:
    """Ask on the terminal whether to switch all live APIs.

    Raises:
        Misused: there is no terminal.
        Refused: the answer is no.
    """
    question = f"{verb} all {counted(len(apis), 'live API')}"
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Misused(f"this would {question}", code=NOT_CONFIRMED, hint="add --yes to confirm")
    if not typer.confirm(f"{question[0].upper()}{question[1:]}?", err=True):
        raise Refused("not confirmed: nothing was changed", code=NOT_CONFIRMED)


def _change_text(change: dict[str, Any], ttl: str | None, rate: str | None) -> str:
    api, after, held_before, held = change["api"], change["after"], change["heldBefore"], change["held"]
    text = f"{after} {api}" + (f" for {ttl}" if ttl else "")
    if after == "disabled, held":
        text = f"disabled {api}" + (f" for {ttl}" if ttl else "") + f": {_runs(held)} on hold"
    elif after == "held":
        text += f": {_runs(held)} on hold"
    elif held_before:
        text = text.replace("deleted", "released", 1)
        text += f": releases {_runs(held_before)}" + (f", {rate}" if rate and held else "")
    return text + (" (it was already)" if change["before"] == after else "")


def _runs(number: int) -> str:
    return counted(number, "run")


@command(overrides, "list", over_http=True, fields_of="override.list")
async def list_(session: Session) -> None:
    """List the APIs with an override."""
    async with session.system() as system:
        value = await system.apis.overrides()
    session.screen.data(
        "override.list",
        value,
        [
            Table(
                columns=("api", "state", "author", "reason", "since", "until"),
                rows=[
                    (
                        row["api"],
                        state_text(row),
                        row["author"],
                        row["reason"] or None,
                        row["setAt"],
                        row["expiresAt"],
                    )
                    for row in value["overrides"]
                ],
            )
        ],
    )


@command(overrides, "clear", over_http=True)
async def clear(
    session: Session,
    apis: Annotated[
        list[str] | None, typer.Argument(metavar="MODULE/METHOD", autocompletion=completion.apis)
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Clear all overrides.")] = False,
    rate: RateOption = None,
    reason: Annotated[str, typer.Option(help="Reason, recorded in the activity.")] = "",
) -> None:
    """Clear overrides, so that the state in git applies again. A hold ends with its override: its runs start.

    Raises:
        Misused: neither APIs nor `--all` are given, or both.
        NotFound: there is no such API.
    """
    if bool(apis) == all_:
        raise Misused("give either the ids of APIs, or --all")
    per_s = parse_rate(rate, "--rate")
    async with session.system(changes=True) as system:
        value = await system.apis.clear_overrides(None if all_ else apis, reason=reason, rate=per_s)
    cleared = value["cleared"]
    session.screen.data("override.clear", value, [f"cleared {api}" for api in cleared])
    if not cleared:
        session.screen.note("no overrides to clear")
