"""Values of secrets in gateways and workers, compared by their keyed fingerprints.

Used by `status`. A secret is named by its source on a machine, `env NAME` or `file PATH`. The value
that appeared last, over all processes, is the new one. Invariant: only fingerprints are read, never a secret.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from iogate.auth.model import JwtAuth, SignatureAuth, StoredAuth, TokenAuth, UserAuth, alternatives, source_of
from iogate.compiler.revision import Callback, Revision
from iogate.errors import IogateError
from iogate.settings import Settings
from iogate.settings.events import senders
from iogate.settings.operators import declared
from iogate.store.maintenance.process_presence import Process
from iogate.store.runs.presentation import rfc3339
from iogate.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One value of a secret, and the processes that have it."""

    fingerprint: str
    since_ms: int
    """When the first of the processes resolved it."""
    processes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretValues:
    """All values of a secret in the running processes, the newest first."""

    source: str
    used_by: tuple[str, ...]
    values: tuple[Value, ...]
    other_key: tuple[str, ...]
    """Processes whose `link_key` is another one: their values cannot be compared."""

    @property
    def differs(self) -> bool:
        return len(self.values) > 1


def compare(processes: Sequence[Process], users: Mapping[str, Sequence[str]]) -> list[SecretValues]:
    """Compare the values that processes have of each secret, by source; `users` are those of each source."""
    keys = Counter(each.fingerprint_key for each in processes if each.fingerprints)
    if not keys:
        return []
    key = max(sorted(keys), key=lambda each: keys[each])
    sources = sorted({source for each in processes for source in each.fingerprints})
    return [_of_source(source, key, processes, tuple(users.get(source, ()))) for source in sources]


def _of_source(source: str, key: str, processes: Sequence[Process], used_by: tuple[str, ...]) -> SecretValues:
    holders: dict[str, list[Process]] = {}
    others = []
    for process in processes:
        if source not in process.fingerprints:
            continue
        if process.fingerprint_key == key:
            holders.setdefault(process.fingerprints[source].value, []).append(process)
        else:
            others.append(process.id)
    values = [
        Value(
            fingerprint=fingerprint,
            since_ms=min(each.fingerprints[source].since_ms for each in having),
            processes=tuple(each.id for each in having),
        )
        for fingerprint, having in holders.items()
    ]
    values.sort(key=lambda value: (-value.since_ms, value.fingerprint))
    return SecretValues(source=source, used_by=used_by, values=tuple(values), other_key=tuple(others))


async def users_of_live(
    store: Store, live: tuple[int, str] | None, settings: Settings
) -> dict[str, list[str]]:
    """Return the users of each secret in the live revision; without its APIs, if it cannot be read."""
    revision = None
    if live is not None:
        with suppress(IogateError):
            revision = await store.revisions.load(live[0], project=store.revisions.project)
    return users_of(revision, settings)


def users_of(revision: Revision | None, settings: Settings) -> dict[str, list[str]]:
    """Return the users of each source of a secret: APIs, event senders, workflows and sinks."""
    found: dict[str, list[str]] = {}
    for api in revision.apis.values() if revision is not None else ():
        for source, role in _of_auth(api.auth):
            found.setdefault(source, []).append(f"{api.id} {role}")
        if isinstance(api.callback, Callback):
            found.setdefault(source_of(api.callback.secret), []).append(f"{api.id} callback")
    accepted = senders(settings.events)
    for source, role in () if accepted is None else _of_auth(accepted):
        found.setdefault(source, []).append(f"events {role}")
    if settings.operators:
        for name, each in declared(settings.operators).items():
            for secret in each.tokens:
                if source := source_of(secret):
                    found.setdefault(source, []).append(f"operator {name}")
    for name, reference in settings.secrets.items():
        found.setdefault(_written(reference), []).append(f"workflows {name}")
    for sink, given in (settings.events.get("sinks") or {}).items():
        for name, value in (given.get("headers") or {}).items():
            if isinstance(value, Mapping):
                found.setdefault(_written(value), []).append(f"sink {sink} {name}")
    return {source: sorted(set(names)) for source, names in found.items()}


def _of_auth(auth: StoredAuth) -> Iterator[tuple[str, str]]:
    """Yield source and role of each secret of `auth`: `token`, `token of CALLER` or `password of USER`."""
    for form in alternatives(auth):
        match form:
            case TokenAuth(tokens=tokens):
                named = {
                    "token" if name == "token" else f"token of {name}": each for name, each in tokens.items()
                }
            case UserAuth(users=users):
                named = {f"password of {name}": each for name, each in users.items()}
            case SignatureAuth():
                named = {
                    f"secret of {form.caller}": form.secrets,
                    f"verify token of {form.caller}": form.verify_token,
                }
            case JwtAuth():
                named = {"key of jwt": form.key, "secret of jwt": form.secret}
            case _:
                continue
        for role, secrets in named.items():
            yield from ((source, role) for secret in secrets if (source := source_of(secret)))


def _written(reference: Mapping[str, str]) -> str:
    ((kind, value),) = reference.items()
    return f"{kind} {value}"


def to_json(found: Iterable[SecretValues]) -> list[dict[str, Any]]:
    """Return compared values of secrets as JSON, by their fingerprints, the newest value first."""
    return [
        {
            "source": each.source,
            "usedBy": list(each.used_by),
            "values": [
                {
                    "fingerprint": value.fingerprint,
                    "since": rfc3339(value.since_ms),
                    "processes": list(value.processes),
                }
                for value in each.values
            ],
            "otherKey": list(each.other_key),
        }
        for each in found
    ]
