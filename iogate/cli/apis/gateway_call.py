"""Calls of a live API through its gateway, with the credentials of the API: for `api call` and `debug`."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from iogate.cli.apis import call_form, credentials, jwt_tokens, signing
from iogate.cli.apis.signing import Outgoing
from iogate.errors import Misused, NotFound, Refused, Unreachable
from iogate.url_paths import api_path

if TYPE_CHECKING:
    from iogate.auth.model import Auth, Secret
    from iogate.compiler.revision import Api
    from iogate.effects.gateway_client import Response
    from iogate.settings import Settings
    from iogate.store.store import Store


async def send_call(
    url: str,
    api: Api,
    value: Any,
    given: Mapping[str, str],
    *,
    get: bool,
    files: Sequence[str] = (),
    certificate: str | None = None,
    reads_secrets: bool = True,
) -> Response:
    """Send one request to the gateway; headers of the user replace the API's credentials.

    `files`: values of `--file`; `certificate`: file with the only certificates to trust; `reads_secrets`: as
    in `credentials.headers`, for an API without a local document.

    Raises:
        Misused: the input of a GET is not an object, or files cannot be sent.
        NotFound: there is no such file.
    """
    from iogate.effects.gateway_client import GatewayClient

    path = api_path(api.id)
    verb = "GET" if get or "POST" not in api.verbs else "POST"
    body = b""
    if files and verb != "POST":
        raise Misused("--file needs a POST, whose body is the form")
    if files:
        body, kind = call_form.encode(value, files)
        given = {name: text for name, text in given.items() if name.lower() != "content-type"}
        given["Content-Type"] = kind
    elif verb == "POST":
        body = json.dumps(value).encode()
    elif not isinstance(value, dict):
        raise Misused("the input of a GET must be an object: it becomes the query string")
    else:
        path += "?" + urlencode(
            {name: each if isinstance(each, str) else json.dumps(each) for name, each in value.items()}
        )
    outgoing = Outgoing(verb=verb, path=path, body=body, url=url, headers=given)
    headers = add_credentials(api, outgoing, reads_secrets=reads_secrets)
    async with GatewayClient(url, certificate=certificate) as client:
        return await client.request(verb, path, headers=headers, body=body or None)


def add_credentials(api: Api, request: Outgoing, *, reads_secrets: bool = True) -> dict[str, str]:
    """Return the headers of a gateway call, with the API's own credentials if they contain none.

    `reads_secrets`: as in `credentials.headers`; a local document may always name secrets. Raises
    IogateError if no secret of the API is available here.
    """
    given = dict(request.headers)
    local = local_auth(Path.cwd(), api)
    auth = local or api.auth
    own = {"token", "user", "password", "authorization", *signing.headers_of(auth)}
    if own.intersection(name.lower() for name in given):
        return given
    reads = reads_secrets or local is not None
    found = credentials.headers(auth, request, api=api.id, reads_secrets=reads) | given
    if signing.identifies_by_body(auth, found) and (header := api.idempotency.header) is not None:
        # The same request again is meant to start another run.
        found.setdefault(header, token_hex(16))
    return found


def sign_jwt(api: Api, key: Path) -> dict[str, str]:
    """Return the header of a gateway call with a JWT signed by the private key of a file. Raises Misused."""
    return jwt_tokens.header_of_key(local_auth(Path.cwd(), api) or api.auth, key, api=api.id)


def local_auth(root: Path, api: Api) -> Auth[Secret] | None:
    """Return `auth` for a gateway call from the local document of the API; None without a valid one."""
    from iogate.auth.reader import AUTH
    from iogate.documents.yaml.reader import read_file
    from iogate.value_types.faults import InvalidValue

    path = root / api.source
    if not api.source or not path.is_file():
        return None
    data = read_file(path, api.source).data
    module, _, method = api.id.partition("/")
    methods = data.get("methods") if isinstance(data, dict) else None
    if not isinstance(methods, dict) or data.get("module") != module:
        return None
    own = methods.get(method)
    given = (own.get("auth") if isinstance(own, dict) else None) or data.get("auth")
    try:
        return AUTH.read(given)
    except InvalidValue:
        return None


async def live_gateway_url(store: Store, settings: Settings) -> str:
    """Return the gateway's URL for a call: `public_url`, else a live one's, else that of the settings."""
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
    """Return the uid of the run in the response of the gateway to a call.

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
