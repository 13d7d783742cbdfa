"""`iogate api`: list, show and call the live APIs."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlencode, urlsplit

import typer

from iogate.cli import completion, panels
from iogate.cli.apis import contract, credentials, jwt_tokens, signing
from iogate.cli.apis.gate_display import gate_json, state_text, switch_json, with_overrides
from iogate.cli.apis.signing import Outgoing
from iogate.cli.live_revision import live_revision
from iogate.cli.messages import did_you_mean
from iogate.cli.options import HeaderOption, InputOption, JwtKeyOption, parse_pair, parse_seconds, read_input
from iogate.cli.render import Table
from iogate.cli.runs.run_display import run_details
from iogate.cli.runs.run_outcome import find_run, raise_for_outcome, run_json, wait_for_end
from iogate.cli.session import Session, command
from iogate.errors import Misused, NotFound, Refused, Unreachable
from iogate.url_paths import api_path

if TYPE_CHECKING:
    from iogate.auth.model import Auth, Secret
    from iogate.compiler.revision import Api, Revision
    from iogate.effects.gateway_client import Response
    from iogate.settings import Settings
    from iogate.store.revisions.gate_states import Gate
    from iogate.store.store import Store


group = typer.Typer(help="List, show and call the live APIs.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="api", rich_help_panel=panels.LIVE)


ApiArgument = Annotated[
    str, typer.Argument(metavar="MODULE/METHOD", help="Id of the API.", autocompletion=completion.apis)
]


@command(group, "list")
async def list_(session: Session) -> None:
    """List the live APIs with their verbs, authentication, state and runs."""
    async with session.store(session.settings()) as store:
        number, revision = await live_revision(store)
        gates = await store.gates.states()
    rows = [api_json(api, gates.get(api.id)) for _, api in sorted(revision.apis.items())]
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
        {"revision": number, "apis": rows},
        [Table(columns=columns, rows=cells, numbers=frozenset({"queued", "running"}))],
    )


@command(group, "show")
async def show(session: Session, api: ApiArgument) -> None:
    """Show all details of one live API."""
    async with session.store(session.settings()) as store:
        number, revision = await live_revision(store)
        gates = await store.gates.states()
    known = find_api(revision, api)
    gate = gates.get(api)
    value = {
        "revision": number,
        **api_json(known, gate),
        "enabledInGit": gate.git if gate is not None else None,
        "switched": None if gate is None or gate.switched is None else switch_json(gate.switched),
        **api_details_json(known),
    }
    session.screen.data("api.show", value, contract.lines(value))


@command(group, "call")
async def call(
    session: Session,
    api: ApiArgument,
    input_: InputOption = None,
    header: HeaderOption = None,
    jwt_key: JwtKeyOption = None,
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
    from iogate.settings.urls import own_certificate

    if from_run is not None and input_ is not None:
        raise Misused("--from-run and --input cannot be combined")
    settings = session.settings()
    timeout_s = parse_seconds(limit, "--timeout")
    async with session.store(settings, changes=True) as store:
        _, revision = await live_revision(store)
        known = find_api(revision, api)
        if from_run is not None:
            value = json.loads((await find_run(store, from_run)).input)
        else:
            value = read_input(input_)
        given = dict(parse_pair(each, "--header", ":") for each in header or ())
        if jwt_key is not None:
            given |= sign_jwt(known, jwt_key)
        url = await live_gateway_url(store, settings)
        trusted = own_certificate(settings)
        response = await send_call(url, known, value, given, get=get, certificate=trusted)
        uid = accepted_uid(response, api)
        if not wait:
            session.screen.data("api.call", {"uid": uid, "api": api}, [uid])
            return
        run = run_json(await wait_for_end(session, store, uid, timeout_s))
    session.screen.data("api.call", run, run_details(run))
    raise_for_outcome(run, limit)


async def send_call(
    url: str, api: Api, value: Any, given: Mapping[str, str], *, get: bool, certificate: str | None = None
) -> Response:
    """Send one request to the gateway; headers of the user replace the API's credentials.

    `certificate`: file with the only certificates to trust.

    Raises:
        Misused: the input of a GET is not an object.
    """
    from iogate.effects.gateway_client import GatewayClient

    path = api_path(api.id)
    verb = "GET" if get or "POST" not in api.verbs else "POST"
    body = b""
    if verb == "POST":
        body = json.dumps(value).encode()
    elif not isinstance(value, dict):
        raise Misused("the input of a GET must be an object: it becomes the query string")
    else:
        path += "?" + urlencode(
            {name: each if isinstance(each, str) else json.dumps(each) for name, each in value.items()}
        )
    headers = add_credentials(api, Outgoing(verb=verb, path=path, body=body, url=url, headers=given))
    async with GatewayClient(url, certificate=certificate) as client:
        return await client.request(verb, path, headers=headers, body=body or None)


def add_credentials(api: Api, request: Outgoing) -> dict[str, str]:
    """Return the headers of a request, with the API's own credentials if they contain none.

    Raises IogateError if no secret of the API is available here.
    """
    given = dict(request.headers)
    auth = local_auth(Path.cwd(), api) or api.auth
    own = {"token", "user", "password", "authorization", *signing.headers_of(auth)}
    if own.intersection(name.lower() for name in given):
        return given
    found = credentials.headers(auth, request, api=api.id) | given
    if signing.identifies_by_body(auth, found) and (header := api.idempotency.header) is not None:
        # The same request again is meant to start another run.
        found.setdefault(header, token_hex(16))
    return found


def sign_jwt(api: Api, key: Path) -> dict[str, str]:
    """Return the header with a JWT that the private key of a file has signed. Raises Misused."""
    return jwt_tokens.header_of_key(local_auth(Path.cwd(), api) or api.auth, key, api=api.id)


def local_auth(root: Path, api: Api) -> Auth[Secret] | None:
    """Return `auth` from the local document that declares the API; None if there is no valid one."""
    from iogate.auth.reader import AUTH
    from iogate.documents.yaml.reader import read_file
    from iogate.value_types.faults import InvalidValue

    path = root / api.source
    if not api.source or not path.is_file():
        return None
    data = read_file(path, api.source).data
    module, _, method = api.id.partition("/")
    if not isinstance(data, dict) or data.get("module") != module:
        return None
    own = (data.get("methods") or {}).get(method)
    given = (own.get("auth") if isinstance(own, dict) else None) or data.get("auth")
    try:
        return AUTH.read(given)
    except InvalidValue:
        return None


async def live_gateway_url(store: Store, settings: Settings) -> str:
    """Return the URL to call: `public_url`, else that of a live gateway, else that of the settings."""
    from iogate.settings.urls import gateway_url

    own = gateway_url(settings)
    if settings.public_url:
        return own
    announced = [
        url
        for process in await store.presence.list("gateway")
        if (url := reachable_url(process.detail.get("url", ""), process.host))
    ]
    return own if own in announced or not announced else announced[0]


def reachable_url(url: str, host: str) -> str | None:
    """Convert the URL that a gateway on `host` announced for use on this machine; None if that fails."""
    from iogate.settings.urls import EVERYWHERE, is_loopback

    parts = urlsplit(url)
    name = parts.hostname or ""
    here = host == socket.gethostname()
    if is_loopback(name):
        return url if here else None
    if name in EVERYWHERE:
        return f"{parts.scheme}://{EVERYWHERE[name] if here else host}:{parts.port}"
    return url or None


def accepted_uid(response: Response, api: str) -> str:
    """Return the uid in the 202 response to `iogate api call`.

    Raises:
        NotFound, Refused, Unreachable: the response has another status, or is not one of iogate.
    """
    try:
        content = response.json()["response"]
    except (ValueError, KeyError, TypeError):
        raise Unreachable(
            f"{api}: unexpected response with status {response.status}: is this an iogate gateway?"
        ) from None
    if response.status == 202:
        return str(content["uid"])
    error = content.get("error", {})
    message = f"{api}: {response.status} {error.get('code')}: {error.get('message')}"
    if response.status == 404:
        raise NotFound(message)
    if response.status >= 500:
        raise Unreachable(message)
    hint = f"iogate enable {api}" if error.get("code") == "requestError.notEnabled" else ""
    raise Refused(message, hint=hint)


def find_api(revision: Revision, api: str) -> Api:
    """Return an API of the live revision by its id, for `iogate api`.

    Raises:
        NotFound: the revision has no such API.
    """
    known = revision.apis.get(api)
    if known is None:
        raise NotFound(
            f"no live API {api}{did_you_mean(api, revision.apis)}",
            hint='list them with "iogate api list", publish new ones with "iogate apply"',
        )
    return known


def api_json(api: Api, gate: Gate | None) -> dict[str, Any]:
    """Return the JSON form of an API in a list."""
    return {
        "api": api.id,
        "verbs": list(api.verbs),
        "path": api_path(api.id),
        "ownPath": api.own_path[0] if api.own_path is not None else None,
        "auth": credentials.describe(api.auth),
        **gate_json(gate),
        "workflow": api.workflow,
        "description": api.description,
        "tags": list(api.tags),
    }


def api_details_json(api: Api) -> dict[str, Any]:
    """Return the details of an API that a list leaves out."""
    from iogate.reconcile.document_form import addresses_form

    key, coalesce = api.limits.of_key, api.coalesces
    return {
        "allowIps": addresses_form(api.allow_ips),
        "ownPathMode": api.own_path[1] if api.own_path is not None else None,
        "inputFrom": api.input_from,
        "inputSchema": api.input_schema,
        "limits": {
            "body": api.limits.body,
            "rate": api.limits.rate,
            "burst": api.limits.burst,
            "per": api.limits.counted_by,
            "queued": api.limits.queued,
            "running": api.limits.running,
            "concurrency": None if key is None else {"key": key.key, "limit": key.limit},
            "onFull": "replace" if api.limits.replaces else "reject",
            "priority": api.limits.rank,
        },
        "coalesce": None
        if coalesce is None
        else {"key": coalesce.key, "windowS": coalesce.window_s, "maxS": coalesce.max_s},
        "idempotency": {
            "header": api.idempotency.header,
            "pointer": api.idempotency.key_pointer,
            "ttlS": api.idempotency.ttl_s,
            "required": api.idempotency.is_required,
        },
        "timeoutS": api.timeout_s,
        "retentionS": api.retention_s,
        "record": api.records,
        "protect": api.protect,
        "metadata": api.metadata,
        "source": api.source,
        "program": api.program,
        "document": contract.document(api),
    }
