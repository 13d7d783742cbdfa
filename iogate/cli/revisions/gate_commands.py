"""`iogate enable`, `disable`, `override`: the switch of each live API, apart from its documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from iogate.cli import completion
from iogate.cli.apis.api_commands import find_api, live_revision
from iogate.cli.options import parse_seconds
from iogate.cli.render import Table
from iogate.cli.session import Session, author, command
from iogate.errors import Misused

if TYPE_CHECKING:
    from iogate.store.revisions.gates import Override

PANEL = "Live"

overrides = typer.Typer(
    help="List and clear overrides that `enable` and `disable` set.", no_args_is_help=True
)

ApisArgument = Annotated[
    list[str],
    typer.Argument(metavar="MODULE/METHOD...", help="Ids of the APIs.", autocompletion=completion.apis),
]
ReasonOption = Annotated[str, typer.Option(help="Reason, shown to other users.")]
TtlOption = Annotated[
    str | None, typer.Option(metavar="TIME", help="End the override after this time: 30m, 2h.")
]


def register(app: typer.Typer) -> None:
    command(app, "enable", rich_help_panel=PANEL)(enable)
    command(app, "disable", rich_help_panel=PANEL)(disable)
    app.add_typer(overrides, name="override", rich_help_panel=PANEL)


async def enable(
    session: Session, apis: ApisArgument, reason: ReasonOption = "", ttl: TtlOption = None
) -> None:
    """Enable APIs, on all gateways before the command returns."""
    await _set_enabled(session, apis, enabled=True, reason=reason, ttl=ttl)


async def disable(
    session: Session, apis: ApisArgument, reason: ReasonOption = "", ttl: TtlOption = None
) -> None:
    """Disable APIs: callers get a 403, accepted runs continue."""
    await _set_enabled(session, apis, enabled=False, reason=reason, ttl=ttl)


async def _set_enabled(
    session: Session, apis: list[str], *, enabled: bool, reason: str, ttl: str | None
) -> None:
    ttl_s = parse_seconds(ttl, "--ttl")
    wanted = list(dict.fromkeys(apis))
    async with session.store(session.settings(), changes=True) as store:
        _, revision = await live_revision(store)
        for api in wanted:
            find_api(revision, api)
        await store.gates.set_enabled(wanted, enabled, author=author(), reason=reason, ttl_s=ttl_s)
    verb = "enabled" if enabled else "disabled"
    session.screen.data(
        "enable" if enabled else "disable",
        {"apis": wanted, "enabled": enabled, "reason": reason, "ttlS": ttl_s},
        [f"{verb} {api}" + (f" for {ttl}" if ttl else "") for api in wanted],
    )


@command(overrides, "list")
async def list_(session: Session) -> None:
    """List the APIs with an override."""
    async with session.store(session.settings()) as store:
        found = await store.gates.overrides()
    rows = [_json(api, override) for api, override in sorted(found.items())]
    session.screen.data(
        "override.list",
        {"overrides": rows},
        [
            Table(
                columns=("api", "state", "author", "reason", "since", "until"),
                rows=[
                    (
                        row["api"],
                        "enabled" if row["enabled"] else "disabled",
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
        list[str] | None, typer.Argument(metavar="[MODULE/METHOD]...", autocompletion=completion.apis)
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Clear all overrides.")] = False,
) -> None:
    """Clear overrides, so that the state in git applies again.

    Raises:
        Misused: neither APIs nor `--all` are given, or both.
        NotFound: there is no such API.
    """
    if bool(apis) == all_:
        raise Misused("give either the ids of APIs, or --all")
    async with session.store(session.settings(), changes=True) as store:
        found = await store.gates.overrides()
        if apis:
            _, revision = await live_revision(store)
            for api in apis:
                find_api(revision, api)
        cleared = sorted(found) if all_ else [api for api in dict.fromkeys(apis or ()) if api in found]
        await store.gates.clear_overrides(cleared)
    session.screen.data("override.clear", {"cleared": cleared}, [f"cleared {api}" for api in cleared])
    if not cleared:
        session.screen.note("no overrides to clear")


def _json(api: str, override: Override) -> dict[str, Any]:
    from iogate.store.runs.presentation import rfc3339

    return {
        "api": api,
        "enabled": override.enabled,
        "author": override.author,
        "reason": override.reason,
        "setAt": rfc3339(override.set_at_ms),
        "expiresAt": rfc3339(override.expires_at_ms),
    }
