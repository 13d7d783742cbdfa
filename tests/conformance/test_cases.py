"""The standard, property by property: every case of `cases/` is a sentence and a workflow that shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.running import CASES, Case, check, read_cases

FILES = sorted(path.name for path in CASES.glob("*.yaml"))
ALL = [pytest.param(case, id=f"{name[:-5]}: {case.property}") for name in FILES for case in read_cases(name)]


def test_no_two_cases_state_the_same_property() -> None:
    names = [(name, case.property) for name in FILES for case in read_cases(name)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("case", ALL)
async def test_holds(case: Case, tmp_path: Path) -> None:
    await check(case, tmp_path)
