"""Values of secrets in running processes as tables, from their JSON.

Used by `status`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from iogate.cli.render import Table


def tables(found: Sequence[Mapping[str, Any]], *, every: bool) -> list[Table]:
    """Return a table of the secrets with different values; with `every` also one of all fingerprints."""
    made = []
    differing = [
        (_name(each), _describe(each), ", ".join(_behind(each))) for each in found if len(each["values"]) > 1
    ]
    if differing:
        made.append(Table(columns=("secret", "values", "not yet"), rows=differing))
    if every and found:
        rows = [
            (_name(each), process, value["fingerprint"], value["since"])
            for each in found
            for value in each["values"]
            for process in value["processes"]
        ]
        rows += [
            (_name(each), process, "another link_key", None) for each in found for process in each["otherKey"]
        ]
        made.append(Table(columns=("secret", "process", "fingerprint", "since"), rows=rows))
    return made


def _describe(found: Mapping[str, Any]) -> str:
    """Describe for a secret with several values how many processes have the new one."""
    holders = [value["processes"] for value in found["values"]]
    text = f"{len(holders[0])} of {sum(map(len, holders))} processes have the new value"
    if others := len(found["otherKey"]):
        text += f"; {others} with another link_key cannot be compared"
    return text


def _behind(found: Mapping[str, Any]) -> list[str]:
    """Return for display the processes that have an older value of a secret."""
    return [name for value in found["values"][1:] for name in value["processes"]]


def _name(found: Mapping[str, Any]) -> str:
    used_by = ", ".join(found["usedBy"])
    return f"{used_by} ({found['source']})" if used_by else str(found["source"])
