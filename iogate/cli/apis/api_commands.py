"""`iogate api`: list, show and call the live APIs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from iogate import file_references
from iogate.cli import completion, last_run, panels
from iogate.cli.apis import contract
from iogate.cli.apis.call_form import FilesOption
from iogate.cli.apis.gate_display import state_text, with_overrides
from iogate.cli.apis.gateway_call import accepted_uid, send_call, sign_jwt
from iogate.cli.options import HeaderOption, InputOption, JwtKeyOption, parse_pair, parse_seconds, read_input
from iogate.cli.render import Table
from iogate.cli.runs.run_display import run_details
from iogate.cli.runs.run_outcome import raise_for_outcome, wait_for_end
from iogate.cli.session import Session, command
from iogate.errors import Misused

if TYPE_CHECKING:
    from iogate.compiler.revision import Api

group = typer.Typer(help="List, show and call the live APIs.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="api", rich_help_panel=panels.LIVE)


ApiArgument = Annotated[
    str, typer.Argument(metavar="MODULE/METHOD", help="Id of the API.", autocompletion=completion.apis)
]


@command(group, "list", over_http=True, fields_of="api.list")
async def list_(session: Session) -> None:
    """List the live APIs with their verbs, authentication, state and runs."""
    async with session.system() as system:
        value = await system.apis.list()
    rows = value["apis"]
    with_paths = any(row["ownPath"] for row in rows)
    columns, cells = with_overrides(
        ("api", "verbs", "auth", "state", "workflow", *(["path"] if with_paths else []), "queued", "running"),
        [
            (
                row["api"],
                ", ".join(row["verbs"]),
                row["auth"],
                state_text(row),
                row["workflow"],
                *([row["ownPath"] or ""] if with_paths else []),
                row["queued"],
                row["running"],
            )
            for row in rows
        ],
        [row["override"] for row in rows],
    )
    session.screen.data(
        "api.list",
        value,
        [Table(columns=columns, rows=cells, numbers=frozenset({"queued", "running"}))],
    )


@command(group, "show", over_http=True, fields_of="api.show")
async def show(session: Session, api: ApiArgument) -> None:
    """Show all details of one live API."""
    async with session.system() as system:
        value = await system.apis.show(api)
    session.screen.data("api.show", value, contract.lines(value))


@command(group, "call", over_http=True)
async def call(
    session: Session,
    api: ApiArgument,
    input_: InputOption = None,
    header: HeaderOption = None,
    jwt_key: JwtKeyOption = None,
    file: FilesOption = None,
    get: Annotated[
        bool, typer.Option("--get", help="Call with GET, with the input as query string.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait until the run ends.")] = False,
    limit: Annotated[
        str | None,
        typer.Option("--timeout", metavar="TIME", help="Stop waiting after this time, with exit 124."),
    ] = None,
    from_run: Annotated[
        str | None,
        typer.Option(
            "--from-run",
            metavar="UID",
            help="Use the input of an earlier run.",
            autocompletion=completion.uids,
            callback=last_run.resolve,
        ),
    ] = None,
) -> None:
    """Call a live API through the gateway, with the credentials in its document.

    Raises:
        Misused: options contradict each other or cannot be parsed.
        NotFound: there is no such API or run.
        Refused, Unreachable: the gateway rejects the call or cannot be reached.
        RunFailed, StillRunning: the run that was waited for faulted, or has not ended.
    """
    if from_run is not None and input_ is not None:
        raise Misused("--from-run and --input cannot be combined")
    settings = session.settings()
    timeout_s = parse_seconds(limit, "--timeout")
    async with session.system(settings, changes=True) as system:
        known = await system.apis.contract(api)
        if from_run is not None:
            value = repeatable(known, await system.runs.input(from_run))
        else:
            value = read_input(input_)
        given = dict(parse_pair(each, "--header", ":") for each in header or ())
        if jwt_key is not None:
            given |= sign_jwt(known, jwt_key)
        gateway = await system.gateway()
        files = file or ()
        response = await send_call(
            gateway.url,
            known,
            value,
            given,
            get=get,
            files=files,
            certificate=gateway.certificate,
            reads_secrets=gateway.names_secrets,
        )
        uid = accepted_uid(response, api)
        last_run.remember(uid)
        if not wait:
            session.screen.data("api.call", {"uid": uid, "api": api}, [uid])
            return
        run = await wait_for_end(session, system.runs, uid, timeout_s)
    session.screen.data("api.call", run, run_details(run))
    raise_for_outcome(run, limit)


def repeatable(api: Api, value: Any) -> Any:
    """Return the input of a run as the body of a new call by `api call --from-run`.

    Raises Misused if a call cannot give this input: it has files, or is a whole request.
    """
    if api.input_from == "request":
        raise Misused(
            f"--from-run cannot repeat a call of {api.id}: its input is a whole request, not the body of one",
            hint="send the request again, or give its body with --input",
        )
    if next(file_references.references(value), None) is not None:
        raise Misused(
            "--from-run cannot repeat this run: its input has files, which belong to that run alone",
            hint="send the files again, with --file NAME=PATH",
        )
    return value
