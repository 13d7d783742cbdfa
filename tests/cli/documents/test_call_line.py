"""The curl command that `iogate debug` prints sends what the replay sends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from iogate.cli.documents.case_selection import ApiCase
from iogate.cli.documents.gateway_replay import call_line
from iogate.documents.api import DebugCase
from iogate.testing.case_replay import request_of
from tests.cli.apis.test_examples import api


def line(root: Path, **given: Any) -> str:
    case = ApiCase(api=api(), stored=DebugCase.model_validate({"name": "n", **given}))
    said = call_line(case, request_of(case.stored, case.api, root=root), "http://h/x")
    return said.partition("curl ")[2]


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b", "c;d.csv"):
        (tmp_path / name).write_text("x")


def test_a_file_as_body_has_the_type_of_the_replay(tmp_path: Path) -> None:
    assert line(tmp_path, body_file="a.png") == "-H 'Content-Type: image/png' --data-binary @a.png http://h/x"
    given = {"Content-Type": "text/plain"}
    assert line(tmp_path, body_file="b", headers=given) == (
        "-H 'Content-Type: text/plain' --data-binary @b http://h/x"
    )


def test_a_form_has_the_types_of_the_replay(tmp_path: Path) -> None:
    assert line(tmp_path, multipart={"n": "1", "f": [{"file": "a.png"}, {"file": "b"}]}) == (
        "-F n=1 -F 'f=@a.png;type=image/png' -F 'f=@b;type=application/octet-stream' http://h/x"
    )
    assert line(tmp_path, multipart={"n": "a;type=b", "f": {"file": "c;d.csv"}}) == (
        """--form-string 'n=a;type=b' -F 'f=@"c;d.csv";type=text/csv' http://h/x"""
    )
