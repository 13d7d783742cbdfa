"""Secrets that gateways and workers lack, by the API or workflow that needs them.

Used by `status_command` and `doctor_command`. A gateway announces the secrets that its APIs lack. A worker
announces the secrets that it has, and why it lacks others of its settings. The definition of a workflow
declares the secrets that it needs.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from iogate.errors import IogateError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from iogate.compiler.revision import Revision
    from iogate.store.maintenance.presence import Process
    from iogate.store.store import Store

UNNAMED = 'the setting "secrets" does not name it'


def by_api(gateways: Iterable[Process]) -> dict[str, list[str]]:
    """Return the missing secrets that gateways announce, by API."""
    from iogate.store.maintenance.presence import UNSET

    lacks: dict[str, list[str]] = {}
    for gateway in gateways:
        for name, text in gateway.detail.items():
            if name.startswith(UNSET):
                known = lacks.setdefault(name.removeprefix(UNSET), [])
                known += [each for each in text.split("; ") if each not in known]
    return lacks


async def by_workflow(store: Store, revision: Revision, workers: Sequence[Process]) -> dict[str, list[str]]:
    """Return the declared secrets that workers lack, by full name of the live workflow."""
    from iogate.store.maintenance.presence import SECRETS

    announcing = [each for each in workers if SECRETS in each.detail]  # earlier releases do not
    if not announcing:
        return {}
    names = sorted(revision.workflows)
    declared = await asyncio.gather(*(_declared(store, revision.workflows[name].program) for name in names))
    lacks = {
        name: [text for secret in secrets for text in _missing(secret, announcing)]
        for name, secrets in zip(names, declared, strict=True)
    }
    return {name: texts for name, texts in lacks.items() if texts}


async def by_live_workflow(
    store: Store, workers: Sequence[Process]
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Return `by_workflow` for the live revision, and the workflow of each API.

    Both are empty if the revision cannot be read.
    """
    with suppress(IogateError):
        live = await store.revisions.live()
        if live is not None:
            revision = await store.revisions.load(live[0], project=store.revisions.project)
            started = {api.id: api.workflow for api in revision.apis.values()}
            return await by_workflow(store, revision, workers), started
    return {}, {}


async def _declared(store: Store, digest: str) -> list[str]:
    """Return the names that `use.secrets` of a stored program declares."""
    with suppress(IogateError):
        data = await store.revisions.program(digest)
        if b'"secrets"' in data:
            use: Any = json.loads(data).get("use") or {}
            return list(use.get("secrets") or ())
    return []


def _missing(secret: str, workers: Sequence[Process]) -> list[str]:
    """Return messages why workers lack a secret, with their number if others have it."""
    from iogate.store.maintenance.presence import SECRETS, UNSET

    reasons = Counter(
        worker.detail.get(UNSET + secret, UNNAMED)
        for worker in workers
        if secret not in worker.detail[SECRETS].split("\n")
    )
    count = len(workers)
    return [
        f"secret {secret}: {reason}" + (f" on {lacking} of {count} workers" if lacking < count else "")
        for reason, lacking in reasons.items()
    ]
