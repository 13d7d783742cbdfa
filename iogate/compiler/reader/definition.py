"""Reader of a whole definition: its `use`, its tasks and their bodies. Called by `program`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from iogate.compiler.expression_scope import BEFORE, INSIDE, WORKFLOW_INPUT, WORKFLOW_OUTPUT
from iogate.compiler.reader import calls, control, events, processes
from iogate.compiler.reader.data_flow import PLAIN, flow
from iogate.compiler.reader.endpoints import policy, resource
from iogate.compiler.reader.index import Listing, Place
from iogate.compiler.reader.links import links
from iogate.compiler.reader.reader import EMPTY, Positions, Reader
from iogate.compiler.resources.document_addresses import REMOTE
from iogate.compiler.tasks import (
    FUNCTIONS,
    Body,
    Do,
    Extension,
    Flow,
    Link,
    Set,
    Task,
    TaskList,
    Timeout,
    Unsupported,
    Wait,
)
from iogate.documents.task_kinds import extended_kinds, kind_of
from iogate.json_pointer import escape, join
from iogate.json_values import JsonObject

_ALONE: Final[Positions] = {}
"""Positions for a task that no other one follows."""


class DefinitionReader(Reader):
    """Reader that knows the family of each kind of task."""

    flow: Flow = PLAIN
    workflow_timeout: Timeout | None = None
    links: Mapping[str, Link] = EMPTY

    def read(self) -> None:
        """Read the whole definition of a workflow: `use`, data flow, timeout, links and tasks.

        The strategy of its schedule is read for the index alone: `read_standing` makes a program of it.
        """
        self._read_use()
        place = Place(())
        self.flow = flow(self, place, self.definition, WORKFLOW_INPUT, WORKFLOW_OUTPUT)
        self.workflow_timeout = self.timeout(place, self.definition, WORKFLOW_INPUT)
        self.links = links(self)
        self._read_tasks()
        schedule: JsonObject = self.definition.get("schedule") or EMPTY
        if "on" in schedule:
            events.strategy(self, Place(("schedule", "on")), schedule["on"])

    def read_standing(self) -> None:
        """Read the definition of the standing run behind `schedule.on`.

        One task, `/do/0/on`, which never ends: whenever its strategy is met, it starts the workflow
        itself, not awaited, with the array of events as input.
        """
        schedule = self.definition["schedule"]
        task = Task(
            pointer="/do/0/on",
            location=("schedule", "on"),
            name="on",
            kind="listen",
            definition=schedule,
            condition=None,
            flow=PLAIN,
            plain=True,
            then="continue",
            body=events.listen_of_schedule(self, Place(("schedule",)), schedule),
        )
        self.tasks[task.pointer] = task
        self.lists["/do"] = TaskList("/do", (task,))

    def _read_tasks(self) -> None:
        self.list(Place(("do",)), "/do", self.definition["do"])
        functions: JsonObject = {**(self.use.get("functions") or EMPTY), **self.references.functions}
        loose = self.loose
        for name, source in functions.items():
            # A fetched function is a document of its own, with the mode that it was checked in.
            fetched = name in self.references.functions
            self.loose = loose and not fetched
            self.home = name if fetched and REMOTE.match(name) else ""
            pointer = f"{FUNCTIONS}{escape(name)}"
            task = self._task(Place(("use", "functions", name)), pointer, name, source, _ALONE)
            self.index.listings.append(Listing(pointer=("use", "functions"), tasks=(task,), sequential=False))
            self.lists[pointer] = TaskList(pointer, (task,))

    def _read_use(self) -> None:
        """Read `use`, extensions before all other tasks: their own tasks are not extended."""
        for name, source in self._section("authentications"):
            at = Place(("use", "authentications", name))
            self.note(at, source)
            policy(self, at, source)
        for name, source in self._section("errors"):
            self.note(Place(("use", "errors", name)), source)
        for name, source in self._section("timeouts"):
            self.inline_timeout(Place(("use", "timeouts", name)), source, INSIDE)
        for name, source in self._section("retries"):
            at = Place(("use", "retries", name)).declaring("error")
            self.retries[name] = control.inline_retry(self, at, source)
        for name, source in self._section("catalogs"):
            resource(self, "catalog", Place(("use", "catalogs", name)), source)
        for index, entry in enumerate(self.use.get("extensions") or ()):
            for name, source in entry.items():
                extension = self._extension(Place(("use", "extensions", index, name)), name, source)
                for kind in extended_kinds(source["extend"]):
                    self.extensions[kind] = (*self.extensions.get(kind, ()), extension)

    def _section(self, name: str) -> Sequence[tuple[str, JsonObject]]:
        return tuple((self.use.get(name) or EMPTY).items())

    def _extension(self, place: Place, name: str, source: JsonObject) -> Extension:
        pointer = join(place.pointer)
        before, after = (
            self.optional_list(place.at(moment), f"{pointer}/{moment}", source.get(moment))
            for moment in ("before", "after")
        )
        return Extension(
            name, self.optional_expression(place.at("when"), source.get("when"), BEFORE), before, after
        )

    def list(self, place: Place, pointer: str, entries: Sequence[JsonObject]) -> TaskList:
        named = [
            (index, name, source) for index, entry in enumerate(entries) for name, source in entry.items()
        ]
        positions = {name: index for index, name, _ in named}
        tasks = tuple(
            self._task(place.at(index, name), f"{pointer}/{index}/{escape(name)}", name, source, positions)
            for index, name, source in named
        )
        self.index.listings.append(Listing(pointer=place.pointer, tasks=tasks))
        self.lists[pointer] = made = TaskList(pointer, tasks)
        return made

    def branches(self, place: Place, pointer: str, entries: Sequence[JsonObject]) -> tuple[TaskList, ...]:
        made = []
        for index, entry in enumerate(entries):
            ((name, source),) = entry.items()
            at = f"{pointer}/{index}"
            task = self._task(place.at(index, name), f"{at}/{escape(name)}", name, source, _ALONE)
            self.lists[at] = branch = TaskList(at, (task,))
            made.append(branch)
        tasks = tuple(task for branch in made for task in branch.tasks)
        self.index.listings.append(Listing(pointer=place.pointer, tasks=tasks, sequential=False))
        return tuple(made)

    def _task(self, place: Place, pointer: str, name: str, source: JsonObject, positions: Positions) -> Task:
        kind = kind_of(source)
        data = flow(self, place, source)
        metadata: JsonObject = source.get("metadata") or EMPTY
        task = Task(
            pointer=pointer,
            location=place.pointer,
            name=name,
            kind=kind,
            definition=source,
            condition=self.optional_expression(place.at("if"), source.get("if"), BEFORE),
            flow=data,
            plain=data is PLAIN,
            then=self.target(place.at("then"), source.get("then"), positions),
            body=self._body(kind, place, pointer, source, positions),
            timeout=self.timeout(place, source, INSIDE),
            at_most_once=(metadata.get("iogate") or EMPTY).get("atMostOnce") is True,
            extensions=self.extensions.get(kind, ()),
        )
        self.tasks[pointer] = task
        self.index.tasks.append(task)
        return task

    def _body(self, kind: str, place: Place, pointer: str, source: JsonObject, positions: Positions) -> Body:
        inner = place.at(kind)
        match kind:
            case "do":
                return Do(self.list(inner, f"{pointer}/do", source["do"]))
            case "set":
                return Set(self.expression(inner, source["set"]))
            case "switch":
                return control.switch(self, inner, source["switch"], positions)
            case "for":
                return control.loop(self, place, pointer, source)
            case "try":
                return control.attempt(self, place, pointer, source, positions)
            case "fork":
                return control.fork(self, inner, pointer, source["fork"])
            case "raise":
                return control.error(self, inner.at("error"), source["raise"]["error"])
            case "wait":
                self.note(inner, source["wait"])
                return Wait(self.duration(inner, source["wait"]))
            case "call":
                return calls.call(self, place, pointer, source)
            case "emit":
                return events.emit(self, inner, source["emit"])
            case "listen":
                return events.listen(self, place, pointer, source)
            case "run" if "workflow" in source["run"]:
                return events.child(self, inner, source["run"])
            case "run":
                return processes.process(self, inner, source["run"])
            case _:
                return Unsupported(kind or "a task without a keyword")
