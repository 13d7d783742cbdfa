"""Plan from its JSON, for a command that shows the difference that a server has computed.

Used by `diff`. Pure. Invariant: the plan reads as the one from which the JSON was made; a value is as it was
shown, with redacted secrets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from iogate import json_pointer
from iogate.reconcile.json_diff import ABSENT, JsonChange
from iogate.reconcile.meanings.change_kinds import Meaning
from iogate.reconcile.plan import ObjectChange, Plan


def read_plan(value: Mapping[str, Any]) -> Plan:
    """Return the plan whose `changes` are in a value that `Plan.to_json` has returned."""
    return Plan(changes=tuple(map(_change, value["changes"])))


def _change(value: Mapping[str, Any]) -> ObjectChange:
    return ObjectChange(
        action=value["action"],
        type=value["type"],
        id=value["id"],
        meanings=tuple(
            Meaning(kind=each["kind"], text=each["text"], pointer=each["pointer"])
            for each in value["meanings"]
        ),
        fields=tuple(
            JsonChange(
                path=json_pointer.parse(each["pointer"]),
                before=ABSENT if each["before"] is None else each["before"],
                after=ABSENT if each["after"] is None else each["after"],
            )
            for each in value["fields"]
        ),
        source=value["source"] or "",
        used_by=tuple(value["usedBy"]),
    )
