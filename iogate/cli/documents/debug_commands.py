"""`iogate debug` and `iogate test`: replay of debug cases against the running gateway, or offline.

Both use the comparison of `iogate.testing`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from iogate.cli import completion, panels
from iogate.cli.apis.gateway_call import live_gateway_url, sign_jwt
from iogate.cli.documents import case_report, case_selection
from iogate.cli.documents.bundle import compile_or_fail
from iogate.cli.documents.case_report import Result
from iogate.cli.documents.case_selection import ApiCase, Case
from iogate.cli.options import HeaderOption, JwtKeyOption, parse_pair, parse_seconds
from iogate.cli.render import Output, prints_to_stderr, write_stderr
from iogate.cli.session import Session, command
from iogate.errors import IogateError, Misused, Unreachable
from iogate.settings.urls import is_loopback, own_certificate

if TYPE_CHECKING:
    from iogate.settings import Settings
    from iogate.testing import Harness, Outcome


def register(app: typer.Typer) -> None:
    command(app, "debug", formats=(Output.JUNIT,), over_http=True, rich_help_panel=panels.DEBUG_CASES)(debug)
    command(app, "test", formats=(Output.JUNIT,), rich_help_panel=panels.DEBUG_CASES)(replay_offline)


async def debug(
    session: Session,
    api: Annotated[
        str, typer.Argument(metavar="MODULE/METHOD", help="Id of the API.", autocompletion=completion.apis)
    ],
    name: Annotated[
        list[str] | None, typer.Option("--name", help="Only cases with this name; may be repeated.")
    ] = None,
    all_: Annotated[
        bool, typer.Option("--all", help="Run all cases on a gateway that is not local.")
    ] = False,
    header: HeaderOption = None,
    jwt_key: JwtKeyOption = None,
    limit: Annotated[
        str, typer.Option("--timeout", metavar="TIME", help="Longest time to wait for a run.")
    ] = "5m",
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave a run that has not ended then, instead of cancelling it.")
    ] = False,
    reason: Annotated[
        str, typer.Option(help="Reason, recorded in the activity; only over HTTP, where it is required.")
    ] = "",
) -> None:
    """Replay an API's debug cases against the running gateway, and compare each result with its `expect`.

    Cases with `events` are skipped, unless `--name` chooses them. Over HTTP, the server replays the cases
    that the live revision keeps.

    Raises:
        Misused, InvalidFiles, NotFound: the options, files or cases are wrong.
        Refused, Unreachable: the API is disabled, or the gateway does not respond.
        ExpectationFailed: a case failed.
    """
    from iogate.cli.documents.gateway_replay import NOT_SENT, GatewayReplay
    from iogate.compiler.schedules import PREFIX
    from iogate.effects.gateway_client import GatewayClient

    if api.startswith(PREFIX):
        raise Misused(
            f"{api} is a schedule and takes no requests",
            hint=f'replay its debug cases with "iogate test {api}"',
        )
    settings = session.settings()
    timeout_s = parse_seconds(limit, "--timeout") or 0
    if (server := session.server(settings)) is not None:
        if header or jwt_key is not None:
            raise Misused(
                f"{server.chosen_by} chooses {server.url}, which replays cases for an operator: --header and "
                "--jwt-key are for calls with the credentials of the API",
                hint="leave them out, or use `iogate api call`",
            )
        check_local(server.url, all_=all_ or bool(name))
        results = await _replay_by_operator(
            session, settings, api, name or (), reason, (timeout_s, limit), keep=keep
        )
        case_report.report_results(session.screen, "debug", results)
        return
    url = await _gateway(session, settings)
    check_local(url, all_=all_ or bool(name))
    # The live revision decides what is executed, not the settings here.
    checked = compile_or_fail(settings, purpose="validate", allow_unsupported=True)
    chosen = case_selection.select_cases(
        case_selection.api_cases(checked),
        case_selection.case_ids(checked, schedules=False),
        [api],
        name or (),
    )
    given = dict(parse_pair(each, "--header", ":") for each in header or ())
    if jwt_key is not None:
        given |= sign_jwt(chosen[0].api, jwt_key)
    programs = checked.bundle.programs if checked.bundle is not None else {}
    write_stderr(f"gateway: {url}", style="bright_black")
    async with GatewayClient(url, certificate=own_certificate(settings)) as client:
        live = GatewayReplay(
            session.screen, client, url, given=given, timeout=(timeout_s, limit), keep=keep, programs=programs
        )
        results = [
            Result(case=case, skipped=NOT_SENT)
            if case.stored.events and not name
            else await live.replay(case)
            for case in chosen
        ]
    case_report.report_results(session.screen, "debug", results)


def check_local(url: str, *, all_: bool) -> None:
    """Check for `iogate debug` that a gateway is local or cases are chosen. Raises Misused if not."""
    if not all_ and not is_loopback(urlsplit(url).hostname or ""):
        raise Misused(
            f"{url} is not on this machine: its runs may have real effects",
            hint="select cases with --name, or add --all",
        )


async def _replay_by_operator(
    session: Session,
    settings: Settings,
    api: str,
    names: Sequence[str],
    reason: str,
    limit: tuple[float, str],
    *,
    keep: bool,
) -> list[Result]:
    """Replay for `iogate debug`, as an operator, the debug cases that the live revision stores.

    A server replays them. Raises as `debug` does.
    """
    from iogate.cli.documents.operator_replay import OperatorReplay, kept_cases

    async with session.system(settings, changes=True) as system:
        session.screen.note(
            "the operator calls, with the cases that the live revision keeps", style="bright_black"
        )
        replay = OperatorReplay(session.screen, system, reason=reason, limit=limit, keep=keep)
        return [await replay.replay(case) for case in await kept_cases(system, api, names)]


async def replay_offline(
    session: Session,
    ids: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODULE/METHOD|schedule:NAMESPACE/NAME",
            help="Ids; default: all APIs and schedules.",
            autocompletion=completion.cases,
        ),
    ] = None,
    name: Annotated[
        list[str] | None, typer.Option("--name", help="Only cases with this name; may be repeated.")
    ] = None,
) -> None:
    """Replay debug cases offline with their mocks, without gateway and store; for CI.

    Raises ExpectationFailed if a case failed.
    """
    from iogate.functions import load
    from iogate.testing import Harness

    settings = session.settings()
    checked = compile_or_fail(settings, purpose="apply")
    assert checked.bundle is not None, "compile_or_fail() raises without a bundle"
    root = Path.cwd()
    with prints_to_stderr():
        harness = Harness(
            bundle=checked.bundle, settings=settings, functions=load(settings.functions, root), root=root
        )
        every: list[Case] = [*case_selection.api_cases(checked), *case_selection.schedule_cases(checked)]
        chosen = case_selection.select_cases(
            every, case_selection.case_ids(checked, schedules=True), ids or (), name or ()
        )
        results = [await _replay_timed(harness, case) for case in chosen]
    case_report.report_results(session.screen, "test", results)


async def _gateway(session: Session, settings: Settings) -> str:
    """Return the URL for `iogate debug`: one that a live gateway announced, if its store can be reached."""
    from iogate.settings.urls import gateway_url

    try:
        async with session.store(settings) as store:
            return await live_gateway_url(store, settings)
    except Unreachable:
        return gateway_url(settings)


async def _replay_timed(harness: Harness, case: Case) -> Result:
    started = time.monotonic()
    try:
        result = await _replay(harness, case)
    except IogateError as error:
        hint = f"; {error.hint}" if error.hint else ""
        result = Result(case=case, failures=(error.message + hint,))
    return replace(result, took_s=time.monotonic() - started)


async def _replay(harness: Harness, case: Case) -> Result:
    from iogate.testing import replay, replay_schedule

    if isinstance(case, ApiCase):
        replayed = await replay(harness, case.api.id, case.stored)
        return Result(
            case=case,
            http=replayed.http,
            message=replayed.message,
            run=_outcome_json(replayed.outcome),
            failures=replayed.failures,
        )
    ticked = await replay_schedule(harness, case.workflow, case.stored)
    return Result(case=case, run=_outcome_json(ticked.outcome), failures=ticked.failures)


def _outcome_json(outcome: Outcome | None) -> Mapping[str, Any]:
    if outcome is None:
        return {}
    return {"status": outcome.status, "output": outcome.output, "error": outcome.error}
