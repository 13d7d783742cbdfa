"""`iogate apply`, `enable`, `disable`, `override`: changes of the live revision and its APIs."""

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
    from iogate.reconcile.diff import Changes
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
    command(app, "apply", rich_help_panel=PANEL)(apply)
    command(app, "enable", rich_help_panel=PANEL)(enable)
    command(app, "disable", rich_help_panel=PANEL)(disable)
    app.add_typer(overrides, name="override", rich_help_panel=PANEL)


async def apply(
    session: Session,
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="Allow an apply that deletes every API.")
    ] = False,
    wait: Annotated[
        str, typer.Option("--wait", metavar="TIME", help="Longest time to wait for the gateways.")
    ] = "5s",
    update_lock: Annotated[
        bool,
        typer.Option("--update-lock", help="Accept fetched documents that differ from iogate.lock."),
    ] = False,
    locked: Annotated[
        bool,
        typer.Option("--locked", help="Refuse fetched documents without an entry in iogate.lock."),
    ] = False,
) -> None:
    """Publish apis.d and workflows.d as the live revision; running gateways load it at once.

    Raises:
        Misused, InvalidFiles: options or files are wrong.
        LateGateways: the revision is live, but not every gateway has loaded it in time.
    """
    from iogate.cli.documents.bundle import compile_or_fail, save_lock
    from iogate.cli.revisions.publication import publish, summarize
    from iogate.reconcile.apply import LateGateways

    settings = session.settings()
    wait_s = parse_seconds(wait, "--wait")
    if update_lock and locked:
        raise Misused("--update-lock and --locked cannot be combined")
    checked = compile_or_fail(
        settings, purpose="apply", mode="update" if update_lock else "frozen" if locked else "add"
    )
    if not locked:
        save_lock(session.screen, checked)
    async with session.store(settings, changes=True, publishes=True) as store:
        late: LateGateways | None = None
        try:
            applied = await publish(store, checked, allow_empty=allow_empty, wait_s=wait_s or 0)
        except LateGateways as error:
            late, applied = error, error.applied
        gates = await store.gates.states()
    part = applied.difference.apis
    marks = [*_change_marks(part), *_change_marks(applied.difference.schedules, "schedule of ")]
    session.screen.data(
        "apply", applied.to_json(), [summarize(applied), *(f"  {mark} {api}" for mark, api in marks)]
    )
    closed = [api for api in part.added if api in gates and not gates[api].enabled]
    if closed:
        session.screen.note(f"not enabled yet: iogate enable {' '.join(closed)}")
    if late is not None:
        raise late


def _change_marks(part: Changes, of: str = "") -> list[tuple[str, str]]:
    return [
        *(("+", of + each) for each in part.added),
        *(("~", of + change.id) for change in part.changed),
        *(("-", of + each) for each in part.removed),
    ]


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
