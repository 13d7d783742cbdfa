"""Inputs of a test run (mocks and events) and its outcome.

Created by projects' tests and by `simulation`; read by both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from iogate.engine.commands import Note, Perform, Performed, StartChild
from iogate.engine.state.run_state import WaitingFor
from iogate.errors import ExpectationFailed


class Unmocked(ExpectationFailed):
    """A call to the network without a mock or a test host."""


@dataclass(frozen=True, kw_only=True)
class Mock:
    """Result of a task's effect: an output, before the task's `output.as`, or an error (RFC 7807)."""

    output: Any = None
    error: Mapping[str, Any] | None = None


Mocks = Mapping[str, Mock | Callable[[Perform], Mock] | Callable[[StartChild], Mock]]
"""By the task's reference, `/do/0/loop/for/do/1/call` or, for one turn, `/do/0/loop/for/7/do/1/call`.

A task of a child has the reference of the task that runs it in front: `/do/0/charge/do/2/call`. A mock of the
task that runs a workflow stands for the whole child.
"""


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """An event from outside: as soon as a run waits for events, or so long after the test began."""

    event: Mapping[str, Any]
    """A CloudEvent; `id`, `source` and `time` are filled in."""
    after_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Called:
    """An effect that a run had performed, and its outcome."""

    perform: Perform
    performed: Performed
    mocked: bool


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Outcome of a run and of its children."""

    uid: str
    status: str
    """`completed`, `faulted`, `cancelled`, or `waiting` for something that only the outside can bring."""
    output: Any
    error: Mapping[str, Any] | None
    notes: tuple[Note, ...]
    """The journal, of which the store keeps the last 1,000 entries."""
    calls: tuple[Called, ...]
    waiting_for: WaitingFor | None
    elapsed_s: float
    """By the run's own clock."""
    workflow: str = ""
    """`namespace/name:version`."""
    input: Any = None
    emitted: tuple[Mapping[str, Any], ...] = ()
    """CloudEvents, in their order."""
    children: tuple[Outcome, ...] = ()
    """Of the runs that it started, in their order; mocked ones are none."""
