"""The same through the command that people use, with a real store, worker and clock."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.remote import Remote, serving
from tests.conformance.running import Case, exactly, read_cases

KIT = {case.property: case for case in read_cases("kit.yaml")}
THROUGH_THE_COMMAND = [
    "data that is no object flows from task to task",
    "basic authentication is taken from the input",
    "an error that does not fit faults the run",
]

CALL = {"call": "http", "with": {"method": "get", "endpoint": "https://api.example/slow"}}


async def run(workflow: Any, given: Any, root: Path, remote: Remote, *, code: int = 0) -> dict[str, Any]:
    """What `iogate run` prints."""
    (root / "w.yaml").write_text(json.dumps(workflow), encoding="utf-8")
    endpoints = [f"--endpoint={name}={target}" for name, target in remote.endpoints.items()]
    command = ["-m", "iogate", "run", "w.yaml", "--input", json.dumps(given), "-o", "json", *endpoints]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("IOGATE_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        cwd=root,
        env=clean,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == code, err.decode()
    shown = json.loads(out)
    assert isinstance(shown, dict)
    return shown


@pytest.mark.parametrize("name", THROUGH_THE_COMMAND)
async def test_a_scenario_of_the_kit_ends_alike(name: str, tmp_path: Path) -> None:
    case: Case = KIT[name]
    fails = case.result.get("fails")
    async with serving(case.site) as remote:
        shown = await run(case.workflow, case.input, tmp_path, remote, code=0 if fails is None else 7)
    if fails is None:
        assert shown["status"] == "completed"
        assert not exactly(case.result["gives"], shown["output"], "output")
    else:
        assert shown["status"] == "faulted"
        assert fails.items() <= shown["error"].items()


def slow(after: str) -> dict[str, Any]:
    """A call that is answered too late."""
    task: dict[str, Any] = {"timeout": {"after": after}, **CALL}
    handled = {"do": [{"late": {"set": {"late": "${ $error.type }", "at": "${ $error.instance }"}}}]}
    tried = {"try": [{"call": task}], "catch": handled}
    return {
        "document": {"dsl": "1.0.3", "namespace": "conformance", "name": "slow", "version": "1.0.0"},
        "do": [{"t": tried}],
    }


TIMEOUT = "https://open-workflow-specification.org/spec/1.0.0/errors/timeout"


async def test_a_call_that_takes_too_long_is_interrupted_and_can_be_caught(tmp_path: Path) -> None:
    async with serving({"/slow": {"json": 1, "after_s": 30}}) as remote:
        shown = await run(slow("PT0.3S"), {}, tmp_path, remote)
        assert remote.left == 1
    assert shown["output"] == {"late": TIMEOUT, "at": "/do/0/t/try/0/call"}


async def test_a_fork_of_calls_and_waits_joins_in_the_order_of_declaration(tmp_path: Path) -> None:
    branches = [{"call": CALL}, {"nap": {"wait": "PT1.2S"}}, {"set": {"set": {"n": 1}}}]
    workflow = {
        "document": {"dsl": "1.0.3", "namespace": "conformance", "name": "fork", "version": "1.0.0"},
        "do": [{"f": {"fork": {"branches": branches}}}],
    }
    async with serving({"/slow": {"json": "called", "after_s": 0.2}}) as remote:
        shown = await run(workflow, {"n": 0}, tmp_path, remote)
    assert shown["output"] == ["called", {"n": 0}, {"n": 1}]
    assert len(remote.seen) == 1


async def test_a_race_is_over_when_the_first_has_its_answer(tmp_path: Path) -> None:
    branches = [{"call": CALL}, {"nap": {"wait": "PT0.2S"}}]
    workflow = {
        "document": {"dsl": "1.0.3", "namespace": "conformance", "name": "race", "version": "1.0.0"},
        "do": [{"f": {"fork": {"compete": True, "branches": branches}}}],
    }
    async with serving({"/slow": {"json": "called", "after_s": 30}}) as remote:
        shown = await run(workflow, {"n": 0}, tmp_path, remote)
        assert remote.left == 1
    assert shown["output"] == {"n": 0}
