"""Plan from its JSON, for a command that shows the difference that a server has computed.

Used by `diff`. Pure. Invariant: the plan reads as the one from which the JSON was made; a value is as it was
shown, with redacted secrets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from iogate import json_pointer
from iogate.reconcile.json_diff import ABSENT, JsonChange
from iogate.reconcile.meanings.change_kinds import KINDS, Meaning
from iogate.reconcile.plan import Action, ObjectChange, Plan, Type


def read_plan(value: Mapping[str, Any]) -> Plan:
    """Return the plan whose `changes` are in a value that `Plan.to_json` has returned.

    Raises ValueError for a change that only another release knows; KeyError and TypeError for another form.
    """
    return Plan(changes=tuple(map(_change, value["changes"])))


def _change(value: Mapping[str, Any]) -> ObjectChange:
    if value["action"] not in get_args(Action) or value["type"] not in get_args(Type):
        raise ValueError("unknown change")
    return ObjectChange(
        action=value["action"],
        type=value["type"],
        id=value["id"],
        meanings=tuple(map(_meaning, value["meanings"])),
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


def _meaning(value: Mapping[str, Any]) -> Meaning:
    if value["kind"] not in KINDS:
        raise ValueError("unknown kind of change")
    return Meaning(kind=value["kind"], text=value["text"], pointer=value["pointer"])
