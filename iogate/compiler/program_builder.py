"""Builds the task tree of `program` out of a definition's JSON; called by nobody else.

Takes valid definitions; what only a check would refuse (an unknown name) becomes a mark in the
tree, and what the standard knows in two spellings becomes one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, cast

from iogate.compiler.outline import escape, kind_of
from iogate.compiler.tasks import (
    Body,
    Case,
    Do,
    Endpoint,
    Flow,
    For,
    Fork,
    Function,
    Http,
    Inline,
    Policy,
    Process,
    Raise,
    Retry,
    Schema,
    Set,
    Switch,
    Target,
    Task,
    TaskList,
    Timeout,
    Try,
    Unsupported,
    Wait,
)
from iogate.expressions import Template, bare, template
from iogate.expressions.templates import Literal as Text
from iogate.expressions.templates import pieces

_FUNCTION = re.compile(r"(?P<name>[^:@/]+):(?P<version>[^:@/]+)@default")
_LITERAL_HOST = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#{$]+(?:[/?#]|\Z)")
_EMPTY: Mapping[str, Any] = {}


class Builder:
    """One pass over a definition; its attributes are the result."""

    def __init__(self, definition: Mapping[str, Any], resources: Mapping[str, Any]) -> None:
        self.definition = definition
        self.resources = resources
        self.use: Mapping[str, Any] = definition.get("use") or {}
        self.tasks: dict[str, Task] = {}
        self.lists: dict[str, TaskList] = {}
        self._schemas: dict[str, Schema] = {}

    def build(self) -> None:
        self._list("/do", self.definition["do"])
        for name, function in (self.use.get("functions") or {}).items():
            pointer = f"/use/functions/{name}"
            task = self._task(pointer, name, function, {})
            self.lists[pointer] = TaskList(pointer, (task,))

    def _list(self, pointer: str, entries: Any) -> TaskList:
        named = [next(iter(entry.items())) for entry in entries]
        places = {name: index for index, (name, _) in enumerate(named)}
        tasks = tuple(
            self._task(f"{pointer}/{index}/{escape(name)}", name, definition, places)
            for index, (name, definition) in enumerate(named)
        )
        self.lists[pointer] = made = TaskList(pointer, tasks)
        return made

    def _task(self, pointer: str, name: str, definition: Mapping[str, Any], places: dict[str, int]) -> Task:
        kind = kind_of(definition)
        condition = definition.get("if")
        flow = self.flow(definition)
        metadata = definition.get("metadata") or _EMPTY
        task = Task(
            pointer=pointer,
            name=name,
            kind=kind,
            definition=definition,
            condition=None if condition is None else bare(condition),
            flow=flow,
            plain=flow is _PLAIN,
            then=_target(definition.get("then"), places),
            body=self._body(kind, pointer, definition, places),
            timeout=self.timeout(definition),
            at_most_once=(metadata.get("iogate") or _EMPTY).get("atMostOnce") is True,
        )
        self.tasks[pointer] = task
        return task

    def flow(self, definition: Mapping[str, Any]) -> Flow:
        """Data flow of a task or of the workflow; one shared object where it says nothing."""
        into, out, export = (definition.get(part) for part in ("input", "output", "export"))
        if not into and not out and not export:
            return _PLAIN
        into, out, export = into or _EMPTY, out or _EMPTY, export or _EMPTY
        return Flow(
            input_schema=self._schema(into.get("schema")),
            input_from=_optional(into.get("from")),
            output_as=_optional(out.get("as")),
            output_schema=self._schema(out.get("schema")),
            export_as=_optional(export.get("as")),
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

    def _body(self, kind: str, pointer: str, definition: Mapping[str, Any], places: dict[str, int]) -> Body:
        match kind:
            case "do":
                return Do(self._list(f"{pointer}/do", definition["do"]))
            case "set":
                value = definition["set"]
                return Set(bare(value))
            case "switch":
                return _switch(definition["switch"], places)
            case "for":
                return self._for(pointer, definition)
            case "try":
                return self._try(pointer, definition, places)
            case "fork":
                return self._fork(pointer, definition["fork"])
            case "raise":
                return self._raise(definition["raise"]["error"])
            case "wait":
                return Wait(template(definition["wait"]))
            case "call":
                return self._call(definition["call"], definition.get("with") or {})
            case "run":
                return _run(definition["run"])
            case _:
                return Unsupported(kind or "a task without a keyword")

    def _for(self, pointer: str, definition: Mapping[str, Any]) -> For:
        loop = definition["for"]
        condition = definition.get("while")
        return For(
            each=loop.get("each") or "item",
            at=loop.get("at") or "index",
            items=bare(loop["in"]),
            condition=None if condition is None else bare(condition),
            tasks=self._list(f"{pointer}/for/do", definition["do"]),
        )

    def _try(self, pointer: str, definition: Mapping[str, Any], places: dict[str, int]) -> Try:
        catch = definition["catch"] or _EMPTY
        retry = catch.get("retry")
        then = catch.get("then")
        return Try(
            tasks=self._list(f"{pointer}/try", definition["try"]),
            errors=(catch.get("errors") or _EMPTY).get("with") or _EMPTY,
            name=catch.get("as") or "error",
            when=_optional(catch.get("when")),
            except_when=_optional(catch.get("exceptWhen")),
            retry=None if retry is None else self._retry(retry),
            handler=self._list(f"{pointer}/catch/do", catch["do"]) if catch.get("do") else None,
            then=None if then is None else _target(then, places),
        )

    def _retry(self, source: Any) -> Retry:
        if isinstance(source, str):
            named = (self.use.get("retries") or {}).get(source)
            return Retry(missing=source) if named is None else self._retry(named)
        limit, jitter = source.get("limit") or _EMPTY, source.get("jitter") or _EMPTY
        attempt = limit.get("attempt") or _EMPTY
        backoff = next(iter(source.get("backoff") or ()), "constant")
        return Retry(
            when=_optional(source.get("when")),
            except_when=_optional(source.get("exceptWhen")),
            delay=_free(source.get("delay")),
            backoff=cast("Literal['constant', 'linear', 'exponential']", backoff),
            jitter_from=_free(jitter.get("from")),
            jitter_to=_free(jitter.get("to")),
            count=attempt.get("count"),
            attempt_after=_free(attempt.get("duration")),
            overall=_free(limit.get("duration")),
        )

    def _fork(self, pointer: str, fork: Mapping[str, Any]) -> Fork:
        branches = []
        for index, entry in enumerate(fork["branches"]):
            ((name, definition),) = entry.items()
            at = f"{pointer}/fork/branches/{index}"
            self.lists[at] = TaskList(at, (self._task(f"{at}/{escape(name)}", name, definition, {}),))
            branches.append(self.lists[at])
        return Fork(tuple(branches), compete=fork.get("compete") is True)

    def timeout(self, definition: Mapping[str, Any]) -> Timeout | None:
        """Timeout of a task or of the workflow, inline or by name."""
        source = definition.get("timeout")
        if isinstance(source, str):
            named = (self.use.get("timeouts") or {}).get(source)
            return Timeout(None, missing=source) if named is None else Timeout(template(named["after"]))
        return None if source is None else Timeout(template(source["after"]))

    def _raise(self, error: Any) -> Raise:
        if isinstance(error, str):
            named = (self.use.get("errors") or {}).get(error)
            return Raise(None, missing=error) if named is None else Raise(template(named))
        return Raise(template(error))

    def _call(self, function: str, arguments: Mapping[str, Any]) -> Body:
        if function == "http":
            return self._http(arguments)
        if function in (self.use.get("functions") or {}):
            return Inline(function, template(arguments))
        if found := _FUNCTION.fullmatch(function):
            return Function(found["name"], found["version"], template(arguments))
        return Unsupported(f"call: {function}")

    def _http(self, arguments: Mapping[str, Any]) -> Http:
        return Http(
            method=str(arguments["method"]).upper(),
            endpoint=self._endpoint(arguments["endpoint"]),
            headers=template(arguments.get("headers") or {}),
            query=template(arguments.get("query") or {}),
            body=template(arguments["body"]) if "body" in arguments else None,
            output=cast("Literal['raw', 'content', 'response']", arguments.get("output") or "content"),
            redirect=arguments.get("redirect") is True,
        )

    def _endpoint(self, source: Any) -> Endpoint:
        policy = None
        if isinstance(source, Mapping):
            if source.get("authentication"):
                policy = self._policy(source["authentication"])
            source = source["uri"]
        text = str(source)
        return Endpoint(pieces(text), computed=_LITERAL_HOST.match(text) is None, policy=policy)

    def _policy(self, source: Any) -> Policy:
        name = source if isinstance(source, str) else source.get("use")
        if name is not None:
            named = (self.use.get("authentications") or {}).get(name)
            return Policy("", None, missing=name) if named is None else self._policy(named)
        scheme, members = next(iter(source.items()))
        secret = members.get("use") if isinstance(members, Mapping) else None
        return Policy(scheme, None, secret=secret) if secret else Policy(scheme, template(members))


_PLAIN = Flow()


def _optional(source: Any) -> Template | None:
    return None if source is None else bare(source)


def _free(source: Any) -> Template | None:
    return None if source is None else template(source)


def _target(then: Any, places: dict[str, int]) -> Target:
    match then:
        case None | "continue":
            return "continue"
        case "exit" | "end":
            return cast("Target", then)
        case _:
            return places.get(then, "continue")


def _switch(entries: Any, places: dict[str, int]) -> Switch:
    named = [next(iter(entry.items())) for entry in entries]
    cases = [
        Case(
            name,
            None if case.get("when") is None else bare(case["when"]),
            _target(case.get("then"), places),
        )
        for name, case in named
    ]
    return Switch(
        tuple(case for case in cases if case.when is not None),
        next((case for case in cases if case.when is None), None),
    )


def _run(run: Mapping[str, Any]) -> Body:
    kind: Literal["shell", "script"]
    if "shell" in run:
        kind, process = "shell", run["shell"]
    elif "script" in run:
        kind, process = "script", run["script"]
    else:
        return Unsupported(
            "run: " + next((each for each in run if each not in {"await", "return"}), "nothing")
        )
    stdin = process.get("stdin")
    return Process(
        kind=kind,
        language=process.get("language") or "",
        # a script's text is in its own language: `${…}` there is not ours
        code=template(process["command"]) if kind == "shell" else Text(process.get("code") or ""),
        source=address(process["source"]) if process.get("source") else None,
        stdin=None if stdin is None else template(stdin),
        arguments=template(process.get("arguments") or []),
        environment=template(process.get("environment") or {}),
        awaits=run.get("await") is not False,
        returns=run.get("return") or "stdout",
    )


def address(resource: Any) -> str:
    """The URI of an external resource, in any of the spellings that the standard allows."""
    while isinstance(resource, Mapping):
        resource = resource.get("endpoint", resource.get("uri"))
    return str(resource)
