"""Tasks that run something: shell commands, scripts and containers."""

from __future__ import annotations

from typing import Literal, cast

from iogate.compiler.reader.endpoints import resource
from iogate.compiler.reader.index import Place
from iogate.compiler.reader.reader import EMPTY, Reader
from iogate.compiler.tasks import Container, Process
from iogate.expressions.templates import Literal as Text
from iogate.json_values import JsonObject


def process(reader: Reader, place: Place, run: JsonObject) -> Process | Container:
    """Read the body of a process: `run: shell`, `run: script` or `run: container`."""
    kind = next(name for name in ("shell", "script", "container") if name in run)
    source, place = run[kind], place.at(kind)
    for name, value in source.items():
        # A script's text is in its own language: `${…}` there is not ours.
        if name not in ("code", "source"):
            reader.note(place.at(name), value)
    if kind == "container":
        return _container(reader, run)
    return Process(
        kind=cast("Literal['shell', 'script']", kind),
        language=source.get("language") or "",
        code=reader.value(source["command"]) if kind == "shell" else Text(source.get("code") or ""),
        source=resource(reader, "script", place.at("source"), source["source"]).source
        if source.get("source")
        else None,
        stdin=reader.optional(source.get("stdin")),
        arguments=reader.value(source.get("arguments") or []),
        environment=reader.value(source.get("environment") or {}),
        awaits=run.get("await") is not False,
        returns=run.get("return") or "stdout",
        loose=reader.loose,
    )


def _container(reader: Reader, run: JsonObject) -> Container:
    source = run["container"]
    lifetime: JsonObject = source.get("lifetime") or EMPTY
    cleanup = cast("Literal['always', 'never', 'eventually']", lifetime.get("cleanup") or "never")
    return Container(
        image=reader.value(source["image"]),
        name=reader.optional(source.get("name")),
        command=reader.optional(source.get("command")),
        ports=reader.value(source.get("ports") or {}),
        volumes=reader.value(source.get("volumes") or {}),
        environment=reader.value(source.get("environment") or {}),
        stdin=reader.optional(source.get("stdin")),
        arguments=reader.value(source.get("arguments") or []),
        pull=source.get("pullPolicy") or "ifNotPresent",
        cleanup=cleanup,
        after=reader.optional(lifetime.get("after")) if cleanup == "eventually" else None,
        awaits=run.get("await") is not False,
        returns=run.get("return") or "stdout",
        loose=reader.loose,
    )
