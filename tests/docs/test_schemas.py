"""The JSON Schemas in the package are those of the models; `IOGATE_GOLDEN=write` writes them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import jsonschema_rs
import pytest

import iogate
from iogate import documents, settings
from iogate.cli.documents.schema_files import KINDS, Kind, packaged_schema
from iogate.documents.yaml.reader import read_file
from tests.docs.pages import ROOT


@pytest.mark.parametrize("kind", KINDS)
def test_the_schemas_in_the_package_are_current(kind: Kind) -> None:
    made = settings.schema() if kind == "settings" else documents.schema(kind)
    text = json.dumps(made, indent=2, ensure_ascii=False) + "\n"
    if os.environ.get("IOGATE_GOLDEN") == "write":
        (Path(iogate.__file__).parent / "schemas" / f"{kind}.schema.json").write_text(text, encoding="utf-8")
    assert packaged_schema(kind) == text, "IOGATE_GOLDEN=write python -m pytest tests/docs/test_schemas.py"


FILES = [("settings", ROOT / "iogate.yaml")]
FILES += [("api", path) for path in sorted((ROOT / "apis.d").glob("*.yaml"))]
FILES += [("workflow", path) for path in sorted((ROOT / "workflows.d").glob("*.yaml"))]


@pytest.mark.parametrize(("kind", "path"), FILES, ids=[path.name for _, path in FILES])
def test_the_schemas_accept_the_samples(kind: Kind, path: Path) -> None:
    validator = jsonschema_rs.validator_for(json.loads(packaged_schema(kind)))
    assert [error.message for error in validator.iter_errors(read_file(path, path.name).data)] == []
