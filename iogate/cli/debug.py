"""`iogate debug` and `test`: an API's debug cases, against the running gateway or offline.

Both judge by the same rules, which `iogate.testing` holds; here they are found, sent and shown.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from iogate.cli import completion
from iogate.cli.apis import did_you_mean, gateway_url, is_loopback, live_gateway_url, with_credentials
from iogate.cli.checking import Checked, compiled, counted
from iogate.cli.options import HeaderOption, pair, seconds
from iogate.cli.render import Screen, Table, prints_to_stderr, result_stream, say
from iogate.cli.session import Session, command
from iogate.cli.watching import ENDED, Watching
from iogate.errors import ExpectationFailed, IogateError, Misused, NotFound, Refused, Unreachable

if TYPE_CHECKING:
    from iogate.compiler.revision import Api
    from iogate.documents.api import DebugCase
    from iogate.effects.client import Answer, Client
    from iogate.settings import Settings
    from iogate.testing import Outcome

PANEL = "Debug cases"
GLANCE_S = 0.3
LOOK_S = 20.0
SHOWN = 60
"""Characters of a value in the table on a terminal."""


def register(app: typer.Typer) -> None:
    command(app, "debug", rich_help_panel=PANEL)(debug)
    command(app, "test", rich_help_panel=PANEL)(offline)


@dataclass(frozen=True, kw_only=True)
class Case:
    api: Api
    stored: DebugCase

    @property
    def label(self) -> str:
        return f"{self.api.id}: {self.stored.name}"


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a case came to."""

    case: Case
    http: int | None = None
    message: str = ""
    run: Mapping[str, Any] = field(default_factory=dict)
    """Members `uid`, `status`, `output`, `error`, `tasks`, as far as there was a run."""
    failures: tuple[str, ...] = ()
    took_s: float = 0.0

    def to_json(self) -> dict[str, Any]:
        expect = self.case.stored.expect
        return {
            "api": self.case.api.id,
            "name": self.case.stored.name,
            "passed": not self.failures,
            "http": self.http,
            "message": self.message or None,
            "uid": self.run.get("uid"),
            "status": self.run.get("status"),
            "output": self.run.get("output"),
            "error": self.run.get("error"),
            "expect": expect.model_dump(exclude_unset=True) if expect is not None else {},
            "failures": list(self.failures),
            "tookS": round(self.took_s, 3),
        }


async def debug(
    session: Session,
    api: Annotated[
        str, typer.Argument(metavar="MODULE/METHOD", help="Id of the API.", autocompletion=completion.apis)
    ],
    name: Annotated[list[str] | None, typer.Option("--name", help="Only the case of this name.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="All cases, on a gateway that is not local.")] = False,
    header: HeaderOption = None,
    limit: Annotated[str, typer.Option("--timeout", metavar="TIME", help="How long a run may take.")] = "5m",
) -> None:
    """Replay an API's debug cases against the running gateway, and compare each result with its `expect`."""
    from iogate.effects.client import Client

    settings = session.settings()
    timeout_s = seconds(limit, "--timeout") or 0
    url = await _gateway(session, settings)
    if not is_loopback(urlsplit(url).hostname or "") and not name and not all_:
        raise Misused(
            f"{url} is not on this machine: its runs may have real effects",
            hint="choose cases with --name, or say --all",
        )
    # The live revision decides what is executed, not the settings here.
    checked = compiled(settings, purpose="validate", allow_unsupported=True)
    cases = _select(checked, [api], name)
    given = dict(pair(each, "--header", ":") for each in header or ())
    say(f"gateway: {url}", style="bright_black")
    async with Client(url) as client:
        results = [await _live(session.screen, client, case, given, timeout_s) for case in cases]
    _report(session.screen, "debug", results)


async def offline(
    session: Session,
    apis: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODULE/METHOD]...", help="Without: all APIs.", autocompletion=completion.apis
        ),
    ] = None,
    name: Annotated[list[str] | None, typer.Option("--name", help="Only the case of this name.")] = None,
) -> None:
    """Replay debug cases offline, with their mocks: no gateway, no store, no enabling. For CI."""
    from iogate.functions import load
    from iogate.testing import Harness

    settings = session.settings()
    checked = compiled(settings, purpose="apply")
    assert checked.bundle is not None, "compiled() raises where there is none"
    root = Path.cwd()
    with prints_to_stderr():
        harness = Harness(
            bundle=checked.bundle, settings=settings, functions=load(settings.functions, root), root=root
        )
        results = [await _offline(harness, case) for case in _select(checked, apis or [], name)]
    _report(session.screen, "test", results)


