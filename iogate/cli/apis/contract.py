"""The whole contract of a live API as text: its state, and its document with every default written out.

Used by `api show`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from iogate.cli.apis.gate_display import override_text, state_text
from iogate.cli.render import to_yaml
from iogate.cli.runs.statistics_display import error_lines, recent_text
from iogate.url_paths import api_path


def lines(value: Mapping[str, Any]) -> list[str]:
    """Return the text of `api show`: the state, then the contract of the API as YAML."""
    verbs = ", ".join(value["verbs"])
    urls = [f"{verbs} {value['path']}", f"{verbs} {api_path(value['api'], 'sync')}"]
    if value["ownPath"] is not None:
        urls.append(f"{verbs} {value['ownPath']} ({value['ownPathMode']})")
    head = {
        "api": value["api"],
        "state": state_text(dict(value)),
        "override": override_text(value["override"]),
        "switched": _switched(value["switched"]),
        "runs": f"{value['queued']} queued, {value['running']} running",
        "last day": recent_text(value["lastDay"]),
        "url": urls[0],
        "revision": value["revision"],
        "source": value["source"] or None,
    }
    shown = [f"{name:<9} {text}" for name, text in head.items() if text is not None]
    at = next(number for number, line in enumerate(shown) if line.startswith("url"))
    shown[at + 1 : at + 1] = [f"{'':<9} {url}" for url in urls[1:]]
    contract = {name: each for name, each in value["document"].items() if each not in ([], {})}
    errors = error_lines(value["errors"])
    shown += [f"{'errors' if number == 0 else '':<9} {line}" for number, line in enumerate(errors)]
    return ["\n".join(shown), "", to_yaml(contract).rstrip("\n")]


def _switched(switch: Mapping[str, Any] | None) -> str | None:
    if switch is None:
        return None
    reason = f": {switch['reason']}" if switch["reason"] else ""
    return f"by {switch['author']} at {switch['setAt']}{reason}"
