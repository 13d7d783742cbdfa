"""The standard's schema and examples, which are stored beside the repository."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from pydantic import ValidationError

from iogate.documents.dsl import Workflow
from iogate.documents.yaml.reader import read_bytes

STANDARD = Path(__file__).resolve().parents[2].parent / "shared" / "open-workflow"
EXAMPLES = sorted((STANDARD / "examples").glob("*.yaml"))

needs_standard = pytest.mark.skipif(
    not EXAMPLES, reason="the standard's schema and examples are not beside the repository (../shared)"
)


def data_of(path: Path) -> Any:
    """What a file of the corpus holds."""
    reading = read_bytes(path.read_bytes(), path.name)
    assert not reading.problems
    return reading.data


@cache
def official() -> jsonschema_rs.Draft202012Validator:
    """The official schema, compiled; formats are annotations, as the dialect says."""
    return jsonschema_rs.Draft202012Validator(data_of(STANDARD / "schema" / "workflow.yaml"))


def holds(document: Any) -> bool:
    """Our verdict."""
    try:
        Workflow.model_validate(document)
    except ValidationError:
        return False
    return True
