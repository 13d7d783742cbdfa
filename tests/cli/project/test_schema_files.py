"""Schemas for editors: files of a project name them, and they are there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema_rs
import pytest

from iogate.documents.yaml.reader import read_file
from tests.cli.conftest import Cli

COMMENT = re.compile(r"# yaml-language-server: \$schema=(\S+)\n")


def test_files_that_init_and_new_create_name_a_schema_that_accepts_them(cli: Cli) -> None:
    cli("init")
    cli("new", "api", "tools/report", "--script", "report.py")
    cli("new", "api", "tools/echo")
    cli("new", "workflow", "shop/fulfil")
    files = [
        cli.root / "iogate.yaml",
        *cli.root.glob("apis.d/**/*.yaml"),
        *cli.root.glob("workflows.d/**/*.yaml"),
    ]
    assert len(files) == 7
    for path in files:
        comment = COMMENT.match(path.read_text())
        assert comment is not None, path
        schema = json.loads((path.parent / comment[1]).read_text())
        jsonschema_rs.validator_for(schema).validate(read_file(path, path.name).data)
    assert ".iogate/" in (cli.root / ".gitignore").read_text().splitlines()
    assert cli("validate", "-o", "json").json["problems"] == []


def test_write_writes_schemas_that_are_missing_or_of_another_release(cli: Cli) -> None:
    ran = cli("schema", "--write", ".iogate/schemas")
    assert ran.out == "".join(
        f"wrote .iogate/schemas/{kind}.schema.json\n" for kind in ("api", "workflow", "settings")
    )
    ran = cli("schema", "--write", ".iogate/schemas")
    assert (ran.out, ran.err) == ("", "the schemas in .iogate/schemas are up to date\n")
    file = cli.root / ".iogate/schemas/api.schema.json"
    file.write_text("{}")
    assert cli("schema", "api", "--write", ".iogate/schemas", "-o", "json").json == {
        "schema": "iogate.schema/v1",
        "written": [".iogate/schemas/api.schema.json"],
    }
    assert file.read_text() == cli("schema", "api").out


def test_a_folder_that_cannot_be_written_is_named(cli: Cli) -> None:
    Path("blocked").write_text("")
    assert cli("schema", "--write", "blocked", code=4).err == (
        "iogate: blocked/api.schema.json: cannot be written: File exists [IOG721]\n"
        "  give yourself the permission to write the folder, or name another one\n"
    )


def test_a_kind_or_a_folder_is_required(cli: Cli) -> None:
    assert cli("schema", code=64).err == (
        "iogate: give a kind of document: api, workflow, settings; "
        "or --write .iogate/schemas, which writes all\n"
    )


@pytest.mark.parametrize("kind", ["api", "workflow", "settings"])
def test_the_schema_is_printed_as_yaml_too(cli: Cli, kind: str) -> None:
    cli.write("s.yaml", cli("schema", kind, "-o", "yaml").out)
    assert read_file(Path("s.yaml"), "s.yaml").data == json.loads(cli("schema", kind).out)
