"""Containers from the command line, through store, worker and a process that stands in for Docker."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.effects.docker import install

WORKFLOW = """\
document: {dsl: '1.0.3', namespace: shop, name: box, version: '1.0.0'}
timeout: {after: PT3S}
do:
  - box:
      run:
        container:
          image: alpine
          command: %s
          lifetime: {cleanup: always}
"""


@pytest.fixture
def daemon(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    return install(tmp_path_factory.mktemp("docker"), monkeypatch)


def said(daemon: Path) -> list[list[str]]:
    return [json.loads(line) for line in (daemon / "calls").read_text().splitlines()]


def test_a_container_gives_the_output_of_the_run(cli: Cli, daemon: Path) -> None:
    cli.write("box.yaml", (WORKFLOW % "printf hello").replace("PT3S", "PT60S"))
    assert cli("run", "box.yaml", "-o", "json").json["output"] == "hello"
    assert [call[0] for call in said(daemon)] == ["create", "start", "inspect", "rm"]


def test_a_run_that_is_late_kills_its_container(cli: Cli, daemon: Path) -> None:
    cli.write("box.yaml", WORKFLOW % "sleep 60")
    ran = cli("run", "box.yaml", "-o", "json", code=7).json
    assert ran["error"]["status"] == 408
    # On a slow machine its time is over before it starts, or before it exists.
    assert said(daemon)[-1][0] in {"rm", "inspect"}
    assert list((daemon / "containers").glob("*")) == []
