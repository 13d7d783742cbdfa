"""Puts the tree of a definition together; called by `program`, with valid definitions only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from iogate.compiler.building import calls, control, events, extensions, processes
from iogate.compiler.building.draft import Draft, Places
from iogate.compiler.outline import escape
from iogate.compiler.resources.addresses import REMOTE
from iogate.compiler.tasks import FUNCTIONS, Body, Do, Set, TaskList, Unsupported, Wait


class Builder(Draft):
    """Knows which family each kind of task belongs to."""

    def build(self) -> None:
        # before all other tasks: those of extensions are not extended
        self.extensions = extensions.by_kind(self, self.use.get("extensions") or ())
        self.list("/do", self.definition["do"])
        functions: Mapping[str, Any] = {**(self.use.get("functions") or {}), **self.bound.functions}
        loose = self.loose
        for name, function in functions.items():
            # A function from elsewhere is a document of its own: its text means what it was judged by.
            self.loose = loose and name not in self.bound.functions
            self.home = name if name in self.bound.functions and REMOTE.match(name) else ""
            pointer = f"{FUNCTIONS}{escape(name)}"
            task = self.task(pointer, name, function, {})
            self.lists[pointer] = TaskList(pointer, (task,))

    def body(self, kind: str, pointer: str, definition: Mapping[str, Any], places: Places) -> Body:
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
