"""Findings of `iogate lint` about a folder, as tests compare them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iogate import settings
from iogate.compiler.compile import compile_documents
from iogate.compiler.lint import linter
from iogate.compiler.lint.project import Project
from iogate.documents import Problem, load, read_yaml
from iogate.settings.lint_rules import LINT_RULES


def findings(
    root: Path, given: Mapping[str, Any] | None = None, *, partial: bool = False
) -> tuple[tuple[Problem, ...], Mapping[str, Any]]:
    """Return the findings about a project, and the sources of its files."""
    file = root / "iogate.yaml"
    read = settings.read({**(read_yaml(file).data if file.exists() else {}), **(given or {})})
    documents = load(root)
    compiled = compile_documents(documents, read, root=root, purpose="validate", partial=partial)
    project = Project(documents=documents, definitions=compiled.definitions, settings=read, partial=partial)
    return linter.assess(project, compiled.problems, read.lint, LINT_RULES), documents.sources


def codes(root: Path, given: Mapping[str, Any] | None = None, *, partial: bool = False) -> list[str]:
    return [problem.code for problem in findings(root, given, partial=partial)[0]]
