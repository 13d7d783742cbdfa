"""Test harness for workflows: the real engine, scripts and functions, with a controlled clock.

Public: `iogate test` is built on it, and a project's own tests may use it, without Redis or a gateway.

    harness = Harness.load(Path("."))
    outcome = await harness.run("shop/fulfil-order", {"sku": "A-1"}, mocks={"/do/0/charge": Mock(output=…)})
    assert outcome.output == {"ok": True}

Invariant: no HTTP call leaves a test unless the setting `endpoints` covers it or the test says so.
"""

import logging

from iogate.json_values import differences
from iogate.testing.case_replay import Replayed, Sent, failures, replay, request_of
from iogate.testing.clock import FakeClock
from iogate.testing.harness import Harness
from iogate.testing.outcome import Arrival, Called, Mock, Outcome, Unmocked
from iogate.testing.schedule_replay import Ticked, replay_schedule

# Outcomes tell how runs ended; log records are shown only if a test configures a handler.
logging.getLogger("iogate").addHandler(logging.NullHandler())

__all__ = [
    "Arrival",
    "Called",
    "FakeClock",
    "Harness",
    "Mock",
    "Outcome",
    "Replayed",
    "Sent",
    "Ticked",
    "Unmocked",
    "differences",
    "failures",
    "replay",
    "replay_schedule",
    "request_of",
]
