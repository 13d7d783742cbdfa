"""Loads documents from files and folders: finds the files, detects their kind and collects all problems.

Called by the command line and the compiler's callers. One pass: every problem of every file is
collected, and no problem ends the reading of other files.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from iogate.documents.api import ApiModule
from iogate.documents.document_checks import check_api, check_workflow
from iogate.documents.dsl import Workflow
from iogate.documents.placeholders import make_api_placeholder, make_workflow_placeholder
from iogate.documents.problems import Problem, in_order
from iogate.documents.validation_messages import to_problems
from iogate.documents.yaml.project_files import name_in_project
from iogate.documents.yaml.project_reader import ProjectReader
from iogate.documents.yaml.reader import MAX_PROBLEMS, Reading, read_text
from iogate.messages import nearest, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from iogate.documents.validation_messages import Family
    from iogate.documents.yaml.nodes import Positions
    from iogate.documents.yaml.source import Source, Span
    from iogate.json_pointer import Pointer


@dataclass(frozen=True, kw_only=True, eq=False)
class _Positioned:
    path: str
    """Name of the file in problems: relative to the project, with forward slashes."""
    data: dict[str, Any]
    """The document as plain JSON values."""
    positions: Positions
    source: Source

    def at(self, pointer: Pointer, *, key: bool = False) -> Span:
        """Return the place of a value or key in a loaded document, else that of its nearest parent."""
        return self.positions.place(pointer, key=key)


@dataclass(frozen=True, kw_only=True, eq=False)
class ApiDocument(_Positioned):
    model: ApiModule


@dataclass(frozen=True, kw_only=True, eq=False)
class WorkflowDocument(_Positioned):
    model: Workflow


@dataclass(frozen=True, kw_only=True)
class Documents:
    """All valid documents of a project, placeholders for the invalid ones, and all problems."""

    apis: tuple[ApiDocument, ...] = ()
    workflows: tuple[WorkflowDocument, ...] = ()
    placeholders: tuple[ApiDocument | WorkflowDocument, ...] = ()
    """The valid parts of invalid documents, for checks only."""
    problems: tuple[Problem, ...] = ()
    sources: dict[str, Source] = field(default_factory=dict)

    @property
    def errors(self) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if problem.severity == "error")


def load(
    root: Path,
    paths: Sequence[Path] | None = None,
    edited: Mapping[str, str] | None = None,
    reader: ProjectReader | None = None,
) -> Documents:
    """Load the documents of a project's two folders, or of the files and folders given.

    `edited` has texts to read instead of files, by the names of these files in problems. `reader` reads these
    files already.
    """
    collected = _Collector(root)
    with reader or ProjectReader(root, paths, edited) as files:
        for reading in files.readings():
            collected.add(reading)
        for error in files.unreadable:
            collected.add_unreadable_folder(error)
    return collected.documents()


def load_text(text: str, path: str = "document.yaml") -> Documents:
    """Load one document from text, as if it were the file `path`."""
    collected = _Collector(Path())
    collected.add(read_text(text, path))
    return collected.documents()


def detect_family(data: Any) -> Family | None:
    """Detect, when loading a file, whether its content is an API document, a workflow, or neither."""
    if not isinstance(data, dict):
        return None
    if "document" in data and ("do" in data or "module" not in data):
        return "workflow"
    if "module" in data or "methods" in data:
        return "api"
    if "do" in data:
        return "workflow"
    return None


def unknown_family(reading: Reading) -> Problem:
    """Return the problem of a file to load that is no document."""
    message = "neither an API nor a workflow"
    hint = 'an API has "module" and "methods", a workflow "document" and "do"'
    span, data = reading.place(()), reading.data
    if isinstance(data, dict) and data:
        message += f": it starts with {quoted(next(iter(data)))}"
        key, meant = _nearest_key(data)
        if key is not None:
            span, hint = reading.place((key,), key=True), f'did you mean "{meant}"?'
    return Problem.at(span, path=reading.source.path, code="IOG135", message=message, hint=hint)


def _nearest_key(data: dict[str, Any]) -> tuple[str | None, str | None]:
    """Return a key that resembles one by which the loader tells kinds of documents apart, and that one."""
    for key in list(data)[:20]:
        found = nearest(key, ("module", "methods", "document", "do"))
        if found:
            return key, found
    return None, None


class _Collector:
    """Collector of the documents and problems of all files."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._apis: list[ApiDocument] = []
        self._workflows: list[WorkflowDocument] = []
        self._placeholders: list[ApiDocument | WorkflowDocument] = []
        self._problems: list[Problem] = []
        self._sources: dict[str, Source] = {}

    def add(self, reading: Reading) -> None:
        self._sources[reading.source.path] = reading.source
        problems = list(reading.problems)
        if reading.source.read:
            problems += self._validate(reading)
        self._problems += in_order(problems)[:MAX_PROBLEMS]

    def add_unreadable_folder(self, error: OSError) -> None:
        """Add, to the loaded documents, the problem of a folder that cannot be listed."""
        name = name_in_project(Path(str(error.filename)), self._root)
        message = f"cannot read the folder: {error.strerror or type(error).__name__}"
        self._problems.append(Problem(code="IOG134", message=message, path=name, line=1, column=1))

    def _validate(self, reading: Reading) -> Iterable[Problem]:
        """Validate a loaded document, add it or its placeholder, and return its problems."""
        family = detect_family(reading.data)
        if family is None:
            return [unknown_family(reading)]
        if family == "api":
            return self._api(reading)
        return self._workflow(reading)

    def _api(self, reading: Reading) -> list[Problem]:
        path, data, source = reading.source.path, reading.data, reading.source
        problems = list(check_api(data, reading, path))
        failure: ValidationError | None = None
        try:
            model = ApiModule.model_validate(data)
        except ValidationError as error:
            failure = error
            problems += to_problems(error, reading.tree(), path, "api")
        if failure is None and not any(each.severity == "error" for each in (*problems, *reading.problems)):
            self._apis.append(
                ApiDocument(path=path, data=data, positions=reading, source=source, model=model)
            )
        elif (placeholder := make_api_placeholder(data, failure, reading.tree())) is not None:
            data, model = placeholder
            self._placeholders.append(
                ApiDocument(path=path, data=data, positions=reading, source=source, model=model)
            )
        return problems

    def _workflow(self, reading: Reading) -> list[Problem]:
        path, data, source = reading.source.path, reading.data, reading.source
        problems = list(check_workflow(data, reading, path))
        try:
            model = Workflow.model_validate(data)
        except ValidationError as error:
            problems += to_problems(error, reading.tree(), path, "workflow")
            if (placeholder := make_workflow_placeholder(data, error, reading.tree())) is not None:
                data, model = placeholder
                self._placeholders.append(
                    WorkflowDocument(path=path, data=data, positions=reading, source=source, model=model)
                )
        else:
            read = self._placeholders if reading.problems else self._workflows
            read.append(WorkflowDocument(path=path, data=data, positions=reading, source=source, model=model))
        return problems

    def documents(self) -> Documents:
        return Documents(
            apis=tuple(self._apis),
            workflows=tuple(self._workflows),
            placeholders=tuple(self._placeholders),
            problems=in_order(self._problems),
            sources=self._sources,
        )
