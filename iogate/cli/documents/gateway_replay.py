"""Replay of debug cases against a running gateway, at the URL that callers use.

Called by `debug_commands`. Invariants: a run that a case has started does not outlive its replay, unless the
user asks for that: one that waits for a person would hold its place and its concurrency key; a run of an
earlier call is never cancelled.
"""

from __future__ import annotations

import asyncio
import json
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iogate import json_pointer
from iogate.cli.apis.examples import form_options
from iogate.cli.apis.gateway_call import add_credentials, local_auth
from iogate.cli.apis.signing import Outgoing
from iogate.cli.documents.case_report import Result
from iogate.cli.processes.banner import credential_options
from iogate.cli.runs.run_display import LiveDisplay, waiting_text
from iogate.errors import IogateError, Refused, Unreachable
from iogate.store.keys import ENDED
from iogate.url_paths import api_path

if TYPE_CHECKING:
    from iogate.cli.documents.case_selection import ApiCase
    from iogate.cli.render import Screen
    from iogate.compiler.revision import Api
    from iogate.documents.api import DebugCase
    from iogate.effects.gateway_client import GatewayClient, Response
    from iogate.testing import Outcome
    from iogate.testing.case_replay import Sent

DISPLAY_POLL_S = 0.3
LONG_POLL_S = 20.0
CANCEL_S = 5.0
MAX_BODY = 1000
"""Most characters of a body in a command line."""
NOT_SENT = "its events are sent by iogate test only; --name starts it all the same"
"""Reason to skip a case."""


class GatewayReplay:
    """Replays of cases against one gateway."""

    def __init__(
        self,
        screen: Screen,
        client: GatewayClient,
        url: str,
        *,
        given: Mapping[str, str],
        timeout: tuple[float, str],
        keep: bool,
        programs: Mapping[str, bytes],
    ) -> None:
        """Create replays by calls of one gateway; `given` are headers of the user.

        `timeout`: seconds, and the text that the user wrote. `programs`: programs of the local files, by
        digest.
        """
        self._screen, self._client, self._url = screen, client, url
        self._given, self._keep, self._programs = given, keep, programs
        self._timeout_s, self._timeout = timeout

    async def replay(self, case: ApiCase) -> Result:
        """Send one debug case to the gateway as a caller, wait for its run, and compare the result.

        Raises Refused if the API is disabled, and Unreachable if the gateway does not respond.
        """
        from iogate.testing import failures, request_of

        started = time.monotonic()
        sent = request_of(case.stored, case.api, root=Path.cwd())
        path = call_path(case.api) + (f"?{sent.query}" if sent.query else "")
        self._screen.note(call_line(case, sent, self._url + path), style="bright_black")
        outgoing = Outgoing(
            verb=sent.verb,
            path=path,
            body=sent.body or b"",
            url=self._url,
            headers={**self._given, **sent.headers},
        )
        headers = add_credentials(case.api, outgoing)
        if not any(name.lower() == "prefer" for name in headers):
            headers["Prefer"] = "link=cancel, wait=0"  # as the run is followed by its link
        response = await self._client.request(sent.verb, path, headers=headers, body=sent.body)
        content = content_of(response)
        if "uid" in content:
            return await self._follow(case, response, str(content["uid"]), headers, started)
        error = content.get("error") or {}
        wanted = case.stored.expect.http if case.stored.expect is not None else None
        if error.get("code") == "requestError.notEnabled" and wanted != response.status:
            raise Refused(
                f"{case.api.id} is disabled on the gateway",
                hint=f'use "iogate enable {case.api.id}", or replay it offline: "iogate test {case.api.id}"',
            )
        message = str(error.get("message", ""))
        found = failures(case.stored, response.status, message, None)
        return Result(
            case=case,
            http=response.status,
            message=message,
            failures=_with_note_on_mocks(case.stored, found),
            took_s=time.monotonic() - started,
        )

    async def _follow(
        self, case: ApiCase, response: Response, uid: str, headers: Mapping[str, str], started: float
    ) -> Result:
        """Return the result of a replayed case that the gateway has accepted."""
        from iogate.testing import failures

        location = response.headers.get("Location") or f"/v1/runs/{uid}"
        replayed = "Idempotent-Replayed" in response.headers
        coalesced = "X-Iogate-Coalesced" in response.headers
        if replayed:
            self._screen.note(f"{case.label}: the run {uid} of an earlier call with its idempotency key")
        elif coalesced:
            self._screen.note(f"{case.label}: the run {uid}, which stands for earlier calls of its key, too")
        own = not (replayed or coalesced)
        credentials = {"token", "user", "password", "authorization"}
        known = {name: value for name, value in headers.items() if name.lower() in credentials}
        run: Mapping[str, Any] = {"uid": uid, "status": "pending"}
        try:
            run = await self._wait_for_end(location, known, case)
        except asyncio.CancelledError:
            if own and not self._keep:
                await self._cancel(location, known, uid)
            raise
        took_s = time.monotonic() - started
        if run["status"] in ENDED:
            found = failures(case.stored, 202, "", _outcome(run, took_s))
        else:
            waits = self._waits(run, case)
            found = [
                f"run {uid} is still {run['status']} after {self._timeout}"
                + (f": it {waits}" if waits else "")
            ]
            if own and not self._keep:
                found.append(await self._cancel(location, known, uid))
            else:
                found.append(f"cancel it with: iogate runs cancel {uid}")
        return Result(
            case=case,
            http=202,
            run=run,
            failures=_with_note_on_mocks(case.stored, found),
            took_s=took_s,
        )

    async def _wait_for_end(
        self, location: str, headers: Mapping[str, str], case: ApiCase
    ) -> Mapping[str, Any]:
        """Wait at the gateway until a replayed run ends or the timeout passes, and return its last state.

        A live display shows its tasks meanwhile.
        """
        deadline = time.monotonic() + self._timeout_s
        noted = False
        with LiveDisplay(self._screen) as watching:
            while True:
                left_s = deadline - time.monotonic()
                # A run that begins to wait for a person is told soon, and then left alone for longer.
                most_s = LONG_POLL_S if noted else 1.0
                wait_s = 0 if watching.active else max(0, int(min(left_s, most_s)))
                mark = "&" if "?" in location else "?"
                response = await self._client.request(
                    "GET", f"{location}{mark}wait={wait_s}", headers=headers
                )
                run = content_of(response)
                uid = run.get("uid")
                if "status" not in run:
                    raise Unreachable(f"{case.label}: the run cannot be read: {run.get('error')}")
                watching.show(run, f"{case.label}  ")
                if run["status"] in ENDED or left_s <= 0:
                    return run
                if not noted and not watching.active and waits_for_event(run):
                    most = f"debug waits {self._timeout} at most"
                    self._screen.note(f"{case.label}: run {uid} {self._waits(run, case)}; {most}")
                    noted = True
                if watching.active or wait_s == 0:
                    await asyncio.sleep(DISPLAY_POLL_S)

    def _waits(self, run: Mapping[str, Any], case: ApiCase) -> str:
        """Describe the task that a replayed run waits in, with event types from the local files."""
        text = waiting_text(run)
        types = event_types(self._programs.get(case.api.program), (run.get("waitingFor") or {}).get("task"))
        return text.replace("an event", f"an event {' or '.join(types)}", 1) if types else text

    async def _cancel(self, location: str, headers: Mapping[str, str], uid: str) -> str:
        """Cancel a replayed run at the gateway, by its link; return the outcome, for the report."""
        path, question, query = location.partition("?")
        try:
            response = await self._client.request(
                "POST", f"{path}/cancel{question}{query}", headers=headers, timeout_s=CANCEL_S
            )
        except IogateError as error:
            return f"it was not cancelled: {error.message}; use: iogate runs cancel {uid}"
        if response.status not in (202, 409):
            status = response.status
            return f"it was not cancelled, but refused with {status}; use: iogate runs cancel {uid}"
        return "debug has cancelled it; --keep leaves it"


