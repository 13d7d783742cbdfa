"""Other processes read a part of many files, and the result is that of one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from iogate.documents.yaml.project_reader import FEWEST

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2, reason="needs a second processor"
)

WORKFLOW = (
    "document: {dsl: '1.0.3', namespace: many, name: w%d, version: 1.0.0}\ndo:\n  - one: {set: {a: 1}}\n"
)
FLAWS = {7: "do: [", 50: "a: 1\na: 2\n", 90: "document: {}\ndo: []\n", 120: "", 121: "x: &a 1\ny: *a\n"}
READ = """
import json, os, sys, threading
from pathlib import Path
from iogate.documents.yaml import project_reader
from iogate.documents.loader import load
from iogate.documents.problems import render_all
how = sys.argv[1]
if how == "alone":
    project_reader.FEWEST = 10_000
if how == "thread":
    threading.Thread(target=threading.Event().wait, daemon=True).start()
if how == "dies":
    project_reader.ProjectReader._serve = lambda *_: os._exit(1)
forks = []
os.register_at_fork(after_in_parent=lambda: forks.append(1))
with project_reader.ProjectReader(Path()).start():
    pass  # closing ends processes whose results nothing asks for
with project_reader.ProjectReader(Path()).start() as reader:
    documents = load(Path(), reader=reader)
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    pass
else:
    sys.exit("a process is left")
assert all(document.at(("do",), key=True).line == 2 for document in documents.workflows)
json.dump({
    "forks": len(forks),
    "data": [document.data for document in documents.workflows],
    "paths": list(documents.sources),
    "text": render_all(documents.problems, documents.sources),
}, sys.stdout)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "workflows.d"
    folder.mkdir()
    for number in range(FEWEST + 3):
        (folder / f"w{number}.yaml").write_text(FLAWS.get(number, WORKFLOW % number))
    return tmp_path


def read(project: Path, how: str) -> dict[str, Any]:
    ran = subprocess.run(
        [sys.executable, "-c", READ, how],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        check=True,
        capture_output=True,
        text=True,
    )
    made: dict[str, Any] = json.loads(ran.stdout)
    return made


def test_files_read_by_other_processes_give_the_same_documents_and_problems(project: Path) -> None:
    alone, together = read(project, "alone"), read(project, "together")
    assert alone.pop("forks") == 0
    assert together.pop("forks") >= 1
    assert together == alone
    assert all(f"w{number}.yaml:" in alone["text"] for number in FLAWS)


def test_the_files_of_a_process_that_dies_are_read_by_the_first_one(project: Path) -> None:
    died = read(project, "dies")
    assert died.pop("forks") >= 1
    assert died == {key: value for key, value in read(project, "alone").items() if key != "forks"}


def test_a_process_with_threads_reads_alone(project: Path) -> None:
    assert read(project, "thread")["forks"] == 0
