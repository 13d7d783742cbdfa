"""Secrets are in the memory of gateways and workers, not where `/proc` shows them to other processes."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from iogate.supervision import handover
from tests.cli import place
from tests.cli.place import up, write_project

PROC = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
ROOT = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs to change the user")

CANARIES = {
    "SHOP_TOKEN": "iog_shop-canary-1",
    "SHOP_KEY": "canary-2-key",
    "UNRELATED": "canary-3-unrelated",
    "IOGATE_LINK_KEY": "canary-4-link-key-of-32-characters-or-more",
}
WORKFLOW = """\
document: {dsl: '1.0.3', namespace: shop, name: buy, version: 1.0.0}
use: {secrets: [key]}
do:
  - see:
      run:
        shell:
          command: env; cat /proc/$PPID/environ 2>/dev/null | tr '\\0' '\\n'; echo "$KEY" | wc -c
          environment: {KEY: '${ $secrets.key }'}
"""
SETTINGS = """\
allow_run: [shell]
secrets: {key: {env: SHOP_KEY}}
process_environment: [SHOP_REGION, SHOP_TRACE_*]
"""


def descendants(pid: int) -> list[int]:
    listed = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True)
    pairs = [tuple(map(int, line.split())) for line in listed.stdout.splitlines()]
    found = [pid]
    for parent in found:
        found += [child for child, above in pairs if above == parent]
    return found[1:]


@PROC
def test_environments_and_command_lines_show_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of gateway, worker, store and script; each gets what its settings name, and the secrets work."""
    write_project(tmp_path)
    (tmp_path / "workflows.d/buy.yaml").write_text(WORKFLOW)
    (tmp_path / "iogate.yaml").write_text(SETTINGS)
    passed_on = {"SHOP_REGION": "region-1", "SHOP_TRACE_ID": "trace-1"}
    monkeypatch.setattr(place, "ENVIRONMENT", CANARIES | passed_on)
    with up(tmp_path) as running:
        header = {"Authorization": f"Bearer {CANARIES['SHOP_TOKEN']}"}
        status, response = running.call("/v1/api/shop/guarded/sync", {"sku": "A-1"}, header)
        assert status == 200, response
        children = descendants(running.process.pid)
        assert len(children) >= 3
        shown = ""
        for pid in children:
            with suppress(FileNotFoundError, ProcessLookupError):  # it may have ended since
                for name in ("environ", "cmdline"):
                    shown += (Path(f"/proc/{pid}") / name).read_bytes().decode(errors="replace")
    seen = response["data"]
    assert seen.splitlines()[-1] == str(len(CANARIES["SHOP_KEY"]) + 1)
    assert "SHOP_REGION=region-1\n" in seen
    assert "SHOP_TRACE_ID=trace-1\n" in seen
    seen = seen.replace(f"KEY={CANARIES['SHOP_KEY']}\n", "")
    for name, value in CANARIES.items():
        assert value not in shown, name
        assert value not in seen, name


@PROC
@ROOT
def test_processes_of_the_same_user_cannot_read_a_concealed_process() -> None:
    """A script of the worker's user reads neither its environment nor its memory."""
    code = (
        "import ctypes, os, time; from iogate.supervision.handover import conceal; os.setuid(65534)\n"
        "ctypes.CDLL(None).prctl(4, 1); conceal(); print(flush=True); time.sleep(30)"  # as after its exec
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as hidden:
        assert hidden.stdout is not None
        try:
            hidden.stdout.readline()
            reading = (
                f"cat /proc/{hidden.pid}/environ; cat /proc/{hidden.pid}/maps; ls /proc/{hidden.pid}/fd/"
            )
            ran = subprocess.run(
                ["/bin/sh", "-c", reading], user=65534, capture_output=True, text=True, check=False
            )
        finally:
            hidden.kill()
    assert ran.stdout == ""
    assert ran.stderr.count("Permission denied") == 3


def test_a_child_gets_the_base_variables_and_the_named_ones() -> None:
    environment = {"PATH": "p", "LC_ALL": "C", "https_proxy": "x", "AWS_KEY": "k", "AWS": "a", "ONE": "1"}
    assert handover.minimal(environment) == {"PATH": "p", "LC_ALL": "C", "https_proxy": "x"}
    assert handover.minimal(environment, ("ONE", "AWS_*")) == {
        key: value for key, value in environment.items() if key != "AWS"
    }
    assert handover.selected(environment, ("ONE", "AWS_*")) == {"AWS_KEY": "k", "ONE": "1"}
