"""The page of changes and the kinds of a plan say the same."""

from __future__ import annotations

from iogate.reconcile.meanings.change_kinds import KINDS, SEVERITIES
from iogate.testing.behaviour import answers, replay_comparison, replays
from tests.docs.pages import DOCS, names, rows, sections

PAGE = DOCS / "reference" / "changes.md"


def test_the_table_has_each_kind_with_its_severity() -> None:
    told = {names(cells[0])[0]: cells[1] for cells in rows(sections(PAGE)["Kinds"])}
    assert told == KINDS
    assert list(told) == list(KINDS), "in the same order"


def test_the_severities_stand_in_their_order() -> None:
    told = [names(cells[0])[0] for cells in rows(sections(PAGE)["Meanings of changes"])]
    assert told == list(SEVERITIES)


def test_the_tables_of_replays_have_each_finding_and_each_reason() -> None:
    told = [name for cells in rows(sections(PAGE)["Replays"]) for name in names(cells[0])]
    reasons = [
        value
        for module in (answers, replays)
        for name, value in vars(module).items()
        if name.isupper() and not name.startswith("_") and isinstance(value, str)
    ]
    assert told[: len(replay_comparison.KINDS)] == list(replay_comparison.KINDS)
    assert sorted(told[len(replay_comparison.KINDS) :]) == sorted(reasons)
