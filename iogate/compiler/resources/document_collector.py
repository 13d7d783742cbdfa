"""Collector of the documents that workflows name, for the revision: workers need no checkout and no network.

Called by compile. A script's content is kept beside the programs, under a URI that carries its digest, so
that a run pinned to a program is pinned to the script as well; a schema becomes part of the program, and
so do, beside the definition, the OpenAPI operations that it calls and the functions of catalogs and URLs.
Such a function is a document of its own: it sees nothing of the `use` of the workflow that calls it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any, Final

from iogate import json_pointer
from iogate.compiler import variables
from iogate.compiler.checked_definition import Definition
from iogate.compiler.checked_definition import read as read_definition
from iogate.compiler.checks import openapi_parameters, origins, processes, schemas
from iogate.compiler.checks.expressions import expressions
from iogate.compiler.checks.functions import literals as check_literals
from iogate.compiler.diagnostics import CheckContext, Document, did_you_mean, problem_at
from iogate.compiler.openapi import Unusable, find
from iogate.compiler.reader.index import Located, Resource
from iogate.compiler.resolved_references import References, join
from iogate.compiler.resources.document_sources import (
    Origin,
    Place,
    Sources,
    Unreadable,
    code_of,
    locate,
    origin_of,
    plain_data,
)
from iogate.compiler.resources.function_addresses import function_of
from iogate.compiler.revision import resource_uri
from iogate.compiler.tasks import Container, Function, OpenApi, Process, Task, Unresolved
from iogate.documents.catalog_function import read_function
from iogate.documents.problems import Problem
from iogate.expressions.templates import plain_text
from iogate.json_pointer import Pointer
from iogate.json_values import JsonObject
from iogate.settings.permissions import allowed_digests, lists_digests

Check = Callable[[Definition], Iterable[Problem]]
"""All checks of workflows, for the functions that are found."""

_SECRETS = re.compile(r"\$secrets\b")

MAX_FUNCTIONS: Final = 100
"""External functions of one workflow: each may name others, and a server can make up names without end."""


@dataclass(slots=True)
class Taken:
    """Documents read so far, over all workflows."""

    uris: dict[str, str] = field(default_factory=dict)
    """URI to digest."""
    contents: dict[str, bytes] = field(default_factory=dict)
    """Digest to content."""
    processes: list[processes.ProcessTask] = field(default_factory=list)

    def keep(self, name: str, content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        uri = resource_uri(name, digest)
        self.uris[uri] = digest
        self.contents[digest] = content
        return uri


def take(
    definition: Definition, sources: Sources, taken: Taken, check: Check, context: CheckContext
) -> tuple[dict[str, Any], list[Problem]]:
    """Collect the documents of a workflow: return its program with references resolved, and the problems.

    The settings of the context say which functions may run processes and workflows, and which processes.
    """
    collector = _Collector(definition, sources, taken, check, context)
    program = collector.visit(definition, origin_of(definition.document.path), None)
    return join(program, collector.references), collector.problems


class _Collector:
    """One workflow with all functions that it calls, and those that they call."""

    def __init__(
        self, definition: Definition, sources: Sources, taken: Taken, check: Check, context: CheckContext
    ) -> None:
        self.context = context
        self.workflow = definition.program.name
        self.document = definition.document
        self.sources = sources
        self.taken = taken
        self.check = check
        self.references = References()
        self.problems: list[Problem] = []

    def visit(self, definition: Definition, origin: Origin, caller: Pointer | None) -> dict[str, Any]:
        """Collect the documents that a definition names; `caller` is the call that led to a function."""
        document = definition.document
        included = list(definition.index.resources_of("script", "schema"))
        # Only what is included changes the copy; most documents include nothing.
        made = deepcopy(dict(document.data)) if included else dict(document.data)
        for resource in included:
            with self._reporting(document, caller, (*resource.pointer, "endpoint")):
                self._include(made, definition, caller, resource, origin)
        openapi = {each.pointer: each.element for each in definition.index.resources_of("openapi")}
        for task in definition.index.tasks:
            if isinstance(body := task.body, OpenApi):
                at = (*task.location, "with", "document")
                with self._reporting(document, caller, (*at, "endpoint")):
                    self._operation(definition, caller, task, body, openapi[at], origin)
            elif isinstance(body, Unresolved | Function):
                with self._reporting(document, caller, (*task.location, "call")):
                    self._function(document, caller, task, body, origin)
            elif isinstance(body, Process | Container):
                self._process(made, document, caller, task)
        return made

    def _process(self, made: dict[str, Any], document: Document, caller: Pointer | None, task: Task) -> None:
        """Record the process of a task in a collected document; report it if `allow_run` lacks its digest."""
        digest = processes.process_digest(
            json_pointer.value_at(made, (*task.location, "run")), loose=processes.is_loose(task)
        )
        if digest is None:  # a script that could not be read, which is another problem
            return
        kind, allow_run = processes.kind_of(task), self.context.settings.allow_run
        digests = allowed_digests(allow_run, kind)
        allowed = digests is None or digest in digests
        place = f"{document.path}:{document.at(task.location, key=True).line}"
        noted = processes.ProcessTask(
            kind=kind,
            digest=digest,
            workflow=self.workflow,
            task=task.name,
            place=place,
            allowed=allowed,
        )
        self.taken.processes.append(noted)
        if allowed or not lists_digests(allow_run, kind) or self.context.purpose == "run":
            return
        message, severity = processes.message(task, kind, digest), self.context.unsupported
        # Of a function, the problem is reported where the workflow leads to it: the setting is the project's.
        at = (*task.location, "run", kind) if caller is None else caller
        self.problems.append(
            problem_at(
                self.document,
                at,
                processes.UNLISTED,
                message if caller is None else f"{place}: {message}",
                key=caller is None,
                hint=processes.hint(kind),
                severity=severity,
            )
        )

    @contextmanager
    def _reporting(self, document: Document, caller: Pointer | None, at: Pointer) -> Iterator[None]:
        """Report a document to collect that cannot be read, at the pointer that names it."""
        try:
            yield
        except Unreadable as unreadable:
            problem = problem_at(document, at, unreadable.code, unreadable.reason, hint=unreadable.hint)
            self._report(problem, caller)

    def _report(self, problem: Problem, caller: Pointer | None) -> None:
        """Add a problem; that of a collected function is reported where the workflow leads to it."""
        if caller is None:
            self.problems.append(problem)
        elif problem.severity == "error":
            place = f"{problem.path}:{problem.line}:{problem.column}"
            message = f"{place}: {problem.message} ({problem.code})"
            self.problems.append(problem_at(self.document, caller, "IOG309", message, hint=problem.hint))

    def _include(
        self,
        made: dict[str, Any],
        definition: Definition,
        caller: Pointer | None,
        resource: Located[Resource],
        origin: Origin,
    ) -> None:
        """Put a collected document into the program that names it: a script's URI, or a schema itself."""
        place, policy = self._locate(resource.element, definition.document, origin, caller)
        if place is None or not self.sources.reaches(place):
            return
        holder = json_pointer.value_at(made, resource.pointer[:-1])
        text = self.sources.text(place, policy)
        if resource.element.kind == "script":
            holder["source"] = {"endpoint": self.taken.keep(place.name, text.encode())}
            return
        schema = plain_data(text, place.name, code=code_of(place))
        invalid = schemas.first_error(schema)
        if invalid is not None:
            path, why = invalid
            where = "/".join(map(str, path))
            raise Unreadable(
                "IOG304", f"{place.name} is not a JSON Schema: {why}" + (f" (at {where})" if where else "")
            )
        del holder["resource"]
        holder["document"] = schema

    def _operation(
        self,
        definition: Definition,
        caller: Pointer | None,
        task: Task,
        body: OpenApi,
        resource: Resource,
        origin: Origin,
    ) -> None:
        """Collect the operation of a call; keep the OpenAPI document if only a run knows the operation."""
        document = definition.document
        place, policy = self._locate(resource, document, origin, caller)
        if place is None or not self.sources.reaches(place):
            return
        text, name = self.sources.text(place, policy), plain_text(body.name)
        data = plain_data(text, place.name, code=code_of(place))
        if name is None:
            self.references.documents[task.pointer] = self.taken.keep(place.name, text.encode())
            if place.foreign:
                self.references.foreign.append(task.pointer)
            return
        try:
            operation = find(data, name, url=place.url or None)
            operation = replace(operation, foreign=operation.foreign or place.foreign)
        except Unusable as why:
            at = (*task.location, "with", "operationId")
            message = f"{place.name}: {why.reason}"
            self._report(
                problem_at(document, at, "IOG308", message, hint=did_you_mean(why.near or None)), caller
            )
            return
        for problem in openapi_parameters.check(document, task, body, operation):
            self._report(problem, caller)
        self.references.operations[task.pointer] = operation

    def _function(
        self,
        document: Document,
        caller: Pointer | None,
        task: Task,
        body: Unresolved | Function,
        origin: Origin,
    ) -> None:
        """Collect and check, once, the function of a catalog or URL that a call names."""
        found = function_of(body.call, document.data.get("use") or {}, origin)
        if found is None or not self.sources.reaches(found[0]):
            return
        place, authentication = found
        functions = self.references.functions
        self.references.calls[task.pointer] = place.name
        if place.name not in functions:
            if len(functions) == MAX_FUNCTIONS:
                raise Unreadable(
                    "IOG309",
                    f"the workflow has {MAX_FUNCTIONS} external functions already, with those they call",
                )
            functions[place.name] = None  # being read: functions may call one another
            at = (*task.location, "call") if caller is None else caller
            if (function := self._fetch_function(document, place, authentication, at)) is None:
                return
            inner = self.visit(function, place.origin, at)
            functions[place.name] = inner["use"]["functions"][place.name]
        schema = ((functions[place.name] or {}).get("input") or {}).get("schema") or {}
        for problem in check_literals(document, task, body.arguments, schema.get("document")):
            self._report(problem, caller)

    def _fetch_function(
        self, document: Document, place: Place, authentication: Any, at: Pointer
    ) -> Definition | None:
        """Fetch and check an external function to collect; return None if it is invalid."""
        text = self.sources.text(place, _policy(authentication, document.data))
        read, problems = read_function(text, place.name, place.name)
        for problem in problems:
            self._report(problem, at)
        if read is None:
            return None
        function = read_definition(read)
        for problem in (*self.check(function), *_secrets(function), *_variables(function)):
            self._report(problem, at)
        for problem in (
            origins.unpermitted(function, place.url, self.context.settings.function_origins)
            if place.url
            else ()
        ):
            # Not as one in the function: the setting that permits it is the project's.
            self.problems.append(
                problem_at(self.document, at, problem.code, problem.message, hint=problem.hint)
            )
        return function

    def _locate(
        self, resource: Resource, document: Document, origin: Origin, caller: Pointer | None
    ) -> tuple[Place | None, JsonObject | None]:
        policy = _policy(resource.authentication, document.data)
        if caller is not None and _may_need_secrets(policy):
            raise Unreadable("IOG309", "an external function presents no secrets where it fetches from")
        return locate(origin, resource.uri), policy


