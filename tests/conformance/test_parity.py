"""The same cases as people meet them: by `iogate run` in its own process, and behind a gateway's `/sync`.

A sample, drawn the same way each time; `make parity` takes all that need no time and nothing of their own.
What differs by design: a gateway answers 400 itself where the workflow's `input.schema` does not take the
input, and withholds from callers what a process printed and where a call was sent.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from iogate.testing import Outcome
from tests import fork_server
from tests.conformance import registered
from tests.conformance.remote import Remote, serving
from tests.conformance.running import CASES, DOCUMENT, Case, judge, read_cases
from tests.patient_http import is_stalled
from tests.ports import free_port

ALL = os.environ.get("PARITY") == "all"
JUDGED = ("gives", "has", "fails", "sent", "requests")
SLOW = ("wait", "timeout", "delay", "jitter", "schedule", "listen", "after_s")
"""What takes its time by a real clock; `test_conformance_command` has examples of each."""


def suits(case: Case) -> bool:
    """Tell whether a case needs neither time nor a project of its own."""
    said = json.dumps([case.workflow, case.site])
    return (
        not case.others
        and not case.events
        and case.secrets is None
        and case.workflow["document"] == DOCUMENT
        and any(name in case.result for name in ("gives", "has", "fails"))
        and not any(f'"{word}"' in said for word in SLOW)
        and "2026-01-01" not in json.dumps(case.result)
        and '"container"' not in said  # the name of one is taken, and the ways share a daemon
    )


ALONE = ("openapi", "resource", "source", "catalogs", "workflow", "oauth2", "oidc", "digest")
"""What asks or remembers the outside beyond one run, or names the case itself."""


def alone(case: Case) -> bool:
    """Tell whether a case needs a worker of its own."""
    said = json.dumps(case.workflow)
    return bool(case.files) or '"call": "https:' in said or any(f'"{word}"' in said for word in ALONE)


SUITED = [case for path in sorted(CASES.glob("*.yaml")) for case in read_cases(path.name) if suits(case)]
DRAWN = random.Random(3).sample(SUITED, len(SUITED))
BY_COMMAND = DRAWN if ALL else DRAWN[:5]
TOGETHER = [case for case in DRAWN if not alone(case)]
BY_GATEWAY = TOGETHER if ALL else TOGETHER[:80]


def prepared(root: Path, remote: Remote, cases: Sequence[Case]) -> None:
    """A project's settings: where the outside is, and the functions that cases call."""
    settings = {
        "endpoints": remote.endpoints,
        "functions": ["registered"],
        "function_origins": sorted({origin for case in cases for origin in case.function_origins}),
        "allow_run": ["script", "shell"],
        # `run FILE` takes an empty list for all hosts
        "allow_hosts": ["none.invalid"],
    }
    (root / "iogate.yaml").write_text(json.dumps(settings), encoding="utf-8")
    shutil.copy(registered.__file__, root / "registered.py")


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("IOGATE_")}


def wrong(
    case: Case,
    remote: Remote,
    *,
    status: str,
    output: Any,
    error: Mapping[str, Any] | None,
    for_callers: bool = False,
) -> list[str]:
    """Return each difference from the result that the case expects."""
    outcome = Outcome(
        uid="", status=status, output=output, error=error, notes=(), calls=(), waiting_for=None, elapsed_s=0
    )
    expected = {name: value for name, value in case.result.items() if name in JUDGED}
    if for_callers and case.withheld:
        fails = case.result["fails"]
        expected["fails"] = {name: value for name, value in fails.items() if name not in case.withheld}
        assert fails["says"] not in json.dumps(error), f"{case.property}: callers see {fails['says']!r}"
    return [f"{case.property}: {each} ({status}, {error})" for each in judge(expected, outcome, remote)]


