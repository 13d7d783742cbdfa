"""The project under fault: two counted calls with a wait between them; beside it, what kills its worker."""

from __future__ import annotations

from pathlib import Path

API = """\
module: faults
auth: none
timeout: 10m
retention: 1h
methods:
  two-calls:
    workflow: faults/two-calls
    enabled: true
  poison:
    workflow: faults/poison
    enabled: true
"""

TWO_CALLS = """\
document:
  dsl: 1.0.0
  namespace: faults
  name: two-calls
  version: 1.0.0
do:
  - first:
      call: http
      with:
        method: post
        endpoint: {server}/first
        body:
          uid: ${{ $workflow.id }}
  - between:
      wait:
        milliseconds: {wait_ms}
  - second:
      call: http
      with:
        method: post
        endpoint: {server}/second
        body:
          uid: ${{ $workflow.id }}
  - done:
      set:
        ok: true
"""

POISON = """\
document:
  dsl: 1.0.0
  namespace: faults
  name: poison
  version: 1.0.0
do:
  - dies:
      call: die:1.0.0@default
"""

FUNCTION = '''\
"""A function that takes its process with it."""

import os
import signal

import iogate


@iogate.function("die", version="1.0.0")
def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
'''


def write(folder: Path, *, server: str, port: int, wait_ms: int = 1200, gateways: int = 1) -> None:
    """A project whose calls go to `server` and whose gateways listen on `port`."""
    (folder / "apis.d").mkdir(parents=True)
    (folder / "workflows.d").mkdir()
    (folder / "apis.d" / "faults.yaml").write_text(API)
    (folder / "workflows.d" / "two-calls.yaml").write_text(TWO_CALLS.format(server=server, wait_ms=wait_ms))
    (folder / "workflows.d" / "poison.yaml").write_text(POISON)
    (folder / "deadly.py").write_text(FUNCTION)
    (folder / "iogate.yaml").write_text(f"port: {port}\ngateways: {gateways}\nfunctions: [deadly]\n")
