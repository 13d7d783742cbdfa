"""The page of conformance is what the cases prove, and leaves no row of the standard out."""

from __future__ import annotations

import pytest

from tests.conformance import matrix
from tests.conformance.test_kit import FEATURES
from tests.documents.corpus import STANDARD

REFERENCES = [
    path
    for folder in (STANDARD, FEATURES.parent.parent)
    for path in (folder / "dsl-reference.md", folder / "dsl.md")
    if path.is_file()
]


def test_the_page_lists_exactly_the_proven_rows() -> None:
    assert matrix.PAGE.read_text(encoding="utf-8") == matrix.page(), (
        "python -m tests.conformance.matrix --write"
    )


def test_each_row_has_a_proof_or_a_reason() -> None:
    assert matrix.faults() == []


@pytest.mark.skipif(not REFERENCES, reason="the standard's text is not beside the repository (../shared)")
def test_no_row_of_the_standard_is_left_out() -> None:
    for path in REFERENCES:
        assert matrix.lacking(path.read_text(encoding="utf-8")) == []
