"""Tasks that run something: shell commands, scripts and containers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from iogate.compiler.building.draft import Draft, address
from iogate.compiler.tasks import Body, Container, Process
from iogate.expressions.templates import Literal as Text


def process(draft: Draft, run: Mapping[str, Any]) -> Body:
    kind: Literal["shell", "script"]
    if "shell" in run:
        kind, source = "shell", run["shell"]
    elif "script" in run:
        kind, source = "script", run["script"]
    else:
        return _container(draft, run)
    return Process(
        kind=kind,
        language=source.get("language") or "",
        # a script's text is in its own language: `${…}` there is not ours
        code=draft.value(source["command"]) if kind == "shell" else Text(source.get("code") or ""),
        source=address(source["source"]) if source.get("source") else None,
        stdin=draft.optional_value(source.get("stdin")),
        arguments=draft.value(source.get("arguments") or []),
        environment=draft.value(source.get("environment") or {}),
        awaits=run.get("await") is not False,
        returns=run.get("return") or "stdout",
    )


def _container(draft: Draft, run: Mapping[str, Any]) -> Container:
    source, value = run["container"], draft.optional_value
    lifetime = source.get("lifetime") or {}
    cleanup: Any = lifetime.get("cleanup") or "never"
    return Container(
        image=draft.value(source["image"]),
        name=value(source.get("name")),
        command=value(source.get("command")),
        ports=draft.value(source.get("ports") or {}),
        volumes=draft.value(source.get("volumes") or {}),
        environment=draft.value(source.get("environment") or {}),
        stdin=value(source.get("stdin")),
        arguments=draft.value(source.get("arguments") or []),
        pull=source.get("pullPolicy") or "ifNotPresent",
        cleanup=cleanup,
        after=value(lifetime.get("after")) if cleanup == "eventually" else None,
        awaits=run.get("await") is not False,
        returns=run.get("return") or "stdout",
    )
