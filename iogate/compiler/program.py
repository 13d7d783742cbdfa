"""Program of a workflow: its definition as the engine executes it, with tasks by pointer and names resolved.

`load` is called by workers, once per digest; `read` by the compiler, whose checks take the index as well.
Invariants: immutable, pure, and complete: what a definition names is in the program or is marked as missing,
and raises the standard's configuration error when it is reached.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from iogate.compiler import resolved_references
from iogate.compiler.reader.definition import DefinitionReader
from iogate.compiler.reader.index import Index
from iogate.compiler.resolved_references import References
from iogate.compiler.tasks import FUNCTIONS, Flow, For, Link, Task, TaskList, Timeout
from iogate.json_pointer import escape
from iogate.json_values import JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    definition: JsonObject
    """The document, as `$workflow.definition` shows it."""
    flow: Flow
    timeout: Timeout | None = None
    tasks: Mapping[str, Task] = field(default_factory=dict)
    """Every task by its static pointer; those of functions under `/use/functions/NAME`."""
    lists: Mapping[str, TaskList] = field(default_factory=dict)
    """Every list of tasks by its static pointer; `/do` is the workflow's."""
    secrets: tuple[str, ...] = ()
    """Names that `use.secrets` declares."""
    foreign: JsonObject = field(default_factory=dict)
    """Definitions of external functions, by their pointers: `/use/functions/NAME`."""
    variables: JsonObject | None = None
    """Values of `$runtime.vars`; None: no expression of the workflow reads them."""
    links: Mapping[str, Link] = field(default_factory=dict)
    """Links that people may use, by name."""
    parallel: bool = False
    """Whether it has a loop that runs several iterations at once."""

    @property
    def name(self) -> str:
        document = self.definition["document"]
        return f"{document['namespace']}/{document['name']}:{document['version']}"


def load(definition: JsonObject, resources: JsonObject | None = None) -> Program:
    """Return the program of a valid definition in JSON with its resolved references, for workers.

    `resources` holds the decoded JSON documents that it names, by absolute URI. What `schedules.standing`
    made gives the program of a standing run.
    """
    if "do" not in definition:  # each document has it
        return load_standing(definition["standing"], resources)
    reader = _reader(definition, resources)
    reader.read()
    return _program(reader)


def load_standing(definition: JsonObject, resources: JsonObject | None = None) -> Program:
    """Return the program of the standing run behind `schedule.on`, with only its listening task."""
    reader = _reader(definition, resources)
    reader.read_standing()
    return _program(reader)


def read(definition: JsonObject) -> tuple[Program, Index]:
    """Return the program of a valid definition as the author wrote it, and the index of its elements."""
    reader = DefinitionReader(definition, {}, References())
    reader.read()
    return _program(reader), reader.index


def _reader(definition: JsonObject, resources: JsonObject | None) -> DefinitionReader:
    plain, resolved = resolved_references.split(definition)
    return DefinitionReader(plain, resources or {}, resolved)


def _program(reader: DefinitionReader) -> Program:
    foreign = reader.references.functions
    return Program(
        definition=reader.definition,
        flow=reader.flow,
        timeout=reader.workflow_timeout,
        tasks=reader.tasks,
        lists=reader.lists,
        secrets=tuple(reader.use.get("secrets") or ()),
        foreign={f"{FUNCTIONS}{escape(name)}": function for name, function in foreign.items()},
        variables=reader.references.variables,
        links=reader.links,
        parallel=any(isinstance(task.body, For) and task.body.parallel for task in reader.tasks.values()),
    )
