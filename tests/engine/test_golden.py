"""States of earlier releases load and continue: frames are a format, not an implementation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from iogate.compiler.program import load
from iogate.engine.commands import Performed, Resumed
from iogate.engine.state.frame import frame_to_json
from iogate.engine.state.run_state import head_to_json, state_from_json
from tests.engine.engine_runs import Run

GOLDEN = Path(__file__).parent / "golden"
STATES = sorted(GOLDEN.glob("*.json"))


@pytest.mark.parametrize("path", STATES, ids=lambda path: path.stem)
def test_a_stored_state_continues(path: Path) -> None:
    stored: dict[str, Any] = json.loads(path.read_text())
    definition = yaml.safe_load((GOLDEN / "everything.yaml").read_text())
    run = Run(load(definition), input=stored["input"], now_ms=stored["now_ms"])
    run.state = state_from_json(stored["head"], {frame["id"]: frame for frame in stored["frames"]})
    performs = run.advance(Resumed())
    assert [perform.idempotency_key for perform in performs] == stored["keys"]
    run.advance(*(Performed(frame=perform.frame, output={"n": 2}) for perform in performs))
    run.finish(lambda _: {"n": 3})
    assert run.state.status == "completed"
    assert run.state.output == stored["output"]


def test_this_release_stores_the_newest_golden_state() -> None:
    stored: dict[str, Any] = json.loads(STATES[-1].read_text())
    definition = yaml.safe_load((GOLDEN / "everything.yaml").read_text())
    run = Run(load(definition), input=stored["input"], now_ms=stored["now_ms"])
    run.advance()
    assert head_to_json(run.state) == stored["head"]
    assert [frame_to_json(frame) for frame in run.state.frames.values()] == stored["frames"]


def test_a_state_of_a_newer_release_is_refused() -> None:
    with pytest.raises(ValueError, match="state has format 2, this release reads 1"):
        state_from_json({"format": 2}, {})