async def _gateway(session: Session, settings: Settings) -> str:
    """Where to send cases: what a live gateway announced, if its store can be seen from here."""
    try:
        async with session.store(settings) as store:
            return await live_gateway_url(store, settings)
    except Unreachable:
        return gateway_url(settings)


def _select(checked: Checked, apis: list[str], names: list[str] | None) -> list[Case]:
    """The cases that are meant, in the order of the files."""
    assert checked.bundle is not None, "compiled() raises where there is none"
    known = checked.bundle.revision.apis
    for api in apis:
        if api not in known:
            raise NotFound(
                f"no API {api} in the files{did_you_mean(api, known)}",
                hint=f"there are {', '.join(sorted(known)) or 'none'}",
            )
    cases = [
        Case(api=known[f"{document.model.module}/{method}"], stored=stored)
        for document in checked.documents.apis
        for method, definition in document.model.methods.items()
        for stored in definition.debug or ()
        if not apis or f"{document.model.module}/{method}" in apis
    ]
    chosen = [case for case in cases if not names or case.stored.name in names]
    for name in names or ():
        if all(case.stored.name != name for case in cases):
            there = ", ".join(case.stored.name for case in cases) or "none"
            raise NotFound(f"no debug case is called {name!r}", hint=f"there are: {there}")
    if not cases:
        where = ", ".join(apis) or "the files"
        raise NotFound(f"{where}: no debug cases", hint="write one under `debug` of the method")
    return chosen


async def _offline(harness: Any, case: Case) -> Result:
    from iogate.testing import replay

    started = time.monotonic()
    try:
        replayed = await replay(harness, case.api.id, case.stored)
    except IogateError as error:
        hint = f"; {error.hint}" if error.hint else ""
        return Result(case=case, failures=(error.message + hint,), took_s=time.monotonic() - started)
    return Result(
        case=case,
        http=replayed.http,
        message=replayed.message,
        run=_of_outcome(replayed.outcome),
        failures=replayed.failures,
        took_s=time.monotonic() - started,
    )


def _of_outcome(outcome: Outcome | None) -> Mapping[str, Any]:
    if outcome is None:
        return {}
    return {"status": outcome.status, "output": outcome.output, "error": outcome.error}


async def _live(
    screen: Screen, client: Client, case: Case, given: Mapping[str, str], timeout_s: float
) -> Result:
    """Send one case and follow its run."""
    from iogate.testing import Outcome, failures, request_of

    started = time.monotonic()
    sent = request_of(case.stored, case.api, root=Path.cwd())
    headers = with_credentials(case.api, {**given, **sent.headers})
    query = f"?{sent.query}" if sent.query else ""
    answer = await client.request(
        sent.verb, f"/v1/api/{case.api.id}/async{query}", headers=headers, body=sent.body
    )
    response = _response(answer)
    error = response.get("error") or {}
    wanted = case.stored.expect.http if case.stored.expect is not None else None
    if error.get("code") == "requestError.notEnabled" and wanted != answer.status:
        raise Refused(
            f"{case.api.id} is disabled: debug calls what is live",
            hint=f'"iogate test {case.api.id}" needs no enabling; "iogate enable {case.api.id}" opens it',
        )
    run: Mapping[str, Any] = {}
    outcome: Outcome | None = None
    if answer.status == 202:
        location = answer.headers.get("Location") or f"/v1/runs/{response['uid']}"
        run = await _follow(screen, client, location, headers, case, timeout_s)
        outcome = Outcome(
            uid=run["uid"],
            status=run["status"],
            output=run.get("output"),
            error=run.get("error"),
            notes=(),
            calls=(),
            waiting_for=None,
            elapsed_s=time.monotonic() - started,
        )
    return Result(
        case=case,
        http=answer.status,
        message=str(error.get("message", "")),
        run=run,
        failures=_apart(
            case.stored, failures(case.stored, answer.status, str(error.get("message", "")), outcome)
        ),
        took_s=time.monotonic() - started,
    )


