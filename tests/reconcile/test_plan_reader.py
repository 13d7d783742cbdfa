"""A plan that was sent as JSON reads as the one that was made."""

from __future__ import annotations

import json
from pathlib import Path

from iogate.cli.plans.plan_markdown import plan_markdown
from iogate.cli.plans.plan_text import plan_lines
from iogate.reconcile.plan_reader import read_plan
from tests.reconcile.meanings.test_changes import SEEDED, changed


def test_every_kind_of_change_reads_the_same(tmp_path: Path) -> None:
    for number, (name, edits, _, _) in enumerate(SEEDED[::8]):
        made = changed(tmp_path / str(number), edits)
        sent = json.loads(json.dumps(made.to_json()))
        found = read_plan(sent)
        assert plan_lines(found) == plan_lines(made), name
        assert found.to_json() == sent, name
        assert plan_markdown(found, "x", []) == plan_markdown(made, "x", []), name
