"""Fields of the results of list and show commands, for `--json FIELDS`, and programs of `--jq`.

Called by `session`, which checks both before the command runs, and by `render`. The result of `--json` is a
list of objects, or one object, with the named fields only, and without the envelope of `-o json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from iogate.errors import Misused
from iogate.messages import did_you_mean, quoted

UNKNOWN: Final = "IOG826"
WRONG_PROGRAM: Final = "IOG827"


@dataclass(frozen=True, kw_only=True)
class Fields:
    """Fields of the result of one command."""

    names: tuple[str, ...]
    rows: str = ""
    """Member with the list whose elements have the fields; empty: the result itself has them."""


def _fields(names: str, rows: str = "") -> Fields:
    return Fields(names=tuple(names.split()), rows=rows)


_SUMMARY: Final = (
    "uid status api workflow revision createdAt startedAt endedAt attempt caller parent attributes error"
)
_BATCH: Final = (
    "id action state count changed unchanged refused left refusals remarks waiting failure operator via "
    "reason filter from on createdAt changedAt endedAt"
)
_API: Final = (
    "api verbs path ownPath auth enabled held releasePerS override queued running workflow description tags"
)
_REVISION: Final = (
    "revision live digest publishedAt project author commit dirty action restores changes message version "
    "fault"
)
FIELDS: Final[Mapping[str, Fields]] = {
    "runs.list": _fields(f"{_SUMMARY} held", "runs"),
    "runs.show": _fields(
        f"{_SUMMARY} input output waitingFor tasks children traceId concurrencyKey coalesceKey mergedCalls "
        "callback onFault recorded"
    ),
    "runs.stats": _fields("since until total apis workflows hours"),
    "batches.list": _fields(_BATCH, "batches"),
    "batches.show": _fields(f"{_BATCH} workers"),
    "runs.errors": _fields(
        "api workflow task type status code message count firstAt lastAt lastRun", "errors"
    ),
    "api.list": _fields(_API, "apis"),
    "api.show": _fields(
        f"revision {_API} lastDay errors enabledInGit switched allowIps ownPathMode inputFrom inputSchema "
        "limits coalesce idempotency timeoutS retentionS record protect metadata source program debugCases "
        "document"
    ),
    "override.list": _fields("api enabled held author reason setAt expiresAt", "overrides"),
    "workflow.list": _fields("workflow title apis schedule source", "workflows"),
    "workflow.show": _fields("workflow revision schedule definition"),
    "schedule.list": _fields(
        "schedule workflow when missed overlap jitterS disabled nextTicks waiting lastRun lastStatus "
        "lastStartedAt skipped lastSkippedAt lastSkipReason",
        "schedules",
    ),
    "history": _fields(_REVISION, "revisions"),
    "show": _fields(f"{_REVISION} apis workflows schedules resources"),
    "status": _fields(
        "store drainedS project projects revision digest refusedRecord runs queue refused apis heldOfDeleted "
        "workflows schedules secrets processes gateways workers"
    ),
    "activity": _fields(
        "id at endedAt operator role via from action target revision reason outcome message", "activity"
    ),
}
"""Fields by the schema of the result, which names the command: `runs.list`."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Part of a result that `--json` and `--jq` select."""

    names: tuple[str, ...] | None
    """Fields of `--json`; None: the whole document of `-o json`."""
    program: str

    def text(self, schema: str, value: Mapping[str, Any]) -> str:
        """Return the part of a result that `--json` and `--jq` select, as text.

        Raises Misused if the program fails.
        """
        found: Any = {"schema": f"iogate.{schema}/v1", **value}
        if self.names is not None:
            shape = FIELDS[schema]
            found = _project(value[shape.rows], self.names) if shape.rows else _project(value, self.names)
        if not self.program:
            return json.dumps(found, ensure_ascii=False, indent=2)
        from iogate.expressions import results

        try:
            return "\n".join(map(_line, results(self.program, found)))
        except ValueError as error:
            raise Misused(f"--jq: {error}", code=WRONG_PROGRAM) from None


def _project(value: Any, names: tuple[str, ...]) -> Any:
    """Return the fields that `--json` names, of an object or each element of a list; absent ones are null."""
    if isinstance(value, Mapping):
        return {name: value.get(name) for name in names}
    return [_project(each, names) for each in value]


def _line(result: Any) -> str:
    """Return one result of a `--jq` program: text as it is, other values as JSON on one line."""
    return result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)


def read_selection(schema: str, fields: str | None, program: str | None) -> Selection | None:
    """Return the selection of the options `--json` and `--jq`; None without both.

    Raises Misused for an unknown field, without fields, and for a program that does not compile.
    """
    if fields is None and program is None:
        return None
    names = None
    if fields is not None:
        known = FIELDS[schema].names
        names = tuple(dict.fromkeys(name.strip() for name in fields.split(",") if name.strip()))
        if not names:
            raise Misused("--json: name the fields", code=UNKNOWN, hint=f"fields: {', '.join(known)}")
        for name in names:
            if name not in known:
                raise Misused(
                    f"--json: no field {quoted(name)}{did_you_mean(name, known)}",
                    code=UNKNOWN,
                    hint=f"fields: {', '.join(known)}",
                )
    if program is not None:
        from iogate.expressions import check

        if problem := check(program, ()):
            raise Misused(f"--jq: {problem}", code=WRONG_PROGRAM)
    return Selection(names=names, program=program or "")


def with_empty_lists(arguments: list[str], command: Any) -> list[str]:
    """Return a command line in which `--json` without a value has an empty one, which lists the fields.

    `command` is typer's root command: its parameters tell which options have a value, as `--message --json`.
    """
    found: list[str] = []
    rest = list(reversed(arguments))
    while rest:
        argument = rest.pop()
        found.append(argument)
        if argument == "--":
            return [*found, *reversed(rest)]
        if argument == "--json":
            found.append(rest.pop() if rest and not rest[-1].startswith("-") else "")
        elif argument.startswith("-"):
            if rest and _has_value(command, argument):
                found.append(rest.pop())
        else:
            command = getattr(command, "commands", {}).get(argument, command)
    return found


def _has_value(command: Any, option: str) -> bool:
    """Return whether the next argument after an option of a command is its value, as it is for `--json`."""
    return any(option in each.opts and not each.is_flag and not each.count for each in command.params)
