"""Scripts in JavaScript: runtime, kind of module, and the error without a runtime."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from iogate.effects import Effects
from iogate.effects.processes import interpreters
from iogate.engine.commands import RunProcess
from tests.effects.conftest import do, failure, written

needs_node = pytest.mark.skipif(interpreters.find_javascript() is None, reason="nothing here runs JavaScript")


def script(code: str, **run: str) -> RunProcess:
    return RunProcess(kind="script", language=run.pop("language", "js"), code=code)


@needs_node
async def test_its_environment_is_clean(effects: Effects, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET_OF_THE_WORKER", "s3cret")
    output = (await do(effects, script("process.stdout.write(JSON.stringify(process.env))"))).output
    assert "s3cret" not in output
    assert "IOGATE_IDEMPOTENCY_KEY" in output


@needs_node
async def test_a_failure_quotes_its_stderr(effects: Effects) -> None:
    performed = await do(effects, script("throw new Error('because')"))
    assert failure(performed) == ("runtime", 500, "the script ended with code 1")
    assert "because" in written(performed)["stderr"]


@pytest.mark.parametrize(
    ("code", "suffix"),
    [
        ("console.log(1)", ".mjs"),
        ("import fs from 'node:fs'", ".mjs"),
        ("import { a } from 'b'; require('c')", ".mjs"),
        ("export const a = 1", ".mjs"),
        ("const fs = require('fs')", ".cjs"),
        ("const fs = await import('fs')", ".mjs"),
        ("module.exports = 1", ".cjs"),
        ("import('x'); require('y')", ".cjs"),
    ],
)
def test_the_code_determines_the_kind_of_module(
    code: str, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    runtime = tmp_path / "node"
    runtime.touch(mode=0o755)
    found = interpreters.find_interpreter("javascript", code, python="python")
    assert found is not None
    assert (found.argv, found.suffix) == ((str(runtime),), suffix)


async def test_quickjs_is_used_without_node(
    effects: Effects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = tmp_path / "qjs"
    runtime.write_text(f'#!{sys.executable}\nimport sys; print("qjs ran", open(sys.argv[1]).read())\n')
    runtime.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert (await do(effects, script("1 + 1"))).output == "qjs ran 1 + 1\n"


async def test_without_a_runtime_the_error_names_what_to_install(
    effects: Effects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    kind, _, detail = failure(await do(effects, script("1", language="javascript")))
    assert kind == "configuration"
    assert detail == (
        "nothing on this worker runs JavaScript: "
        "install Node.js (node), or QuickJS (qjs), where the worker's PATH finds it"
    )
