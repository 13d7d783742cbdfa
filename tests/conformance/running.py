"""Reads conformance cases and runs them: a workflow, its input, and what the standard says comes of it.

A case is compiled as `iogate apply` compiles it and driven by the engine and effects of production under a
clock of its own, so that waits take no time.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from iogate import documents, functions
from iogate.compiler.compile import compile_documents
from iogate.documents.problems import render_all
from iogate.documents.yaml.reader import read_bytes
from iogate.effects.document_fetcher import make_fetcher
from iogate.errors import for_operators
from iogate.settings import Settings
from iogate.testing import Arrival, Harness, Outcome, differences
from tests.conformance.remote import Remote, serving

CASES = Path(__file__).parent / "cases"
DOCUMENT = {"dsl": "1.0.3", "namespace": "conformance", "name": "case", "version": "1.0.0"}
MODULE = "tests.conformance.registered"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One property, and the workflow that shows it."""

    property: str
    workflow: Mapping[str, Any]
    input: Any = field(default_factory=dict)
    site: Mapping[str, Any] = field(default_factory=dict)
    """Answers of the outside, by path."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Files of the project, by their paths."""
    secrets: Mapping[str, Any] | None = None
    result: Mapping[str, Any]
    """What is expected, by the names of `judge`, or `refused`, the code of the compiler's error."""
    events: Sequence[Mapping[str, Any]] = ()
    """CloudEvents that arrive while the run waits; with `after` (seconds) and `event`, at that moment."""
    others: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """More workflows of the project, by name; each is complete but for its document."""
    function_origins: Sequence[str] = ()
    """The setting of that name."""
    withheld: Sequence[str] = ()
    """Members of `fails` that operators see and callers do not."""


RESULTS = frozenset(
    {"gives", "has", "fails", "refused", "ran", "took", "delays", "sent", "notes", "requests", "waits"}
    | {"emits", "starts", "awaits"}
)


@cache
def read_cases(name: str) -> Sequence[Case]:
    """All cases of a file: what is no member of a case is a part of its workflow."""
    reading = read_bytes((CASES / name).read_bytes(), name)
    assert not reading.problems, reading.problems
    return tuple(_case(each) for each in reading.data)


def _case(source: dict[str, Any]) -> Case:
    rest = dict(source)
    result = {key: rest.pop(key) for key in list(rest) if key in RESULTS}
    assert result, f"{source['property']}: it expects nothing"
    own = ("property", "site", "files", "secrets", "events", "others", "function_origins", "withheld")
    given: dict[str, Any] = {key: rest.pop(key) for key in own if key in rest}
    if "given" in rest:
        given["input"] = rest.pop("given")
    return Case(workflow={"document": DOCUMENT, **rest}, result=result, **given)


def harness(case: Case, root: Path, endpoints: Mapping[str, str]) -> Harness | str:
    """The compiled case; its problems, where the compiler refuses it."""
    for path, text in case.files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    folder = root / "workflows.d"
    folder.mkdir(exist_ok=True)
    file = _written(folder / "case.yaml", case.workflow)
    others = []
    for full, workflow in case.others.items():
        name, _, version = full.partition(":")
        document = DOCUMENT | {"name": name, "version": version or "1.0.0"}
        others.append(_written(folder / f"{name}-{version}.yaml", {"document": document, **workflow}))
    return load(file, root, endpoints, case.secrets, others, case.function_origins)


def _written(file: Path, workflow: Mapping[str, Any]) -> Path:
    # JSON is YAML, and keeps every quote
    file.write_text(json.dumps(workflow, ensure_ascii=False), encoding="utf-8")
    return file


def load(
    file: Path,
    root: Path,
    endpoints: Mapping[str, str],
    secrets: Mapping[str, Any] | None = None,
    others: Sequence[Path] = (),
    function_origins: Sequence[str] = (),
) -> Harness | str:
    settings = Settings(
        allow_run=("script", "shell", "container"),
        endpoints=endpoints,
        functions=(MODULE,),
        function_origins=tuple(function_origins),
        secrets={name: {"env": name} for name in secrets or ()},
    )
    registry = functions.load(settings.functions, root)
    read = documents.load(root, [file, *others])
    made = compile_documents(
        read,
        settings,
        root=root,
        functions=registry,
        fetch=make_fetcher(settings, root, values=secrets or {}),
    )
    if made.bundle is None:
        return render_all(made.errors, read.sources)
    return Harness(bundle=made.bundle, settings=settings, functions=registry, secrets=secrets, root=root)


