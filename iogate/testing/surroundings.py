"""Secrets and events of a run in a test, where the author of the test leaves something open.

Used by `stage` and `schedules`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from iogate.compiler.program import Program
from iogate.engine.advance import Environment
from iogate.engine.tasks.emit import envelope
from iogate.errors import ExpectationFailed, WorkflowError


def environment_of(program: Program, secrets: Mapping[str, Any] | None, error_types: str) -> Environment:
    """Return the surroundings of a run; without secrets, each one that it declares is a placeholder."""
    if secrets is None:
        secrets = {name: f"secret {name}" for name in program.secrets}
    return Environment(secrets=secrets, error_types=error_types)


def envelope_of(event: Mapping[str, Any], index: int, now_ms: int) -> dict[str, Any]:
    """Return the event of a test with its missing attributes filled in.

    Raises:
        ExpectationFailed: it has an attribute that no CloudEvent has.
    """
    try:
        return envelope(event, id_=str(index), source="/test", now_ms=now_ms)
    except WorkflowError as error:
        said = (error.detail or "").replace("emit.event.with", "it")
        raise ExpectationFailed(f"event {index + 1} of the case is no CloudEvent: {said}") from None
