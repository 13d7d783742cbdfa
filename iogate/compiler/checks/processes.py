"""Check of the setting `allow_run`: workflows start only processes of allowed kinds, or with listed digests.

`check` sees a document as it was written; `unlisted` is called by the collector, which knows the content of
each script. Workers compute the same digest before they start a process.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from iogate.compiler.checked_definition import Definition
from iogate.compiler.diagnostics import CheckContext, problem_at
from iogate.compiler.revision import digest_of, resource_digest
from iogate.compiler.tasks import Child, Container, Process, Task
from iogate.documents.problems import Problem
from iogate.json_values import JsonObject
from iogate.settings.permissions import allowed_digests, lists_digests

CODE = "IOG316"
UNLISTED = "IOG368"

_NOT_CODE: Final = frozenset({"name", "lifetime", "pullPolicy"})
"""Members of a container that do not change what it executes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessTask:
    """A task that starts a process, with the digest of that process."""

    kind: str
    digest: str
    workflow: str
    """`namespace/name:version`; for an external function, of the workflow that calls it."""
    task: str
    """Name of the task."""
    place: str
    """`PATH:LINE` of the task, in the file or at the URL of its document."""
    allowed: bool


def check(definition: Definition, context: CheckContext) -> Iterator[Problem]:
    if context.purpose == "run":
        return
    allow_run = context.settings.allow_run
    for task in definition.index.tasks:
        kind = kind_of(task)
        if kind in ("", "workflow") or lists_digests(allow_run, kind):
            continue
        if allowed_digests(allow_run, kind) is None:
            continue
        wanted = (
            f"[{', '.join((*allow_run, kind))}]"
            if isinstance(allow_run, tuple)
            else f"{{{kind}: true}}, or a list of digests"
        )
        yield problem_at(
            definition.document,
            (*task.location, "run", kind),
            CODE,
            f'running a {kind} is not allowed by the setting "allow_run"',
            key=True,
            severity=context.unsupported,
            hint=f"if it may, write allow_run: {wanted} in iogate.yaml",
        )


def kind_of(task: Task) -> str:
    """Return the kind of a task's process for the check of `allow_run`, such as shell or workflow, or ""."""
    match task.body:
        case Process(kind=kind):
            return kind
        case Container():
            return "container"
        case Child():
            return "workflow"
        case _:
            return ""


def message(task: Task, kind: str, digest: str) -> str:
    """Return the compiler's message about a task with a process that `allow_run` does not list."""
    return f'the {kind} of task "{task.name}" is not listed in the setting "allow_run": {digest}'


def hint(kind: str) -> str:
    """Return the compiler's hint for listing a process of this kind in `allow_run`."""
    return f'read what it starts; if it may, add the digest to allow_run.{kind} ("iogate digests" prints all)'


def is_loose(task: Task) -> bool:
    """Tell whether texts of a task's process, which the check of `allow_run` compares, may be expressions."""
    return isinstance(task.body, Process | Container) and task.body.loose


def process_digest(run: JsonObject, *, loose: bool = False) -> str | None:
    """Return the digest that the check of `allow_run` compares, of `run` as written; None if it is not known.

    It covers every member that has an influence on what is executed, and the content of a script, not its
    place. A script in another document is known once that was read. `loose` texts are expressions if they
    compile, so that their digest is another one.
    """
    kind = next(name for name in ("shell", "script", "container") if name in run)
    identity: dict[str, Any] = {
        name: value
        for name, value in run[kind].items()
        if name not in _NOT_CODE and value not in (None, {}, [])
    }
    if kind == "script":
        code, source = identity.pop("code", None), identity.pop("source", None)
        content = _content(code, source)
        if content is None:
            return None
        identity["content"] = content
    evaluated = {"evaluate": "loose"} if loose else {}
    return f"sha256:{digest_of({kind: identity, **evaluated})}"


def _content(code: Any, source: Any) -> str | None:
    """Return the digest of a script for the check of `allow_run`; None if it is not known or not clear."""
    if code is not None and source is not None:
        return None
    if code is not None:
        return hashlib.sha256(str(code).encode("utf-8", "surrogatepass")).hexdigest()
    endpoint = source.get("endpoint") if isinstance(source, dict) else None
    return resource_digest(endpoint) if isinstance(endpoint, str) else None
