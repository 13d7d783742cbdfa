"""Tasks that run something: shell commands, scripts and containers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from iogate.compiler.tasks import Body, Container, Process
from iogate.expressions.templates import Literal as Text

if TYPE_CHECKING:
    from iogate.compiler.building.builder import Builder


def process(builder: Builder, run: Mapping[str, Any]) -> Body:
    kind: Literal["shell", "script"]
    if "shell" in run:
        kind, source = "shell", run["shell"]
    elif "script" in run:
        kind, source = "script", run["script"]
    else:
        return _container(builder, run)
    return Process(
        kind=kind,
        language=source.get("language") or "",
        # a script's text is in its own language: `${…}` there is not ours
        code=builder.value(source["command"]) if kind == "shell" else Text(source.get("code") or ""),
        source=address(source["source"]) if source.get("source") else None,
        stdin=builder.optional_value(source.get("stdin")),
        arguments=builder.value(source.get("arguments") or []),
        environment=builder.value(source.get("environment") or {}),
        awaits=run.get("await") is not False,
        returns=run.get("return") or "stdout",
    )


def _container(builder: Builder, run: Mapping[str, Any]) -> Container:
    source, value = run["container"], builder.optional_value
    lifetime = source.get("lifetime") or {}
    cleanup: Any = lifetime.get("cleanup") or "never"
    return Container(
        image=builder.value(source["image"]),
        name=value(source.get("name")),
        command=value(source.get("command")),
        ports=builder.value(source.get("ports") or {}),
        volumes=builder.value(source.get("volumes") or {}),
        environment=builder.value(source.get("environment") or {}),
        stdin=value(source.get("stdin")),
        arguments=builder.value(source.get("arguments") or []),
        pull=source.get("pullPolicy") or "ifNotPresent",
        cleanup=cleanup,
        after=value(lifetime.get("after")) if cleanup == "eventually" else None,
        awaits=run.get("await") is not False,
        returns=run.get("return") or "stdout",
    )


def address(resource: Any) -> str:
    """The URI of an external resource, in any of the spellings that the standard allows."""
    while isinstance(resource, Mapping):
        resource = resource.get("endpoint", resource.get("uri"))
    return str(resource)
