"""The same through the command that people use, with a real store, worker and clock."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests import fork_server
from tests.conformance.remote import Remote, serving
from tests.conformance.running import Case, exactly, read_cases
from tests.effects.conftest import until

KIT = {case.property: case for case in read_cases("kit.yaml")}
THROUGH_THE_COMMAND = [
    "data that is no object flows from task to task",
    "basic authentication is taken from the input",
    "an error that does not fit faults the run",
]

CALL = {"call": "http", "with": {"method": "get", "endpoint": "https://api.example/slow"}}


DOCUMENT = {"dsl": "1.0.3", "namespace": "conformance", "name": "case", "version": "1.0.0"}


async def run(
    workflow: Any, given: Any, root: Path, remote: Remote, *options: str, code: int = 0
) -> dict[str, Any]:
    """What `iogate run` prints."""
    (root / "w.yaml").write_text(json.dumps(workflow), encoding="utf-8")
    endpoints = [f"--endpoint={name}={target}" for name, target in remote.endpoints.items()]
    arguments = ("w.yaml", "--input", json.dumps(given), "-o", "json", *options, *endpoints)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("IOGATE_")}
    ran = await asyncio.to_thread(
        fork_server.run, "iogate", "run", *arguments, folder=root, environment=clean
    )
    assert ran.returncode == code, ran.stderr
    shown = json.loads(ran.stdout or "{}")
    assert isinstance(shown, dict)
    return shown


@pytest.mark.parametrize("name", THROUGH_THE_COMMAND)
async def test_a_scenario_of_the_conformance_kit_has_its_result(name: str, tmp_path: Path) -> None:
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
        await until(lambda: remote.left == len(remote.seen))
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
        await until(lambda: remote.left == len(remote.seen))
    assert shown["output"] == {"n": 0}


async def test_a_shell_command_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    task = {"timeout": {"after": "PT0.3S"}, "run": {"shell": {"command": "sleep 60"}}}
    async with serving() as remote:
        shown = await run({"document": DOCUMENT, "do": [{"a": task}]}, {}, tmp_path, remote, code=7)
    assert (shown["status"], shown["output"]) == ("faulted", None)
    assert shown["error"]["type"] == TIMEOUT
    assert (shown["error"]["status"], shown["error"]["instance"]) == (408, "/do/0/a")


async def test_a_run_that_outlives_its_patience_is_shown_as_it_is(tmp_path: Path) -> None:
    workflow = {"document": DOCUMENT, "do": [{"nap": {"wait": "PT1M"}}]}
    async with serving() as remote:
        # On a busy machine, the worker may not be at the wait within the first limit.
        for limit in ("3s", "30s"):
            shown = await run(workflow, {}, tmp_path, remote, "--timeout", limit, code=124)
            if shown["status"] == "waiting":
                break
    assert list(shown) == ["schema", "uid", "status", "output", "error"]
    assert (shown["schema"], shown["status"], shown["error"]) == ("iogate.run/v1", "waiting", None)


async def test_an_invalid_workflow_is_refused_before_it_runs(tmp_path: Path) -> None:
    async with serving() as remote:
        shown = await run({"document": DOCUMENT, "do": []}, {}, tmp_path, remote, code=3)
    assert shown == {}


@pytest.mark.parametrize("given", ['{"n": 1e400}', '"\\ud800"', '{"n": NaN}', "text"])
def test_an_input_that_is_no_json_is_a_mistake_of_usage(given: str, tmp_path: Path) -> None:
    (tmp_path / "w.yaml").write_text(json.dumps({"document": DOCUMENT, "do": [{"a": {"set": {"n": 1}}}]}))
    ran = fork_server.run("iogate", "run", "w.yaml", "--input", given, folder=tmp_path)
    assert ran.returncode == 64
    assert "--input: not JSON" in ran.stderr


async def test_a_document_in_json_may_escape_any_character(tmp_path: Path) -> None:
    workflow = {"document": DOCUMENT, "do": [{"a": {"set": {"t": "👍 \\ud83d"}}}]}
    async with serving() as remote:
        shown = await run(workflow, {}, tmp_path, remote)
    assert shown["output"] == {"t": "👍 \\ud83d"}


async def test_an_address_out_of_the_input_is_called(tmp_path: Path) -> None:
    call = {"call": "http", "with": {"method": "get", "endpoint": "${ .url }"}}
    async with serving({"/x": {"json": "reached"}}) as remote:
        workflow = {"document": DOCUMENT, "do": [{"a": call}]}
        shown = await run(workflow, {"url": f"{remote.url}/x"}, tmp_path, remote)
        assert shown["output"] == "reached"
        (tmp_path / "iogate.yaml").write_text("allow_hosts: [api.example]")
        refused = await run(workflow, {"url": f"{remote.url}/x"}, tmp_path, remote, code=7)
    assert (refused["error"]["status"], refused["error"]["instance"]) == (403, "/do/0/a")
