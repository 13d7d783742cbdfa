"""The samples do what their debug cases say, and any conforming runtime can read their workflows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from iogate import documents
from iogate.documents.api import DebugCase
from iogate.documents.dsl.metadata import ScheduleCase
from iogate.documents.yaml.reader import read_file
from iogate.settings import Settings
from iogate.testing import Harness, replay, replay_schedule

ROOT = Path(__file__).parents[2]
STANDARD = ROOT.parent / "shared" / "open-workflow" / "schema" / "workflow.yaml"
WORKFLOWS = sorted((ROOT / "workflows.d").glob("*.yaml"))


def cases() -> list[Any]:
    return [
        pytest.param(f"{document.model.module}/{name}", case, id=f"{name}-{case.name}")
        for document in documents.load(ROOT).apis
        for name, method in document.model.methods.items()
        for case in method.debug or ()
    ]


def ticks() -> list[Any]:
    return [
        pytest.param(
            f"{document.model.document.namespace}/{document.model.document.name}", case, id=case.name
        )
        for document in documents.load(ROOT).workflows
        for case in document.model.cases
    ]


@pytest.fixture(scope="module")
def harness() -> Harness:
    return Harness.load(ROOT, settings=Settings(allow_run=("script",)))


@pytest.mark.parametrize(("api", "case"), cases())
async def test_every_debug_case_holds(harness: Harness, api: str, case: DebugCase) -> None:
    assert (await replay(harness, api, case)).failures == ()


@pytest.mark.parametrize(("workflow", "case"), ticks())
async def test_every_debug_case_of_a_schedule_holds(
    harness: Harness, workflow: str, case: ScheduleCase
) -> None:
    assert case.expect is not None
    assert (await replay_schedule(harness, workflow, case)).failures == ()


def test_every_method_has_a_case_that_expects_something_and_is_enabled() -> None:
    for document in documents.load(ROOT).apis:
        for name, method in document.model.methods.items():
            assert method.enabled, name
            assert method.debug, name
            for case in method.debug:
                assert case.expect is not None, (name, case.name)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_the_workflows_hold_by_the_standards_own_schema(path: Path) -> None:
    if not STANDARD.is_file():
        pytest.skip("the standard's schema is not on this machine")
    validator = jsonschema_rs.validator_for(read_file(STANDARD, STANDARD.name).data)
    assert [error.message for error in validator.iter_errors(read_file(path, path.name).data)] == []


async def test_the_site_check_calls_what_it_is_given(harness: Harness) -> None:
    """A URL in the data is called only where `allow_hosts` names its host: here it does not."""
    outcome = await harness.run("samples/check-site", {"url": "http://127.0.0.1:1/"}, offline=False)
    assert outcome.error is not None
    assert outcome.error["status"] == 403
    assert 'not in "allow_hosts"' in outcome.error["detail"]
