"""Display of concurrency keys and merged calls in `runs show`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from iogate.messages import counted


def key_lines(run: Mapping[str, Any]) -> list[str]:
    """Return the lines of `runs show` about the keys and the merged calls of a run."""
    lines: list[str] = []
    if key := run.get("concurrencyKey"):
        lines.append(f"{'key':<10} {key['value']}  (concurrency by {key['pointer']})")
    if run.get("mergedCalls"):
        key = run.get("coalesceKey")
        of_key = f", with {key['value']} at {key['pointer']}" if key else ""
        lines.append(f"{'coalesced':<10} with {counted(run['mergedCalls'], 'further call')}{of_key}")
    return lines
