"""A typical mistake is reported once, at the position where it was made."""

from __future__ import annotations

import pytest

from iogate.documents import load_text, render_all
from tests.documents.seeds import API, SEEDS, WORKFLOW, Seed


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: seed.name.replace(" ", "-"))
def test_a_seeded_mistake_is_found_at_its_line_and_column(seed: Seed) -> None:
    text, line, column = seed.planted()
    documents = load_text(text, "seed.yaml")
    found = [(problem.line, problem.column, problem.code) for problem in documents.errors]
    assert found == [(line, column, seed.code)], render_all(documents.errors, documents.sources)


def test_at_least_sixty_seeds_break_documents_that_are_valid_without_them() -> None:
    assert len(SEEDS) >= 60
    assert len({seed.name for seed in SEEDS}) == len(SEEDS)
    for text in (API, WORKFLOW):
        assert load_text(text).problems == ()
