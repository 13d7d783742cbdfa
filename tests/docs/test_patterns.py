"""The workflows of the page of patterns run, and give what the page says."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests import fork_server
from tests.docs.pages import DOCS

BLOCK = re.compile(r"^```yaml\n# (workflows\.d/\S+\.yaml): [^\n]+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILES = dict(BLOCK.findall((DOCS / "patterns.md").read_text(encoding="utf-8")))
PRICES = [{"sku": "a", "price": 1}, {"sku": "bb", "price": 2}, {"sku": "ccc", "price": 3}]
SKUS = [each["sku"] for each in PRICES]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


def iogate(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return fork_server.run("iogate", *arguments, folder=project)


def test_the_page_has_the_workflows_that_are_tested_here() -> None:
    assert {Path(name).stem for name in FILES} == {
        "price",
        "compare",
        "one-by-one",
        "all",
        "priced",
        "batch",
    }


def test_they_are_valid_without_a_warning(project: Path) -> None:
    ran = iogate(project, "validate", "-o", "json")
    assert json.loads(ran.stdout)["problems"] == [], ran.stdout


@pytest.mark.parametrize(
    ("name", "given", "output"),
    [
        ("compare", {"here": "a", "there": "bb"}, {"total": 3, "prices": PRICES[:2]}),
        ("one-by-one", {"skus": SKUS}, {"prices": PRICES}),
        ("one-by-one", {"skus": []}, {"prices": []}),
        ("all", {"skus": SKUS}, PRICES),
        ("all", {"skus": []}, []),
        ("batch", {"skus": SKUS}, {"prices": PRICES}),
        ("batch", {"skus": []}, {"prices": []}),
    ],
)
def test_a_pattern_gives_what_it_promises(project: Path, name: str, given: Any, output: Any) -> None:
    ran = iogate(project, "run", f"workflows.d/{name}.yaml", "--input", json.dumps(given), "-o", "json")
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["output"] == output
