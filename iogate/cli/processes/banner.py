"""Banner of `up` and `serve`: revision, store, URL, a row per API, and a curl command that works."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iogate.cli.apis import credentials, examples
from iogate.cli.apis.examples import Example
from iogate.cli.apis.gateway_call import local_auth
from iogate.cli.render import Table
from iogate.security.redaction_patterns import redact_url

if TYPE_CHECKING:
    from iogate.auth.model import Auth, Secret
    from iogate.cli.documents.bundle import CheckResult
    from iogate.compiler.revision import Api
    from iogate.store.store import Store


@dataclass(frozen=True, kw_only=True)
class Row:
    """Row of the banner for one API."""

    api: str
    verbs: tuple[str, ...]
    auth: str
    enabled: bool
    unset: tuple[str, ...] = ()
    """Messages about its unset secrets."""
    unsigned: tuple[str, ...] = ()
    """Message about the secret of its callback, if it is unset: calls work without."""
    credentials: Auth[Secret] | None = None
    """Credentials that it accepts, with literal secrets if its document is here."""
    example: Example | None = None
    """Call that the API accepts; None if none could be generated."""

    @property
    def path(self) -> str:
        return f"/v1/api/{self.api}/async"

    @property
    def state(self) -> str:
        if lacks := (*self.unset, *self.unsigned):
            return "; ".join(lacks)
        return "enabled" if self.enabled else f"iogate enable {self.api}"

    def to_json(self) -> dict[str, Any]:
        return {
            "api": self.api,
            "verbs": list(self.verbs),
            "path": self.path,
            "auth": self.auth,
            "enabled": self.enabled,
            "unset": [*self.unset, *self.unsigned],
        }


async def live_rows(store: Store, number: int | None, checked: CheckResult | None) -> list[Row]:
    """Return a row of the banner for each API of the live revision `number`."""
    from iogate.auth.description import describe

    if number is None:
        return []
    revision = await store.revisions.load(number, project=store.revisions.project)
    gates = await store.gates.states()
    cases = {
        f"{document.model.module}/{name}": method.debug or ()
        for document in (checked.documents.apis if checked is not None else ())
        for name, method in document.model.methods.items()
    }
    return [
        Row(
            api=api.id,
            verbs=api.verbs,
            auth=describe(api.auth),
            enabled=api.id in gates and gates[api.id].enabled,
            unset=tuple(each.message for each in credentials.unset_secrets(api.auth)),
            unsigned=unsigned(api),
            credentials=local_auth(Path.cwd(), api) or api.auth,
            example=examples.example_for(api, cases.get(api.id, ())),
        )
        for _, api in sorted(revision.apis.items())
    ]


def unsigned(api: Api) -> tuple[str, ...]:
    """Return the banner's message about a callback secret of an API that is missing or cannot sign."""
    from iogate.security.secrets import Unset

    try:
        credentials.resolve_callback(api)
    except (Unset, ValueError) as error:
        return (f"callback: {error}",)
    return ()


def parts(
    *,
    url: str,
    store: str,
    revision: int | None,
    rows: Iterable[Row],
    events: str | None = None,
    schedules: Table | None = None,
) -> list[Table | str]:
    """Return the banner as text and tables.

    `events` describes the authentication of event senders; None if events are not accepted.
    """
    rows = list(rows)
    scheduled: list[Table | str] = [] if schedules is None else ["", schedules]
    head = [
        "",
        f"revision  {revision if revision is not None else 'none yet'}",
        f"store     {redact_url(store)}",
        f"URL       {url}",
        *([] if events is None else [f"events    {url}/v1/events ({events})"]),
        "",
    ]
    if not rows:
        if scheduled:
            return ["\n".join(head), *scheduled[1:], ""]
        return ["\n".join(head), 'no APIs yet: create a first one with "iogate init"']
    table = Table(
        columns=("verbs", "path", "auth", "state"),
        rows=[(", ".join(row.verbs), row.path, row.auth, row.state) for row in rows],
    )
    line = easiest_call(rows, url)
    return ["\n".join(head), table, *scheduled, *(["", line, ""] if line else [])]


def easiest_call(rows: Iterable[Row], url: str) -> str | None:
    """Return the curl command of the banner with the fewest prerequisites; None if no row has one."""
    return next((line for row in _by_ease(rows) if (line := curl_line(row, url)) is not None), None)


def _by_ease(rows: Iterable[Row]) -> list[Row]:
    """Sort the banner's rows without unset secrets: enabled APIs first, then those without credentials."""
    from iogate.auth.model import NoAuth

    return sorted(
        (row for row in rows if not row.unset),
        key=lambda row: (not row.enabled, not isinstance(row.credentials, NoAuth)),
    )


def curl_line(row: Row, url: str) -> str | None:
    """Return a curl command for the banner that works when pasted.

    None without an example call, or if the command would contain a secret in clear text.
    """
    example = row.example
    headers = None if row.credentials is None else credential_options(row.credentials)
    if headers is None or example is None:
        return None
    address = url.removeprefix("http://") + row.path
    if example.query:
        address = shlex.quote(f"{address}?{example.query}")
    if example.content_type is not None:
        headers += f"-H {shlex.quote('Content-Type: ' + example.content_type)} "
    data = ""
    if example.body_file is not None:
        data = f"--data-binary {shlex.quote('@' + example.body_file)} "
    elif example.form:
        data = example.form
    elif example.body is not None:
        data = f"-d {shlex.quote(example.body)} "
    call = f"curl {headers}{data}{address}"
    return call if row.enabled else f"iogate enable {row.api} && {call}"


def credential_options(auth: Auth[Secret]) -> str | None:
    """Return curl options for the banner that read each secret from its source; None if impossible."""
    for attempt in credentials.candidates(auth):
        options = [_option(name, value) for name, value in attempt.items()]
        found = [each for each in options if each is not None]
        if len(found) == len(options):
            return "".join(found)
    return None


def _option(name: str, value: str | Secret) -> str | None:
    from iogate.auth.model import EnvSecret, FileSecret

    match value:
        case str():
            return f"-H {shlex.quote(f'{name}: {value}')} "
        case EnvSecret(name=variable):
            return f'-H "{name}: ${variable}" '
        case FileSecret(path=path):
            return f'-H "{name}: $(cat {shlex.quote(path)})" '
        case _:
            return None