@pytest.mark.parametrize("case", BY_COMMAND, ids=lambda case: case.property)
async def test_the_command_has_the_results_of_the_harness(case: Case, tmp_path: Path) -> None:
    async with serving(case.site) as remote:
        prepared(tmp_path, remote, [case])
        for path, text in case.files.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text, encoding="utf-8")
        (tmp_path / "workflows.d").mkdir(exist_ok=True)
        file = tmp_path / "workflows.d" / "case.yaml"
        file.write_text(json.dumps(case.workflow, ensure_ascii=False), encoding="utf-8")
        ran = await asyncio.to_thread(
            fork_server.run,
            *("iogate", "run", str(file), "--input", "-", "-o", "json"),
            folder=tmp_path,
            environment=environment(),
            given=json.dumps(case.input),
        )
    shown = json.loads(ran.stdout or "null")
    assert shown is not None, ran.stderr
    assert list(shown) == ["schema", "uid", "status", "output", "error"]
    assert shown["schema"] == "iogate.run/v1"
    assert ran.returncode == (0 if shown["status"] == "completed" else 7), ran.stderr
    assert not wrong(case, remote, status=shown["status"], output=shown["output"], error=shown["error"])


@asynccontextmanager
async def applied(root: Path, remote: Remote, cases: list[Case]) -> AsyncIterator[str]:
    """All cases behind one gateway: the URL of their APIs, `URL/0/sync` of the first."""
    prepared(root, remote, cases)
    (root / "workflows.d").mkdir()
    (root / "apis.d").mkdir()
    methods = {}
    for number, case in enumerate(cases):
        document = {**DOCUMENT, "namespace": f"n{number}"}
        text = json.dumps({**case.workflow, "document": document}, ensure_ascii=False)
        (root / "workflows.d" / f"{number}.yaml").write_text(text, encoding="utf-8")
        methods[f"m{number}"] = {"workflow": f"n{number}/case", "enabled": True}
    (root / "apis.d" / "cases.yaml").write_text(
        json.dumps({"module": "cases", "auth": "none", "methods": methods}), encoding="utf-8"
    )
    port = free_port()
    log = (root / "up.log").open("wb")
    process = fork_server.start(
        *("iogate", "up", "--port", str(port)),
        environment=environment(),
        folder=root,
        stdout=log,
        stderr=log,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        await _ready(f"{url}/health/ready", process, root / "up.log")
        yield f"{url}/v1/api/cases"
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait)
        log.close()


async def _ready(url: str, process: fork_server.Process, log: Path) -> None:
    async with aiohttp.ClientSession() as client, asyncio.timeout(80):
        while True:
            assert process.poll() is None, await asyncio.to_thread(log.read_text)
            try:
                async with client.get(url) as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)


async def called(
    client: aiohttp.ClientSession, url: str, body: str, headers: Mapping[str, str]
) -> tuple[int, Any]:
    """Call an API, again with its key if a busy machine has stalled the store."""
    for _ in range(10):
        async with client.post(url, data=body, headers=headers) as answer:
            response = (await answer.json())["response"]
        if answer.status != 503 or not is_stalled(json.dumps(response)):
            break
    return answer.status, response


async def test_the_gateway_has_the_results_of_the_harness(tmp_path: Path) -> None:
    found: list[str] = []
    async with (
        serving() as remote,
        applied(tmp_path, remote, BY_GATEWAY) as url,
        aiohttp.ClientSession() as client,
    ):
        for number, case in enumerate(BY_GATEWAY):
            remote.answers, remote.seen, remote.given = case.site, [], {}
            # `json=None` would send no body at all, which is `{}`
            body, label = json.dumps(case.input), {"Content-Type": "application/json"}
            label["Idempotency-Key"] = f"case-{number}"
            status, response = await called(client, f"{url}/m{number}/sync", body, label)
            match status:
                case 200:
                    assert (response["code"], response["msg"]) == (0, "")
                    found += wrong(case, remote, status="completed", output=response["data"], error=None)
                case 500:
                    error = response["error"]
                    assert (response["code"], response["data"]) == (error["status"], None)
                    found += wrong(case, remote, status="faulted", output=None, error=error, for_callers=True)
                case 400 if "schema" in (case.workflow.get("input") or {}):
                    assert case.result["fails"]["type"] == "validation"
                case _:
                    found.append(f"{case.property}: {status} {response}")
    assert not found, "\n".join(found)