def _may_need_secrets(policy: object) -> bool:
    """Tell whether the policy for a document to collect has an expression or `use`, and may need secrets."""
    match policy:
        case str():
            return "${" in policy
        case Mapping():
            return "use" in policy or any(map(_may_need_secrets, policy.values()))
        case list() | tuple():
            return any(map(_may_need_secrets, policy))
    return False


def _policy(source: Any, definition: JsonObject) -> JsonObject | None:
    """Return the authentication policy for a document to collect, inline or by its name in `use`."""
    name = source.get("use") if isinstance(source, Mapping) else source
    if name is None:
        return source or None
    found = ((definition.get("use") or {}).get("authentications") or {}).get(name)
    return found if isinstance(found, Mapping) else None


def _secrets(function: Definition) -> Iterable[Problem]:
    """Report expressions on secrets in a collected function: its owner must not read those of its users."""
    document = function.document
    found = [each.pointer for each in expressions(function) if _SECRETS.search(each.text)]
    for pointer in dict.fromkeys([*found, *_naming_secrets(document.data, ())]):
        yield problem_at(
            document,
            pointer,
            "IOG309",
            'an external function cannot read $secrets; let its caller pass them in "with"',
        )


def _variables(function: Definition) -> Iterable[Problem]:
    """Report expressions on variables in a collected function: they are for the project's own workflows."""
    for found in expressions(function):
        if variables.reads(found.text).explicit:
            yield problem_at(
                function.document,
                found.pointer,
                "IOG309",
                'an external function cannot read $runtime.vars; let its caller pass them in "with"',
            )


def _naming_secrets(data: object, at: Pointer) -> Iterator[Pointer]:
    """Yield the texts of a collected function with an expression on secrets, wherever they stand."""
    match data:
        case str():
            if "${" in data and _SECRETS.search(data):
                yield at
        case Mapping():
            for name, member in data.items():
                yield from _naming_secrets(member, (*at, name))
        case list() | tuple():
            for place, member in enumerate(data):
                yield from _naming_secrets(member, (*at, place))