async def check(case: Case, root: Path) -> None:
    """Run the case and hold its outcome against what it expects."""
    async with serving(case.site) as remote:
        # In a thread: what workflows name by URL is fetched meanwhile, from this loop's server.
        made = await asyncio.to_thread(harness, case, root, remote.endpoints)
        if isinstance(made, str):
            assert "refused" in case.result, made
            assert case.result["refused"] in made, made
            return
        assert "refused" not in case.result, "the compiler takes it"
        events = [
            Arrival(event=each["event"], after_s=each["after"]) if "after" in each else each
            for each in case.events
        ]
        outcome = await made.run("conformance/case", case.input, offline=False, events=events)
    absent = str((outcome.error or {}).get("detail"))
    if "nothing on this worker runs" in absent:
        pytest.skip(absent)
    wrong = judge(case.result, outcome, remote)
    assert not wrong, "\n".join((*wrong, f"status: {outcome.status}, error: {outcome.error}"))


def judge(expected: Mapping[str, Any], outcome: Outcome, remote: Remote) -> tuple[str, ...]:
    """What is not as expected."""
    found: list[str] = []
    for name, value in expected.items():
        match name:
            case "gives":
                found += exactly(value, outcome.output, "output")
                found += exactly("completed", outcome.status, "status")
            case "has":
                found += differences(value, outcome.output)
                found += exactly("completed", outcome.status, "status")
            case "fails":
                found += _failure(value, outcome)
            case "ran":
                found += exactly(value, _names(outcome, "task.started"), "tasks")
            case "notes":
                for kind, names in value.items():
                    found += exactly(names, _names(outcome, kind), kind)
            case "took":
                found += exactly(float(value), outcome.elapsed_s, "seconds")
            case "delays":
                notes = [note for note in outcome.notes if note.kind == "task.retried"]
                delays = [(note.detail["due_ms"] - note.at_ms) / 1000 for note in notes]
                found += exactly([float(each) for each in value], delays, "delays")
            case "waits":
                notes = [note for note in outcome.notes if note.kind == "task.waiting"]
                waits = [(note.detail["due_ms"] - note.at_ms) / 1000 for note in notes]
                found += exactly([float(each) for each in value], waits, "waits")
            case "emits":
                found += differences(value, list(outcome.emitted), "emitted")
            case "starts":
                found += differences(value, [_told(child) for child in outcome.children], "children")
            case "awaits":
                found += exactly(value, outcome.waiting_for and outcome.waiting_for.kind, "waiting for")
            case "sent":
                found += differences(value, remote.seen, "sent")
            case "requests":
                found += exactly(value, len(remote.seen), "requests")
    return tuple(found)


def exactly(expected: Any, actual: Any, at: str) -> Sequence[str]:
    """Equality of JSON values, in which an object has no more members than expected."""
    if json.dumps(expected, sort_keys=True) == json.dumps(actual, sort_keys=True):
        return ()
    return differences(expected, actual, at) or (f"{at}: expected {expected!r}, got {actual!r}",)


def _failure(expected: Mapping[str, Any], outcome: Outcome) -> Sequence[str]:
    if outcome.error is None:
        return [f"expected an error, got {outcome.status} with {outcome.output!r}"]
    wanted, error = dict(expected), dict(outcome.error)
    found: list[str] = []
    said = wanted.pop("says", "")
    told = for_operators(str(error.get("detail")), error)
    if said not in told:
        found.append(f"error.detail: expected {said!r} in {told!r}")
    if "/" not in wanted.get("type", "/"):
        wanted["type"] = f"https://open-workflow-specification.org/spec/1.0.0/errors/{wanted['type']}"
    return found + list(differences(wanted, error, "error"))


def _told(outcome: Outcome) -> dict[str, Any]:
    """A child, for people: its own name is enough."""
    return {
        "workflow": outcome.workflow.removeprefix("conformance/").removesuffix(":1.0.0"),
        "status": outcome.status,
        "input": outcome.input,
        "output": outcome.output,
        "emitted": list(outcome.emitted),
    }


def _names(outcome: Outcome, kind: str) -> list[str]:
    return [note.name for note in outcome.notes if note.kind == kind]
