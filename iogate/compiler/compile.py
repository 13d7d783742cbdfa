"""Compilation of all documents to one revision, or to problems with their places.

Called by validate, apply, run, up and test. Equal files give an equal digest, whatever their order;
the only reading beyond the documents is of the resources that they name, through `read`.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import msgspec

from iogate.auth.stored import stored
from iogate.compiler import features, schedules
from iogate.compiler.broken_files import BrokenFiles
from iogate.compiler.call_rules import (
    compile_coalesce,
    compile_files,
    compile_idempotency,
    compile_limits,
)
from iogate.compiler.checked_definition import Definition
from iogate.compiler.checked_definition import read as read_definition
from iogate.compiler.checks import (
    authentications,
    calls,
    debug_cases,
    event_filters,
    expressions,
    flow_directives,
    functions,
    inputs,
    links,
    literal_durations,
    local_files,
    missing_braces,
    names,
    origins,
    parallel,
    probable_mistakes,
    processes,
    references,
    repetition,
    retention,
    routes,
    run_ends,
    runtime_variables,
    schedule,
    schemas,
    signatures,
    timeouts,
    variable_names,
)
from iogate.compiler.diagnostics import CheckContext, Document, Purpose
from iogate.compiler.examples.case_examples import examples_of
from iogate.compiler.resources import document_collector
from iogate.compiler.resources.document_sources import MAX_BYTES, Fetch, Sources
from iogate.compiler.revision import (
    RETENTION_S,
    Api,
    Bundle,
    Revision,
    Workflow,
    canonical,
    digest_of,
)
from iogate.compiler.variables import embed
from iogate.compiler.workflows import Workflows, children
from iogate.documents import ApiDocument, Documents, WorkflowDocument
from iogate.documents.api import Method
from iogate.documents.problems import Problem, in_order
from iogate.documents.yaml.project_files import FOLDERS
from iogate.functions import Registry
from iogate.json_pointer import Pointer
from iogate.json_values import JsonObject
from iogate.settings import Settings


class _Check(Protocol):
    def __call__(self, definition: Definition, context: CheckContext, /) -> Iterator[Problem]: ...


WORKFLOW_CHECKS: tuple[_Check, ...] = (
    features.check,
    names.check,
    flow_directives.check,
    references.check,
    expressions.check,
    functions.check,
    calls.check,
    authentications.check,
    processes.check,
    schemas.check,
    schedule.check,
    variable_names.check,
    parallel.check,
    repetition.check,
    runtime_variables.check,
    literal_durations.check,
    probable_mistakes.check,
    missing_braces.check,
    event_filters.check,
    links.check,
    origins.check,
)

REFUSED = frozenset({processes.CODE, processes.UNLISTED, *(feature.code for feature in features.FEATURES)})
"""Codes of what is valid and nevertheless refused; `validate --allow-unsupported` only warns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    bundle: Bundle | None
    """None where a problem is an error."""
    problems: tuple[Problem, ...]
    """Those of reading and of compiling, in the order of files and lines."""
    processes: tuple[processes.ProcessTask, ...] = ()
    """Tasks of valid workflows that start processes, whether or not they are allowed."""
    definitions: Mapping[str, Definition] = field(default_factory=dict)
    """Definitions of the valid workflows, by `namespace/name:version`."""

    @property
    def errors(self) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if problem.severity == "error")


def compile_documents(
    documents: Documents,
    settings: Settings,
    *,
    root: Path,
    purpose: Purpose = "apply",
    functions: Registry | None = None,
    partial: bool = False,
    fetch: Fetch | None = None,
    allow_unsupported: bool = False,
) -> Compiled:
    """Check the documents of a project and compile them to one revision, or return the problems.

    `fetch` gets what they name by URL; without it `validate` says nothing of such documents, and any other
    purpose refuses them. `partial` says that these are only some files of a project, so a workflow that is
    not among them is no error. `allow_unsupported` makes warnings of the errors about what this release does
    not execute or the settings do not allow.
    """
    context = CheckContext(
        settings=settings,
        purpose=purpose,
        functions=functions,
        unsupported="warning" if allow_unsupported else "error",
    )
    return _Compiler(documents, context, root, partial=partial, fetch=fetch).compile()


