"""Program under construction: the tasks so far, and the state that they share.

Handed by `builder` to the families of tasks. What only a check would refuse (an unknown name) becomes a mark
in the tree, and what the standard knows in two spellings becomes one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, cast

from iogate.compiler.bound import Bound
from iogate.compiler.outline import escape, kind_of
from iogate.compiler.resources.addresses import hostname
from iogate.compiler.tasks import Body, Extension, Flow, Schema, Target, Task, TaskList, Timeout
from iogate.expressions import Template, bare, compiles, loose, loose_pieces, pieces, template

Places = Mapping[str, int]
"""Names of a list's tasks, and where they stand in it."""

_EMPTY: Mapping[str, Any] = {}
_PLAIN = Flow()


class Draft(ABC):
    """One pass over a definition; its attributes are the result."""

    def __init__(self, definition: Mapping[str, Any], resources: Mapping[str, Any], bound: Bound) -> None:
        self.definition = definition
        self.resources = resources
        self.bound = bound
        self.loose = (definition.get("evaluate") or {}).get("mode") == "loose"
        self.home = ""
        """Address of the function that is being built, where it was fetched."""
        self.use: Mapping[str, Any] = definition.get("use") or {}
        self.tasks: dict[str, Task] = {}
        self.lists: dict[str, TaskList] = {}
        self.extensions: Mapping[str, tuple[Extension, ...]] = {}
        """By the kind of tasks that they extend."""
        self._schemas: dict[str, Schema] = {}

    @abstractmethod
    def body(self, kind: str, pointer: str, definition: Mapping[str, Any], places: Places) -> Body:
        """Return the value of the task's keyword."""

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
            body=self.body(kind, pointer, definition, places),
            timeout=self.timeout(definition),
            at_most_once=(metadata.get("iogate") or _EMPTY).get("atMostOnce") is True,
            extensions=self.extensions.get(kind, ()),
        )
        self.tasks[pointer] = task
        return task

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
        uri = address(source.get("resource"))
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
        """Return the target of a flow directive within its list of tasks."""
        match then:
            case None | "continue":
                return "continue"
            case "exit" | "end":
                return cast("Target", then)
            case _:
                return places.get(then, "continue")

    # text that may be an expression

    def expression(self, source: Any) -> Template:
        """Return the expression of a field that the standard types as one, with or without `${}`."""
        return template(source, loose) if self.loose else bare(source)

    def optional_expression(self, source: Any) -> Template | None:
        return None if source is None else self.expression(source)

    def value(self, source: Any) -> Template:
        """Free data, in which only `${}` is evaluated; every string in mode `loose`."""
        return template(source, loose if self.loose else None)

    def optional_value(self, source: Any) -> Template | None:
        return None if source is None else self.value(source)

    def pattern(self, source: Any) -> Template:
        """Return a value to compare with: an expression, or a literal that the engine matches."""
        if self.loose and isinstance(source, str) and "${" not in source and not compiles(source):
            return template(source)
        return self.value(source)

    def is_foreign(self, url: str) -> bool:
        """Tell whether a fetched function names a host that is not its own, which no author here reviewed."""
        return self.home != "" and hostname(self.home) != hostname(url)

    def address(self, text: str) -> tuple[str | Template, ...]:
        """A URI template, the parts of which may be expressions."""
        return loose_pieces(text) if self.loose else pieces(text)


def address(resource: Any) -> str:
    """The URI of an external resource, in any of the spellings that the standard allows."""
    while isinstance(resource, Mapping):
        resource = resource.get("endpoint", resource.get("uri"))
    return str(resource)
