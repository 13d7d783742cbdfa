"""Files for deployment are valid, and the pages about operating name only what exists."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from iogate.settings import NAMES, read
from iogate.settings.reader import variable
from tests.docs.pages import DOCS, ROOT
from tests.test_house import faults

DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
PAGES = [
    DOCS / "installation.md",
    DOCS / "patterns.md",
    DOCS / "reference" / "observability.md",
    *sorted((DOCS / "operations").glob("*.md")),
]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAM = "/opt/iogate/bin/iogate"
CLOSING_S = 5
STORE_S = 30


def sections(unit: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # keys of units are case-sensitive
    parser.read_string(unit.read_text(encoding="utf-8"))
    return parser


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_accepts_the_unit(unit: Path, tmp_path: Path) -> None:
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("systemd is not on this machine")
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text(encoding="utf-8").replace(PROGRAM, "/bin/true"), encoding="utf-8")
    ran = subprocess.run(
        [tool, "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False, timeout=30
    )
    if "Failed to" in ran.stderr and "bus" in ran.stderr:
        pytest.skip("systemd-analyze does not work in this environment")
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_starts_a_command_that_exists_with_settings_that_exist(unit: Path) -> None:
    service = sections(unit)["Service"]
    program, *arguments = shlex.split(service["ExecStart"])
    assert program == PROGRAM
    assert faults(" ".join(arguments)) == []
    named = set(re.findall(r"\bIOGATE_[A-Z_]+", unit.read_text(encoding="utf-8")))
    assert named <= {variable(name) for name in NAMES}


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_waits_longer_than_the_processes_need(unit: Path) -> None:
    service = sections(unit)["Service"]
    stage_s = read({}).drain_timeout + CLOSING_S
    needed = 2 * stage_s + STORE_S if "up" in service["ExecStart"].split() else stage_s
    assert int(service["TimeoutStopSec"]) > needed
    assert service["KillMode"] == "mixed"


def test_the_image_copies_what_is_there_and_runs_a_command() -> None:
    text = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    for line in re.findall(r"(?m)^COPY (?!--from)(.+)$", text):
        *sources, _ = line.split()
        assert [each for each in sources if not (ROOT / each).exists()] == []
    (command,) = re.findall(r'(?m)^CMD \["(\w+)"\]$', text)
    assert faults(command) == []
    assert set(re.findall(r"\bIOGATE_[A-Z_]+", text)) <= {variable(name) for name in NAMES}


@pytest.mark.parametrize("name", ["nginx.conf", "Caddyfile"])
def test_a_proxy_configuration_is_balanced_and_lets_the_longest_answer_through(name: str) -> None:
    text = re.sub(r"#.*", "", (DEPLOY / "proxy" / name).read_text(encoding="utf-8"))
    assert text.count("{") == text.count("}")
    assert "310s" in text
    assert "/metrics" in text


def test_nginx_accepts_its_configuration(tmp_path: Path) -> None:
    tool = shutil.which("nginx")
    if tool is None:
        pytest.skip("nginx is not on this machine")
    site = (DEPLOY / "proxy/nginx.conf").read_text(encoding="utf-8")
    site = re.sub(r"(?m)^ +ssl_certificate.*$", "", site).replace("443 ssl", "8443")
    whole = tmp_path / "nginx.conf"
    whole.write_text(f"pid {tmp_path}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\n{site}\n}}\n")
    ran = subprocess.run(
        [tool, "-t", "-p", str(tmp_path), "-c", str(whole)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_of_a_page_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    blocks = "\n".join(body for kind, body in FENCE.findall(text) if kind in {"sh", "console"})
    lines = re.findall(r"(?m)(?:^|&& |\$ |`|/bin/)iogate (?:-C \S+ )?([a-z][a-z ]*[^`\n#;&|]*)", blocks)
    lines += re.findall(r"`iogate (?:-C \S+ )?([a-z][^`]*)`", text)
    assert [(line, wrong) for line in lines for wrong in faults(line)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_settings_of_a_page_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert set(re.findall(r"\bIOGATE_[A-Z_]+", text)) - {"IOGATE_SETTINGS"} <= {
        variable(name) for name in NAMES
    }
    for kind, body in FENCE.findall(text):
        if kind == "yaml" and body.startswith("# iogate.yaml"):
            read(yaml.safe_load(body))


def test_each_page_about_operating_is_in_the_index() -> None:
    index = (DOCS / "operations/README.md").read_text(encoding="utf-8")
    missing = [page.name for page in (DOCS / "operations").glob("*.md") if f"]({page.name})" not in index]
    assert missing == ["README.md"], "add a row to the table in docs/operations/README.md"
