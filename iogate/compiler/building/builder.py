"""Walks the lists and tasks of a definition and puts the tree together; called by `program`.

Takes valid definitions; what only a check would refuse (an unknown name) becomes a mark in the
tree, and what the standard knows in two spellings becomes one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from iogate.compiler.bound import Bound
from iogate.compiler.building import calls, control, events, extensions, processes
from iogate.compiler.outline import escape, kind_of
from iogate.compiler.tasks import (
    Body,
    Do,
    Extension,
    Flow,
    Schema,
    Set,
    Target,
    Task,
    TaskList,
    Timeout,
    Unsupported,
    Wait,
)
from iogate.expressions import Template, bare, compiles, loose, loose_pieces, pieces, template

Places = Mapping[str, int]
"""Names of a list's tasks, and where they stand in it."""

_EMPTY: Mapping[str, Any] = {}
_PLAIN = Flow()


class Builder:
    """One pass over a definition; its attributes are the result."""

    def __init__(self, definition: Mapping[str, Any], resources: Mapping[str, Any], bound: Bound) -> None:
        self.definition = definition
        self.resources = resources
        self.bound = bound
        self.loose = (definition.get("evaluate") or {}).get("mode") == "loose"
        self.use: Mapping[str, Any] = definition.get("use") or {}
        self.tasks: dict[str, Task] = {}
        self.lists: dict[str, TaskList] = {}
        self.extensions: Mapping[str, tuple[Extension, ...]] = {}
        """By the kind of tasks that they extend."""
        self._schemas: dict[str, Schema] = {}

    def build(self) -> None:
        # before all other tasks: those of extensions are not extended
        self.extensions = extensions.by_kind(self, self.use.get("extensions") or ())
        self.list("/do", self.definition["do"])
        functions: Mapping[str, Any] = {**(self.use.get("functions") or {}), **self.bound.functions}
        for name, function in functions.items():
            pointer = f"/use/functions/{escape(name)}"
            task = self.task(pointer, name, function, {})
            self.lists[pointer] = TaskList(pointer, (task,))

    def list(self, pointer: str, entries: Any) -> TaskList:
        """A list of tasks, which may name one another."""
        named = [next(iter(entry.items())) for entry in entries]
        places = {name: index for index, (name, _) in enumerate(named)}
        tasks = tuple(
            self.task(f"{pointer}/{index}/{escape(name)}", name, definition, places)
            for index, (name, definition) in enumerate(named)
        )
        self.lists[pointer] = made = TaskList(pointer, tasks)
        return made

    def task(self, pointer: str, name: str, definition: Mapping[str, Any], places: Places) -> Task:
        kind = kind_of(definition)
        flow = self.flow(definition)
        metadata = definition.get("metadata") or _EMPTY
        task = Task(
            pointer=pointer,
            name=name,
            kind=kind,
            definition=definition,
            condition=self.optional_expression(definition.get("if")),
            flow=flow,
            plain=flow is _PLAIN,
            then=self.target(definition.get("then"), places),
            body=self._body(kind, pointer, definition, places),
            timeout=self.timeout(definition),
            at_most_once=(metadata.get("iogate") or _EMPTY).get("atMostOnce") is True,
            extensions=self.extensions.get(kind, ()),
        )
        self.tasks[pointer] = task
        return task

    def _body(self, kind: str, pointer: str, definition: Mapping[str, Any], places: Places) -> Body:
        match kind:
            case "do":
                return Do(self.list(f"{pointer}/do", definition["do"]))
            case "set":
                return Set(self.expression(definition["set"]))
            case "switch":
                return control.switch(self, definition["switch"], places)
            case "for":
                return control.loop(self, pointer, definition)
            case "try":
                return control.attempt(self, pointer, definition, places)
            case "fork":
                return control.fork(self, pointer, definition["fork"])
            case "raise":
                return control.fault(self, definition["raise"]["error"])
            case "wait":
                return Wait(self.value(definition["wait"]))
            case "call":
                return calls.call(self, pointer, definition["call"], definition.get("with") or {})
            case "emit":
                return events.emit(self, definition["emit"])
            case "listen":
                return events.listen(self, pointer, definition)
            case "run" if "workflow" in definition["run"]:
                return events.child(self, definition["run"])
            case "run":
                return processes.process(self, definition["run"])
            case _:
                return Unsupported(kind or "a task without a keyword")

    # what tasks and the workflow share

    def flow(self, definition: Mapping[str, Any]) -> Flow:
        """Data flow of a task or of the workflow; one shared object where it says nothing."""
        into, out, export = (definition.get(part) for part in ("input", "output", "export"))
        if not into and not out and not export:
            return _PLAIN
        into, out, export = into or _EMPTY, out or _EMPTY, export or _EMPTY
        return Flow(
            input_schema=self._schema(into.get("schema")),
            input_from=self.optional_expression(into.get("from")),
            output_as=self.optional_expression(out.get("as")),
            output_schema=self._schema(out.get("schema")),
            export_as=self.optional_expression(export.get("as")),
            export_schema=self._schema(export.get("schema")),
        )

    def _schema(self, source: Any) -> Schema | None:
        if not source:
            return None
        if "document" in source:
            return Schema(source["document"])
        uri = processes.address(source.get("resource"))
        if uri not in self._schemas:
            known = uri in self.resources
            self._schemas[uri] = Schema(self.resources[uri]) if known else Schema(None, missing=uri)
        return self._schemas[uri]

    def timeout(self, definition: Mapping[str, Any]) -> Timeout | None:
        """Timeout of a task or of the workflow, inline or by name."""
        source = definition.get("timeout")
        if isinstance(source, str):
            named = (self.use.get("timeouts") or {}).get(source)
            return Timeout(None, missing=source) if named is None else Timeout(self.value(named["after"]))
        return None if source is None else Timeout(self.value(source["after"]))

    def target(self, then: Any, places: Places) -> Target:
        """Where a flow directive leads, in the list whose places these are."""
        match then:
            case None | "continue":
                return "continue"
            case "exit" | "end":
                return cast("Target", then)
            case _:
                return places.get(then, "continue")

    # text that may be an expression

    def expression(self, source: Any) -> Template:
        """What the standard types as an expression, with or without `${}`."""
        return template(source, loose) if self.loose else bare(source)

    def optional_expression(self, source: Any) -> Template | None:
        return None if source is None else self.expression(source)

    def value(self, source: Any) -> Template:
        """Free data, in which only `${}` is evaluated; every string in mode `loose`."""
        return template(source, loose if self.loose else None)

    def optional_value(self, source: Any) -> Template | None:
        return None if source is None else self.value(source)

    def pattern(self, source: Any) -> Template:
        """A value to be compared with: what is no expression is a literal, the engine's to match."""
        if self.loose and isinstance(source, str) and "${" not in source and not compiles(source):
            return template(source)
        return self.value(source)

    def address(self, text: str) -> tuple[str | Template, ...]:
        """A URI template, the parts of which may be expressions."""
        return loose_pieces(text) if self.loose else pieces(text)
