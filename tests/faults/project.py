"""The project under fault: one API whose workflow makes two counted calls with a wait between them."""

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
"""

WORKFLOW = """\
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


def write(folder: Path, *, server: str, port: int, wait_ms: int = 1200) -> None:
    """A project whose calls go to `server` and whose gateway listens on `port`."""
    (folder / "apis.d").mkdir(parents=True)
    (folder / "workflows.d").mkdir()
    (folder / "apis.d" / "faults.yaml").write_text(API)
    (folder / "workflows.d" / "two-calls.yaml").write_text(WORKFLOW.format(server=server, wait_ms=wait_ms))
    (folder / "iogate.yaml").write_text(f"port: {port}\n")
