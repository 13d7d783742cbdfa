"""The standard's conformance kit itself, where it lies beside the repository: every scenario.

`OPEN_WORKFLOW_CTK` may name its folder of features. `cases/kit.yaml` states the same properties in our words.
"""

from __future__ import annotations

import asyncio
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from iogate.documents.yaml.reader import read_bytes
from iogate.testing import Outcome
from tests.conformance.remote import serving
from tests.conformance.running import exactly, load
from tests.documents.corpus import STANDARD

FEATURES = Path(os.environ.get("OPEN_WORKFLOW_CTK") or STANDARD / "ctk" / "features")
_STEP = re.compile(
    r"^ *(?:Given|When|Then|And)(?: given)? (?P<words>[^\n]+)\n"
    r'(?: *"""(?:yaml|json)?\n(?P<text>.*?)\n *""")?',
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Scenario:
    name: str
    steps: tuple[tuple[str, str], ...]


def scenarios() -> list[Scenario]:
    found = []
    for file in sorted(FEATURES.glob("*.feature")):
        for part in re.split(r"(?m)^ *Scenario: ", file.read_text(encoding="utf-8"))[1:]:
            name, _, body = part.partition("\n")
            steps = tuple((step["words"].strip(), step["text"] or "") for step in _STEP.finditer(body + "\n"))
            found.append(Scenario(f"{file.stem}: {name.strip()}", steps))
    return found


SCENARIOS = scenarios()


@pytest.mark.skipif(not SCENARIOS, reason="the conformance kit is not beside the repository (../shared)")
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
async def test_scenario(scenario: Scenario, tmp_path: Path) -> None:
    given: Any = {}
    outcome: Outcome | None = None
    (tmp_path / "workflows.d").mkdir()
    file = tmp_path / "workflows.d" / "scenario.yaml"
    async with serving() as remote:
        for words, text in scenario.steps:
            match words:
                case "a workflow with definition:":
                    file.write_text(text, encoding="utf-8")
                case "the workflow input is:":
                    given = _read(text)
                case "the workflow is executed":
                    made = await asyncio.to_thread(load, file, tmp_path, remote.endpoints)
                    assert not isinstance(made, str), made
                    (name,) = made.bundle.revision.workflows
                    outcome = await made.run(name, given, offline=False)
                case _:
                    assert outcome is not None
                    _judge(outcome, words, text)


def _read(text: str) -> Any:
    return read_bytes(text.encode(), "scenario").data


def _judge(outcome: Outcome, words: str, text: str) -> None:
    ran = [note.name for note in outcome.notes if note.kind == "task.started"]
    match words.split():
        case ["the", "workflow", "should", "complete", *rest]:
            assert outcome.status == "completed", outcome.error
            assert not rest or not exactly(_read(text), outcome.output, "output")
        case ["the", "workflow", "should", "fault", *rest]:
            assert outcome.status == "faulted"
            assert not rest or not exactly(_read(text), outcome.error, "error")
        case [task, "should", "run", "first"]:
            assert ran[0] == task
        case [task, "should", "run", "last"]:
            assert ran[-1] == task
        case [task, "should", "run", "after", other]:
            assert ran.index(task) > ran.index(other)
        case ["the", "workflow", "output", "should", "have", *_]:
            names = re.findall(r"'([^']+)'", words)
            values = [_at(outcome.output, name) for name in names]
            if "containing" in words:
                count = re.search(r"containing (\d+) items", words)
                assert count is not None
                assert len(values[0]) == int(count[1])
            elif "with value" in words:
                assert values[0] == _read(text)
        case _:
            pytest.fail(f"unknown step: {words}")


def _at(value: Any, path: str) -> Any:
    for name in path.split("."):
        value = value[name]
    return value
