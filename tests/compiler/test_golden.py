"""Each workflow of `golden/` gives exactly the problems in the `.out` beside it, caret and all.

To accept new ones, run with the environment variable IOGATE_GOLDEN=write, then read the difference.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from iogate.compiler.compile import compile_documents
from iogate.documents import load, render_all
from iogate.functions import Registry, describe
from iogate.settings import Settings

GOLDEN = Path(__file__).parent / "golden"


def greet(name: str, times: int = 1) -> str:
    return name * times


FUNCTIONS = Registry({("greet", "1.0.0"): describe(greet, "greet", "1.0.0")})


def problems_of(file: Path) -> str:
    documents = load(GOLDEN, [file])
    compiled = compile_documents(
        documents,
        Settings(allow_run=("script",), secrets={"key": {"env": "KEY"}}),
        root=GOLDEN,
        purpose="apply",
        functions=FUNCTIONS,
    )
    assert (compiled.bundle is None) is bool(compiled.errors)
    return render_all(compiled.problems, documents.sources)


@pytest.mark.parametrize("name", sorted(file.stem for file in GOLDEN.glob("*.yaml")))
def test_a_workflow_gives_exactly_its_problems(name: str) -> None:
    found, expected = problems_of(GOLDEN / f"{name}.yaml"), GOLDEN / f"{name}.out"
    if os.environ.get("IOGATE_GOLDEN") == "write":
        expected.write_text(found, encoding="utf-8")
    assert found == expected.read_text(encoding="utf-8")
