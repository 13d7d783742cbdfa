"""Documents that workflows name, taken into the revision: workers need no checkout, and no network for them.

Called by compile. A script's content is kept beside the programs, under a URI that carries its digest, so
that a run pinned to a program is pinned to the script as well; a schema becomes part of the program, and
so do, beside the definition, the OpenAPI operations that it calls and the functions of catalogs and URLs.
Such a function is a document of its own: it sees nothing of the `use` of the workflow that calls it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any, Final

from iogate.compiler import features, outline
from iogate.compiler.bound import Bound, join
from iogate.compiler.checks import functions, operations, origins, schemas
from iogate.compiler.checks.expressions import expressions
from iogate.compiler.faults import Placed, did_you_mean, fault
from iogate.compiler.openapi import Unusable, find
from iogate.compiler.outline import Pointer
from iogate.compiler.resources.catalogs import function_of
from iogate.compiler.resources.sources import (
    Origin,
    Place,
    Sources,
    Unreadable,
    code_of,
    locate,
    origin_of,
    plain_data,
)
from iogate.compiler.revision import resource_uri
from iogate.documents.catalog_function import read_function
from iogate.documents.problems import Problem

Judge = Callable[[Placed], Iterable[Problem]]
"""Every check of workflows, for the functions that are found."""

_SECRETS = re.compile(r"\$secrets\b")

MAX_FUNCTIONS: Final = 100
"""Functions from elsewhere in one workflow: each may name others, and a server can make up names for ever."""


@dataclass(slots=True)
class Taken:
    """Documents read so far, over all workflows."""

    uris: dict[str, str] = field(default_factory=dict)
    """URI to digest."""
    contents: dict[str, bytes] = field(default_factory=dict)
    """Digest to content."""

    def keep(self, name: str, content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        uri = resource_uri(name, digest)
        self.uris[uri] = digest
        self.contents[digest] = content
        return uri


def take(
    document: Placed, sources: Sources, taken: Taken, judge: Judge, trusted: Sequence[str] = ()
) -> tuple[dict[str, Any], list[Problem]]:
    """Return the program with its references resolved, and the problems of those.

    `trusted` are the URL prefixes of functions that may run processes and workflows.
    """
    taking = _Taking(document, sources, taken, judge, trusted)
    definition = taking.visit(document, origin_of(document.path), None)
    return join(definition, taking.bound), taking.problems


class _Taking:
    """One workflow with all functions that it calls, and those that they call."""

    def __init__(
        self, document: Placed, sources: Sources, taken: Taken, judge: Judge, trusted: Sequence[str]
    ) -> None:
        self.trusted = trusted
        self.document = document
        self.sources = sources
        self.taken = taken
        self.judge = judge
        self.bound = Bound()
        self.problems: list[Problem] = []

    def visit(self, document: Placed, origin: Origin, caller: Pointer | None) -> dict[str, Any]:
        """Collect the documents that a document names; `caller` is the call that led to a function."""
        definition = deepcopy(dict(document.data))
        for pointer, resource in list(features.resources(document.data)):
            self._trying(
                document,
                caller,
                (*pointer, "endpoint"),
                self._bind,
                definition,
                caller,
                pointer,
                resource,
                origin,
            )
        for task in outline.tasks(document.data):
            call = task.data.get("call")
            if call == "openapi":
                self._trying(
                    document,
                    caller,
                    (*task.pointer, "with", "document", "endpoint"),
                    self._operation,
                    document,
                    caller,
                    task,
                    origin,
                )
            elif isinstance(call, str):
                self._trying(
                    document, caller, (*task.pointer, "call"), self._function, document, caller, task, origin
                )
        return definition

    def _trying(
        self, document: Placed, caller: Pointer | None, at: Pointer, step: Callable[..., None], *given: Any
    ) -> None:
        try:
            step(*given)
        except Unreadable as unreadable:
            problem = fault(document, at, unreadable.code, unreadable.reason, hint=unreadable.hint)
            self._tell(problem, caller)

    def _tell(self, problem: Problem, caller: Pointer | None) -> None:
        """Note a problem; one in a function is told where the workflow leads to it."""
        if caller is None:
            self.problems.append(problem)
        elif problem.severity == "error":
            place = f"{problem.path}:{problem.line}:{problem.column}"
            message = f"{place}: {problem.message} ({problem.code})"
            self.problems.append(fault(self.document, caller, "IOG309", message, hint=problem.hint))

    def _bind(
        self,
        definition: dict[str, Any],
        caller: Pointer | None,
        pointer: Pointer,
        resource: Mapping[str, Any],
        origin: Origin,
    ) -> None:
        """A script becomes a stored content, a schema a part of the definition."""
        place, policy = self._named(resource, definition, origin, caller)
        if place is None or not self.sources.reaches(place):
            return
        holder = outline.at(definition, pointer[:-1])
        text = self.sources.text(place, policy)
        if pointer[-1] == "source":
            holder["source"] = {"endpoint": self.taken.keep(place.name, text.encode())}
            return
        schema = plain_data(text, place.name, code=code_of(place))
        why_not = schemas.first_fault(schema)
        if why_not is not None:
            path, why = why_not
            where = "/".join(map(str, path))
            raise Unreadable(
                "IOG304", f"{place.name} is not a JSON Schema: {why}" + (f" (at {where})" if where else "")
            )
        del holder["resource"]
        holder["document"] = schema

    def _operation(
        self, document: Placed, caller: Pointer | None, task: outline.Task, origin: Origin
    ) -> None:
        """The operation that a call of OpenAPI names; the document is kept where only a run knows it."""
        given = task.data["with"]
        place, policy = self._named(given["document"], document.data, origin, caller)
        if place is None or not self.sources.reaches(place):
            return
        text, name = self.sources.text(place, policy), given["operationId"]
        data = plain_data(text, place.name, code=code_of(place))
        if "${" in name:
            self.bound.documents[task.reference_text()] = self.taken.keep(place.name, text.encode())
            return
        try:
            operation = find(data, name, url=place.url or None)
            operation = replace(operation, foreign=operation.foreign or place.foreign)
        except Unusable as why:
            at = (*task.pointer, "with", "operationId")
            problem = fault(
                document, at, "IOG308", f"{place.name}: {why.reason}", hint=did_you_mean(why.near or None)
            )
            self._tell(problem, caller)
            return
        for problem in operations.arguments(document, task, operation):
            self._tell(problem, caller)
        self.bound.operations[task.reference_text()] = operation

    def _function(self, document: Placed, caller: Pointer | None, task: outline.Task, origin: Origin) -> None:
        """The function of a catalog or URL that a call names, read and checked once."""
        use = document.data.get("use") or {}
        found = function_of(task.data["call"], use, origin)
        if found is None or not self.sources.reaches(found[0]):
            return
        place, authentication = found
        self.bound.calls[task.reference_text()] = place.name
        if place.name in self.bound.functions:
            self._fits(document, caller, task, self.bound.functions[place.name])
            return
        if len(self.bound.functions) == MAX_FUNCTIONS:
            raise Unreadable(
                "IOG309",
                f"the workflow has {MAX_FUNCTIONS} functions from elsewhere already, with those they call",
            )
        self.bound.functions[place.name] = None  # under way: functions may call one another
        text = self.sources.text(place, _policy(authentication, document.data))
        function, problems = read_function(text, place.name, place.name)
        at = (*task.pointer, "call") if caller is None else caller
        for problem in problems:
            self._tell(problem, at)
        if function is None:
            return
        for problem in (*self.judge(function), *_secrets(function)):
            self._tell(problem, at)
        if place.url:
            for problem in origins.running(function, place.url, self.trusted):
                told = fault(self.document, at, problem.code, problem.message, hint=problem.hint)
                self.problems.append(told)
        inner = self.visit(function, place.origin, at)
        self.bound.functions[place.name] = found_task = inner["use"]["functions"][place.name]
        self._fits(document, caller, task, found_task)

    def _fits(
        self,
        document: Placed,
        caller: Pointer | None,
        task: outline.Task,
        function: Mapping[str, Any] | None,
    ) -> None:
        """Hold literal arguments against the schema of the function's input."""
        for problem in functions.literals(document, task, function or {}):
            self._tell(problem, caller)

    def _named(
        self,
        resource: Mapping[str, Any],
        definition: Mapping[str, Any],
        origin: Origin,
        caller: Pointer | None,
    ) -> tuple[Place | None, Mapping[str, Any] | None]:
        endpoint = resource.get("endpoint")
        if not isinstance(endpoint, Mapping):
            return locate(origin, endpoint), None
        policy = _policy(endpoint.get("authentication"), definition)
        if caller is not None and _tells_secrets(policy):
            raise Unreadable("IOG309", "a function from elsewhere presents no secrets where it fetches from")
        return locate(origin, endpoint.get("uri")), policy


