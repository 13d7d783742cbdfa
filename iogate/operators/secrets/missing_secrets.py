"""Secrets that gateways and workers lack, by the API or workflow that needs them.

Used by `status`, `doctor`, `plan` and `apply`. A gateway announces the secrets that its APIs lack. A worker
announces the secrets that it has, why it lacks others of its settings, and why it cannot sign the callbacks
of an API. The definition of a workflow declares the secrets that it needs.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from iogate.compiler.revision import Revision
from iogate.errors import IogateError
from iogate.security.standard_webhooks import PREFIX
from iogate.store.maintenance.process_presence import CALLBACK, SECRETS, UNSET, Process
from iogate.store.store import Store

_OF_CALLBACK = "callback: "
UNNAMED = 'the setting "secrets" does not name it'


def by_api(gateways: Iterable[Process]) -> dict[str, list[str]]:
    """Return the missing secrets and files that gateways announce, by API."""
    return _announced(gateways, UNSET)


def of_callbacks(workers: Iterable[Process]) -> dict[str, list[str]]:
    """Return the missing secrets of callbacks that workers announce, by API."""
    return _announced(workers, CALLBACK)


def of_apis(gateways: Iterable[Process], workers: Iterable[Process]) -> dict[str, list[str]]:
    """Return the missing secrets and files of gateways, and of callbacks, by API."""
    missing = by_api(gateways)
    for api, texts in of_callbacks(workers).items():
        missing.setdefault(api, []).extend(_OF_CALLBACK + text for text in texts)
    return missing


def _announced(processes: Iterable[Process], prefix: str) -> dict[str, list[str]]:
    missing: dict[str, list[str]] = {}
    for process in processes:
        for name, text in process.detail.items():
            if name.startswith(prefix):
                known = missing.setdefault(name.removeprefix(prefix), [])
                known += [each for each in text.split("; ") if each not in known]
    return missing


async def of_revision(
    store: Store, revision: Revision, programs: Mapping[str, bytes] | None = None
) -> list[dict[str, Any]]:
    """Return the missing secrets of APIs and workflows on running processes, as text and as JSON.

    `programs` are those that the store need not have yet. A gateway tells only what the APIs that it has
    loaded lack.
    """
    gateways, workers = await asyncio.gather(store.presence.list("gateway"), store.presence.list("worker"))
    apis = _counted(gateways, by_api, "gateways")
    for name, texts in _counted(workers, lambda each: of_apis((), each), "workers").items():
        apis.setdefault(name, []).extend(texts)
    workflows = await by_workflow(store, revision, workers, programs)
    return [
        {"type": type_, "id": name, "missing": texts}
        for type_, found, known in (("api", apis, revision.apis), ("workflow", workflows, revision.workflows))
        for name, texts in sorted(found.items())
        if name in known
    ]


def lines(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the missing secrets of `of_revision` as lines; those of callbacks name the consequence."""
    made: list[str] = []
    for each in found:
        of_callback = [text for text in each["missing"] if text.startswith(_OF_CALLBACK)]
        if others := [text for text in each["missing"] if text not in of_callback]:
            made.append(f"{each['type']} {each['id']}: {'; '.join(others)}")
        if of_callback:
            reason = "; ".join(text.removeprefix(_OF_CALLBACK) for text in of_callback)
            made.append(waiting_callbacks(each["id"], reason))
    return made


def waiting_callbacks(apis: str, reason: str) -> str:
    """Describe the consequence of a missing callback secret: the callbacks wait."""
    return f"callbacks of {apis} wait, at most 24 hours: {reason}"


def remedy(reason: str) -> str:
    """Return the hint for a missing or malformed secret of a callback."""
    if f"begins with {PREFIX}" in reason:
        return f"write {PREFIX} and base64, or any text without {PREFIX}"
    return "set it, or write the file"


def _counted(
    processes: Sequence[Process], missing: Callable[[Sequence[Process]], Mapping[str, list[str]]], kind: str
) -> dict[str, list[str]]:
    """Return the missing secrets by API, with the number of processes where only some of them lack one."""
    holders: dict[str, Counter[str]] = {}
    for process in processes:
        for api, texts in missing([process]).items():
            holders.setdefault(api, Counter()).update(texts)
    count = len(processes)
    return {
        api: [
            text + (f" on {number} of {count} {kind}" if number < count else "")
            for text, number in texts.items()
        ]
        for api, texts in holders.items()
    }


async def by_workflow(
    store: Store,
    revision: Revision,
    workers: Sequence[Process],
    programs: Mapping[str, bytes] | None = None,
) -> dict[str, list[str]]:
    """Return the declared secrets that workers lack, by full name of the workflow."""
    announcing = [each for each in workers if SECRETS in each.detail]  # earlier releases do not
    if not announcing:
        return {}
    names = sorted(revision.workflows)
    declared = await asyncio.gather(
        *(_declared(store, revision.workflows[name].program, programs or {}) for name in names)
    )
    missing = {
        name: [text for secret in secrets for text in _missing(secret, announcing)]
        for name, secrets in zip(names, declared, strict=True)
    }
    return {name: texts for name, texts in missing.items() if texts}


async def by_live_workflow(
    store: Store, workers: Sequence[Process]
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Return the missing secrets by workflow of the live revision, and the workflow of each API.

    Both are empty if the revision cannot be read.
    """
    with suppress(IogateError):
        live = await store.revisions.live()
        if live is not None:
            revision = await store.revisions.load(live[0], project=store.revisions.project)
            started = {api.id: api.workflow for api in revision.apis.values()}
            return await by_workflow(store, revision, workers), started
    return {}, {}


async def _declared(store: Store, digest: str, programs: Mapping[str, bytes]) -> list[str]:
    """Return the names that `use.secrets` of a program declares, which may be a stored one."""
    with suppress(IogateError):
        data = programs[digest] if digest in programs else await store.revisions.program(digest)
        if b'"secrets"' in data:
            use: Any = json.loads(data).get("use") or {}
            return list(use.get("secrets") or ())
    return []


def _missing(secret: str, workers: Sequence[Process]) -> list[str]:
    """Return messages why workers lack a secret, with their number if others have it."""
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
