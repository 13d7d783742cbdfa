"""Every official example compiles; with `--allow-unsupported`, what is not executed is a warning."""

from __future__ import annotations

from pathlib import Path

import pytest

from iogate.compiler.compile import compile_documents
from iogate.compiler.features import FEATURES
from iogate.documents import load, render_all
from iogate.settings import Settings
from tests.documents.corpus import EXAMPLES, needs_standard

pytestmark = needs_standard


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_an_example_has_no_error(file: Path) -> None:
    documents = load(file.parent, [file])
    made = compile_documents(
        documents, Settings(), root=file.parent, purpose="validate", partial=True, allow_unsupported=True
    )
    assert made.errors == (), render_all(made.errors, documents.sources)
    assert made.bundle is not None


def test_apply_refuses_exactly_the_unexecuted_features_that_a_lenient_validate_warns_of() -> None:
    codes = {feature.code for feature in FEATURES}
    for file in EXAMPLES:
        documents = load(file.parent, [file])
        settings = Settings(allow_run=("script", "shell", "container"))
        warned, refused = (
            {
                (problem.line, problem.code, problem.severity)
                for problem in made.problems
                if problem.code in codes
            }
            for made in (
                compile_documents(documents, settings, root=file.parent, allow_unsupported=lenient)
                for lenient in (True, False)
            )
        )
        assert {(line, code, "error") for line, code, _ in warned} == refused
        assert all(severity == "warning" for _, _, severity in warned)


def test_examples_that_share_a_name_conflict_in_one_project() -> None:
    documents = load(EXAMPLES[0].parent, EXAMPLES)
    made = compile_documents(
        documents,
        Settings(),
        root=EXAMPLES[0].parent,
        purpose="validate",
        partial=True,
        allow_unsupported=True,
    )
    assert {problem.code for problem in made.errors} == {"IOG302"}
