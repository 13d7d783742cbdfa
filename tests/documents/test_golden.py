"""Golden pairs: a document and the exact text of its problems.

To accept new words, run with the environment variable IOGATE_GOLDEN=write, then read the difference.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from iogate.documents import load, render_all

GOLDEN = Path(__file__).parent / "golden"
ERR = sorted((GOLDEN / "err").glob("*.yaml"))
OK = sorted((GOLDEN / "ok").glob("*.yaml"))


@pytest.mark.parametrize("path", ERR, ids=lambda path: path.stem)
def test_an_invalid_document_has_these_problems(path: Path) -> None:
    documents = load(path.parent, [path])
    rendered = render_all(documents.problems, documents.sources)
    expected = path.with_suffix(".out")
    if os.environ.get("IOGATE_GOLDEN") == "write":
        expected.write_text(rendered, encoding="utf-8")
    assert rendered == expected.read_text(encoding="utf-8")
    assert documents.errors
    assert not documents.apis
    assert not documents.workflows


@pytest.mark.parametrize("path", OK, ids=lambda path: path.stem)
def test_a_valid_document_has_no_problem(path: Path) -> None:
    documents = load(path.parent, [path])
    assert render_all(documents.problems, documents.sources) == ""
    assert len(documents.apis) + len(documents.workflows) == 1


def test_no_secret_is_ever_shown() -> None:
    for path in ERR:
        documents = load(path.parent, [path])
        assert "do-not-print-me" not in render_all(documents.problems, documents.sources)
        assert "do-not-print-me" not in repr(documents.apis)