def event_types(program: bytes | None, pointer: str | None) -> list[str]:
    """Return the types of events that a replayed run awaits at a pointer; empty if they are not known."""
    try:
        task = json_pointer.find(json.loads(program or b"{}"), json_pointer.parse(pointer or ""))
        wanted = task["listen"]["to"]
        filters = wanted.get("any") or wanted.get("all") or [wanted["one"]]
        return [str(each["with"]["type"]) for each in filters]
    except (LookupError, TypeError, AttributeError):
        return []


def waits_for_event(run: Mapping[str, Any]) -> bool:
    """Tell whether a replayed run waits for something that only the outside can bring."""
    waiting = run.get("waitingFor") or {}
    return bool(run["status"] == "waiting" and waiting.get("kind") == "event")


def call_path(api: Api) -> str:
    """Return the path to which a live replay sends a call: the API's own one, if it has one."""
    return api_path(api.id) if api.own_path is None else api.own_path[0]


def call_line(case: ApiCase, sent: Sent, address: str) -> str:
    """Return a curl command that makes the call of a replay, or its verb and URL if no command can."""
    plain = f"{case.label}: {sent.verb} {address}"
    options = credential_options(local_auth(Path.cwd(), case.api) or case.api.auth)
    if options is None:
        return plain
    stored = case.stored
    given = dict(stored.headers or {})
    labelled = any(name.lower() == "content-type" for name in given)
    data = ""
    if stored.body_file is not None:
        data = f"--data-binary {shlex.quote('@' + stored.body_file)} "
        if not labelled:
            given["Content-Type"] = sent.headers["Content-Type"]
    elif stored.multipart is not None:
        data = form_options(stored.parts)
    elif sent.body is not None:
        text = sent.body.decode("utf-8", "replace")
        if len(text) > MAX_BODY:
            return plain
        data = f"-d {shlex.quote(text)} "
    elif sent.verb != "GET":
        data = f"-X {sent.verb} "
    if data.startswith("-d") and not labelled:
        given["Content-Type"] = "application/json"
    written = "".join(f"-H {shlex.quote(f'{name}: {value}')} " for name, value in given.items())
    return f"{case.label}: curl {options}{written}{data}{shlex.quote(address)}"


def _outcome(run: Mapping[str, Any], took_s: float) -> Outcome:
    from iogate.testing import Outcome

    return Outcome(
        uid=run["uid"],
        status=run["status"],
        output=run.get("output"),
        error=run.get("error"),
        notes=(),
        calls=(),
        waiting_for=None,
        elapsed_s=took_s,
    )


def _with_note_on_mocks(case: DebugCase, found: Sequence[str]) -> tuple[str, ...]:
    """Return the differences, and a note that mocks have no effect on a live gateway."""
    unsent = [name for name in ("mocks", "events") if getattr(case, name)]
    if not found or not unsent:
        return tuple(found)
    return (*found, f'not used here: its {" and its ".join(unsent)}, which are for "iogate test" only')


def content_of(response: Response) -> dict[str, Any]:
    """Return the content of the gateway's response to a replay. Raises Unreachable for another server."""
    try:
        content = response.json()["response"]
    except (ValueError, KeyError, TypeError):
        content = None
    if not isinstance(content, dict):
        raise Unreachable(f"unexpected response with status {response.status}: is this an iogate gateway?")
    return content