def _apart(case: DebugCase, found: Sequence[str]) -> tuple[str, ...]:
    """What differs, and what else does: stand-ins are for offline replay only."""
    unsent = [name for name in ("mocks", "events") if getattr(case, name)]
    if not found or not unsent:
        return tuple(found)
    return (*found, f'not used here: its {" and its ".join(unsent)}, which are for "iogate test" only')


async def _follow(
    screen: Screen,
    client: Client,
    location: str,
    headers: Mapping[str, str],
    case: Case,
    timeout_s: float,
) -> Mapping[str, Any]:
    """The run at its end or at the time-out, its tasks shown meanwhile."""
    deadline = time.monotonic() + timeout_s
    known = {name: value for name, value in headers.items() if name in {"token", "user", "password"}}
    with Watching(screen) as watching:
        while True:
            left_s = deadline - time.monotonic()
            wait_s = 0 if watching.active else max(0, int(min(left_s, LOOK_S)))
            mark = "&" if "?" in location else "?"
            answer = await client.request("GET", f"{location}{mark}wait={wait_s}", headers=known)
            run = _response(answer)
            if "status" not in run:
                raise Unreachable(f"{case.label}: the run cannot be read: {run.get('error')}")
            watching.show(run, f"{case.label}  ")
            if run["status"] in ENDED or left_s <= 0:
                return run
            if watching.active or wait_s == 0:
                await asyncio.sleep(GLANCE_S)


def _response(answer: Answer) -> dict[str, Any]:
    try:
        found = answer.json()["response"]
    except (ValueError, KeyError, TypeError):
        found = None
    if not isinstance(found, dict):
        raise Unreachable(f"status {answer.status} and no answer of iogate's: is this the gateway?")
    return found


def _report(screen: Screen, schema: str, results: list[Result]) -> None:
    """Each result beside what was expected; raises where one differs."""
    failed = [each for each in results if each.failures]
    table = Table(
        columns=("case", "verdict", "expect", "got", "took"),
        rows=[
            (
                each.case.label,
                "failed" if each.failures else "passed",
                _expected(each.case.stored),
                _got(each),
                f"{each.took_s:.2f}s",
            )
            for each in results
        ],
    )
    told = [f"\n{each.case.label}\n" + "\n".join(f"  {line}" for line in each.failures) for each in failed]
    screen.data(
        schema,
        {
            "passed": len(results) - len(failed),
            "failed": len(failed),
            "cases": [each.to_json() for each in results],
        },
        [table, *told],
    )
    if failed:
        raise ExpectationFailed(f"{counted(len(failed), 'case')} of {len(results)} failed")
    screen.note(f"{counted(len(results), 'case')} passed", style="green")


def _expected(case: DebugCase) -> str:
    expect = case.expect
    if expect is None:
        return "202 completed"
    parts = [str(expect.http or 202), expect.status or ("completed" if (expect.http or 202) == 202 else "")]
    return _joined([*parts, _short(expect.output) if expect.has_output else ""])


def _got(result: Result) -> str:
    if result.http is None:
        return "-"
    if not result.run:
        return _joined([str(result.http), result.message])
    run = result.run
    value = run.get("output") if run["status"] == "completed" else (run.get("error") or {}).get("detail")
    return _joined([str(result.http), run["status"], _short(value) if value is not None else ""])


def _joined(parts: Iterable[str]) -> str:
    return " ".join(part for part in parts if part)


def _short(value: Any) -> str:
    """Return the value as JSON, cut for a terminal; a pipe gets all of it."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN or not result_stream().isatty() else text[: SHOWN - 1] + "…"
