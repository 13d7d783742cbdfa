"""Journal entries as callers see them."""

from __future__ import annotations

from iogate.store.runs.presentation import public_entry


def test_callers_see_neither_output_of_processes_nor_recorded_data() -> None:
    for kind in ("process.output", "task.recorded"):
        assert public_entry({"kind": kind, "at": 1, "detail": {"input": {"sku": 1}}}) is None
    assert public_entry({"kind": "task.completed", "at": 1}) == {"kind": "task.completed", "at": 1}