def _tells_secrets(policy: Any) -> bool:
    """Tell whether a policy may need values that are known only in a run; documents are fetched at once."""
    match policy:
        case str():
            return "${" in policy
        case Mapping():
            return "use" in policy or any(map(_tells_secrets, policy.values()))
        case list() | tuple():
            return any(map(_tells_secrets, policy))
    return False


def _policy(source: Any, definition: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """An authentication policy, `{scheme: members}`, inline or by its name in `use.authentications`."""
    name = source.get("use") if isinstance(source, Mapping) else source
    if name is None:
        return source or None
    found = ((definition.get("use") or {}).get("authentications") or {}).get(name)
    return found if isinstance(found, Mapping) else None


def _secrets(function: Placed) -> Iterable[Problem]:
    """Whoever keeps a catalog must not read the secrets of those who use it."""
    found = [each.pointer for each in expressions(function.data) if _SECRETS.search(each.text)]
    for pointer in dict.fromkeys([*found, *_naming_secrets(function.data, ())]):
        yield fault(
            function,
            pointer,
            "IOG309",
            'an external function cannot read $secrets; let its caller pass them in "with"',
        )


def _naming_secrets(data: Any, at: Pointer) -> Iterator[Pointer]:
    """Texts with an expression on secrets, wherever they stand: also where only a run looks."""
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