class _Compiler:
    def __init__(
        self,
        documents: Documents,
        context: CheckContext,
        root: Path,
        *,
        partial: bool,
        fetch: Fetch | None,
    ) -> None:
        self.documents = documents
        self.context = context
        self.root = root.resolve()
        self.partial = partial
        self.problems: list[Problem] = list(documents.problems)
        self.workflows = Workflows(documents.workflows)
        self.problems.extend(self.workflows.problems)
        self.broken = BrokenFiles(documents)
        self.taken = document_collector.Taken()
        self.sources = Sources(self._read, fetch, needed=context.purpose != "validate")
        self._read_definitions: dict[WorkflowDocument, Definition] = {}
        self.definitions: dict[str, Definition] = {}
        """By `namespace/name:version`."""
        self.programs: dict[str, JsonObject] = {}
        """Definitions with their references resolved, as they are stored, by the same names."""
        self.routes = routes.Routes()
        self.unlimited: list[timeouts.Unlimited] = []

    def compile(self) -> Compiled:
        workflows = self._workflows()
        for workflow, source in self.workflows:
            self.problems += debug_cases.check_schedule(source, self.definitions[workflow], self._definition)
        apis: dict[str, Api] = {}
        for document in self.documents.apis:
            self.problems.extend(local_files.check(document, self._exists))
            for name, method in document.model.methods.items():
                api = self._api(document, name, method, workflows)
                if api is not None:
                    apis[api.id] = api
        self.problems.extend(timeouts.problems(self.unlimited))
        self.problems.extend(self._problems_of_placeholders(workflows))
        problems, started = in_order(self.problems), tuple(self.taken.processes)
        if any(problem.severity == "error" for problem in problems):
            return Compiled(bundle=None, problems=problems, processes=started, definitions=self.definitions)
        programs = {workflow.program: program for workflow, program in workflows.values()}
        revision = Revision(
            apis=apis,
            workflows={
                name: self._scheduled(name, workflow, programs) for name, (workflow, _) in workflows.items()
            },
            resources=self.taken.uris,
        )
        return Compiled(
            bundle=Bundle(
                revision=revision,
                programs=programs,
                contents=self.taken.contents,
            ),
            problems=problems,
            processes=started,
            definitions=self.definitions,
        )

    def _problems_of_placeholders(self, workflows: Mapping[str, tuple[Workflow, bytes]]) -> list[Problem]:
        """Compile placeholders, the valid parts of invalid documents, and return their errors.

        Other warnings wait until they do: what a left out task would have used looks unused.
        """
        before, self.problems = self.problems, []
        for document in self.documents.placeholders:
            if isinstance(document, ApiDocument):
                for name, method in document.model.methods.items():
                    self._api(document, name, method, workflows)
            else:
                definition = self._check(document)
                # Of files alone: a document that is not compiled is no reason to ask the network.
                local = Sources(self._read, None, needed=False)
                taken = document_collector.Taken()
                self.problems += document_collector.take(
                    definition, local, taken, self._problems_of, self.context
                )[1]
        found, self.problems = self.problems, before
        return [problem for problem in found if problem.severity == "error" or problem.code in REFUSED]

    def _workflows(self) -> dict[str, tuple[Workflow, bytes]]:
        expressions.prove(map(self._read_once, self.documents.workflows))
        for document in self.documents.workflows:
            self._check(document)
        compiled: dict[str, tuple[Workflow, bytes]] = {}
        for name, document in self.workflows:
            newest = self.workflows.resolve(name.partition(":")[0])
            if newest is not None:
                self.problems.extend(schedule.replaced(document, name, newest))
            self.definitions[name] = definition = self._read_once(document)
            program, problems = document_collector.take(
                definition,
                self.sources,
                self.taken,
                self._problems_of,
                self.context,
            )
            self.problems.extend(problems)
            program = embed(schedules.without_cases(program), self.context.settings.vars)
            self.programs[name] = program
            head = program["document"]
            compiled[name] = (
                Workflow(
                    program=digest_of(program),
                    title=head.get("title") or "",
                    summary=head.get("summary") or "",
                    source=document.path,
                ),
                # As the author wrote it: the members of a result keep their order. The digest is of the
                # canonical form, which two files that differ in order alone share.
                msgspec.json.encode(program),
            )
        return compiled

    def _check(self, document: WorkflowDocument) -> Definition:
        definition = self._read_once(document)
        self.problems.extend(self._problems_of(definition))
        for task, child in children(definition):
            pointer = (*task.location, "run", "workflow", "name")
            resolved = self._workflow_of(document, pointer, child.reference)
            if resolved is not None:
                other = self._read_once(self.workflows.document(resolved))
                self.problems.extend(inputs.check(definition, task, child, other))
        return definition

    def _scheduled(self, name: str, workflow: Workflow, programs: dict[str, bytes]) -> Workflow:
        """Compile the schedule of a workflow and add it; also the program of a standing run."""
        definition = self.programs[name]
        if not definition.get("schedule") or self.workflows.resolve(name.partition(":")[0]) != name:
            return workflow
        program = workflow.program
        if "on" in definition["schedule"]:
            stands = schedules.standing(definition)
            program = digest_of(stands)
            programs[program] = canonical(stands)
        return msgspec.structs.replace(workflow, schedule=schedules.compiled(definition, program))

    def _api(
        self,
        document: ApiDocument,
        name: str,
        method: Method,
        workflows: Mapping[str, tuple[Workflow, bytes]],
    ) -> Api | None:
        identity = f"{document.model.module}/{name}"
        at: Pointer = ("methods", name)
        self.problems.extend(self.routes.enter(identity, document, at, method.path))
        resolved = self._workflow_of(document, (*at, "workflow"), method.workflow)
        definition = None if resolved is None else self.definitions[resolved]
        self.problems += debug_cases.check(document, at, method, definition, self._exists, self._definition)
        self.problems.extend(retention.check(document, at, method))
        self.problems.extend(signatures.check(document, at, method))
        if definition is not None and not timeouts.is_limited(method, definition):
            self.unlimited.append(
                timeouts.Unlimited(document=document, pointer=at, identity=identity, definition=definition)
            )
        input_ = method.input
        given = input_.schema_ if input_ is not None else None
        if given is not None:
            self.problems.extend(schemas.problems(document, (*at, "input", "schema"), given))
        schema = given if given is not None or resolved is None else self._input_schema(resolved)
        assert method.auth is not None  # a document without is not handed over
        if resolved is None:
            return None
        handler, problems = run_ends.fault_handler(
            document, at, method, self._workflow_of, self.definitions, workflows
        )
        self.problems.extend(problems)
        return Api(
            id=identity,
            description=method.description or "",
            verbs=tuple(sorted(method.verbs or ("POST",))),
            path=method.path or msgspec.UNSET,
            mode="sync" if method.mode == "sync" else msgspec.UNSET,
            workflow=resolved,
            program=workflows[resolved][0].program,
            enabled=method.enabled,
            auth=stored(method.auth, place=identity),
            input_from=input_.from_ if input_ is not None else "body",
            input_schema=schema,
            files=compile_files(input_),
            raw=True if input_ is not None and input_.raw else msgspec.UNSET,
            limits=compile_limits(method.limits),
            idempotency=compile_idempotency(method.idempotency),
            coalesce=compile_coalesce(method.coalesce),
            attributes=dict(method.attributes) if method.attributes else msgspec.UNSET,
            timeout_s=method.timeout,
            retention_s=method.retention if method.retention is not None else RETENTION_S,
            record=msgspec.UNSET if method.record is None or method.record == "errors" else method.record,
            allow_ips=msgspec.UNSET if method.allow_ips is None else method.allow_ips,
            examples=examples_of(method),
            callback=run_ends.callback(method),
            on_fault=handler,
            protect=bool(method.protect),
            tags=tuple(method.tags or ()),
            metadata=method.metadata or {},
            source=document.path,
        )

    def _read_once(self, document: WorkflowDocument) -> Definition:
        if document not in self._read_definitions:
            self._read_definitions[document] = read_definition(document)
        return self._read_definitions[document]

    def _problems_of(self, definition: Definition) -> Iterator[Problem]:
        for check in WORKFLOW_CHECKS:
            yield from check(definition, self.context)

    def _workflow_of(self, document: Document, pointer: Pointer, reference: str) -> str | None:
        resolved = self.workflows.resolve(reference)
        # Who runs a file gave all the workflows that it needs.
        runs = self.context.purpose == "run" and isinstance(document, WorkflowDocument)
        if resolved is None and (runs or not self.partial) and not self.broken.may_hold(reference):
            self.problems.append(self.workflows.unknown(document, pointer, reference))
        return resolved

    def _input_schema(self, workflow: str) -> Any:
        """Return the schema of a workflow's input for the compilation of its APIs, wherever it was read."""
        return ((self.programs[workflow].get("input") or {}).get("schema") or {}).get("document")

    def _definition(self, reference: str) -> Definition | None:
        return self.definitions.get(self.workflows.resolve(reference) or "")

    def _read(self, folder: str, path: str) -> bytes:
        bounds = self.root / folder
        file = (bounds / path).resolve()
        # The two folders may be links, to a checkout for example; no other link leads out.
        within = [bounds, *(self.root / each for each in FOLDERS if not folder)]
        if not any(file.is_relative_to(each.resolve()) for each in within):
            raise PermissionError(errno.EPERM, "a link leads out of the project", path)
        with file.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)

    def _exists(self, path: str) -> bool:
        return (self.root / path).is_file()
