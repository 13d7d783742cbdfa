"""`iogate enable`, `disable`, `override`: the switch of each live API, apart from its documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from iogate.cli import completion, panels
from iogate.cli.apis.gate_display import override_json, state_text
from iogate.cli.live_revision import find_api, live_revision
from iogate.cli.messages import counted
from iogate.cli.options import parse_rate, parse_seconds
from iogate.cli.render import Table
from iogate.cli.revisions.api_selection import ApiSelection, confirm_all
from iogate.cli.session import Session, author, command
from iogate.errors import Misused, Refused

if TYPE_CHECKING:
    from iogate.store.revisions.gate_states import Switched


overrides = typer.Typer(
    help="List and clear overrides that `enable` and `disable` set.", no_args_is_help=True
)

ATTEMPTS = 10
"""Maximum number of attempts to switch a selection while others change the live revision."""
MOVED = "IOG643"

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
    command(app, "enable", rich_help_panel=panels.LIVE)(enable)
    command(app, "disable", rich_help_panel=panels.LIVE)(disable)
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
    selection = ApiSelection(apis=apis or (), modules=module or (), tags=tag or (), all_=all_)
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
    selection = ApiSelection(apis=apis or (), modules=module or (), tags=tag or (), all_=all_)
    await _switch(session, selection, "disable", hold=hold, reason=reason, ttl=ttl, yes=yes)
    if not reason:
        session.screen.note("no reason given: --reason TEXT tells others why")


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
    ttl_s, per_s = parse_seconds(ttl, "--ttl"), parse_rate(rate, "--rate")
    async with session.store(session.settings(), changes=True) as store:
        await store.gates.check_owner(selection.apis)
        confirmed: list[str] | None = None
        for _ in range(ATTEMPTS):
            changes = await store.gates.changes()
            _, revision = await live_revision(store)
            left = await store.gates.held_of_deleted() if verb == "enable" else ()
            wanted = selection.resolve(revision, left)
            if selection.all_ and not yes and wanted != confirmed:
                confirm_all("hold" if hold else verb, wanted)
                confirmed = wanted
            changed = await store.gates.set_enabled(
                wanted,
                verb == "enable",
                author=author(),
                reason=reason,
                ttl_s=ttl_s,
                hold=hold,
                rate=per_s,
                by_override=selection.by_criteria,
                expected=changes if selection.by_criteria else None,
            )
            if changed is not None:
                break
        else:
            raise Refused(
                f"the live revision or a switch changed {ATTEMPTS} times meanwhile: nothing was switched",
                code=MOVED,
                hint="repeat the command",
            )
        gates = await store.gates.states()
    session.screen.data(
        verb,
        {
            "apis": wanted,
            "enabled": verb == "enable",
            "held": hold,
            "reason": reason,
            "ttlS": ttl_s,
            "releasePerS": per_s,
            "changes": [
                {
                    "api": each.api,
                    "before": each.before,
                    "after": each.after,
                    "heldBefore": each.held_before,
                    "held": each.held,
                }
                for each in changed
            ],
        },
        [_change_text(each, ttl, rate) for each in changed],
    )
    starting = sum(
        gates[each.api].queued for each in changed if each.after == "disabled" and each.api in gates
    )
    if starting:
        session.screen.note(
            f"{counted(starting, 'queued run')} will still start: "
            "iogate disable --hold keeps new runs from starting"
        )


def _change_text(change: Switched, ttl: str | None, rate: str | None) -> str:
    text = f"{change.after} {change.api}" + (f" for {ttl}" if ttl else "")
    if change.after == "disabled, held":
        text = f"disabled {change.api}" + (f" for {ttl}" if ttl else "") + f": {_runs(change.held)} on hold"
    elif change.after == "held":
        text += f": {_runs(change.held)} on hold"
    elif change.held_before:
        text = text.replace("deleted", "released", 1)
        text += f": releases {_runs(change.held_before)}" + (f", {rate}" if rate and change.held else "")
    return text + (" (it was already)" if change.before == change.after else "")


def _runs(number: int) -> str:
    return counted(number, "run")


@command(overrides, "list")
async def list_(session: Session) -> None:
    """List the APIs with an override."""
    async with session.store(session.settings()) as store:
        found = await store.gates.overrides()
    rows = [{"api": api, **override_json(override)} for api, override in sorted(found.items())]
    session.screen.data(
        "override.list",
        {"overrides": rows},
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
                    for row in rows
                ],
            )
        ],
    )


@command(overrides, "clear")
async def clear(
    session: Session,
    apis: Annotated[
        list[str] | None, typer.Argument(metavar="MODULE/METHOD", autocompletion=completion.apis)
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Clear all overrides.")] = False,
    rate: RateOption = None,
) -> None:
    """Clear overrides, so that the state in git applies again. A hold ends with its override: its runs start.

    Raises:
        Misused: neither APIs nor `--all` are given, or both.
        NotFound: there is no such API.
    """
    if bool(apis) == all_:
        raise Misused("give either the ids of APIs, or --all")
    per_s = parse_rate(rate, "--rate")
    async with session.store(session.settings(), changes=True) as store:
        found = await store.gates.overrides()
        if apis:
            await store.gates.check_owner(apis)
            _, revision = await live_revision(store)
            for api in apis:
                find_api(revision, api)
        cleared = sorted(found) if all_ else [api for api in dict.fromkeys(apis or ()) if api in found]
        await store.gates.clear_overrides(cleared, rate=per_s)
    session.screen.data("override.clear", {"cleared": cleared}, [f"cleared {api}" for api in cleared])
    if not cleared:
        session.screen.note("no overrides to clear")
