"""Longer deadlines for the store, in gateways of tests that are not about these deadlines.

A busy machine may stall the store or a gateway for seconds, and a gateway answers with 503 after 0.9 s.
Used by the root `conftest` and by `gateway.driver` in the process of a test, and by the fork server in
gateways that it forks. Those that `iogate up` starts keep the deadlines of production, unless the command has
the environment that `of_children` returns; `cli.place` repeats calls that they answer with 503.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from iogate.gateway import revision_refresher, state, table_loader
from iogate.gateway.calls import call_files
from iogate.gateway.events import event_intake
from iogate.store import store
from iogate.store.connection.connection import Connection
from iogate.store.embedded import server
from iogate.store.runs import intake

PATIENT_S = 15.0
"""Longest wait for the store."""
OF_STORE: tuple[tuple[ModuleType, str], ...] = ((intake, "DEADLINE_S"), (store, "INTAKE_TIMEOUT_S"))
"""Deadlines of calls, each as a module and the name of its constant."""
OF_GATEWAY: tuple[tuple[ModuleType, str], ...] = tuple(
    (module, "STORE_TIMEOUT_S")
    for module in (state, call_files, event_intake, revision_refresher, table_loader)
)
"""Deadlines of all other requests."""


def be_patient() -> None:
    """Let this process wait longer for the store from now on."""
    for module, name in (*OF_STORE, *OF_GATEWAY):
        setattr(module, name, PATIENT_S)
    limits = Connection.__init__.__kwdefaults__
    assert limits is not None
    limits["timeout_s"] = PATIENT_S
    server._living.__defaults__ = (PATIENT_S,)


def of_children(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment for a command whose gateways, started by exec, wait longer for their store."""
    tests = Path(__file__).parent
    path = [str(tests / "patient_gateways"), str(tests.parent), environment.get("PYTHONPATH", "")]
    return {**environment, "PYTHONPATH": os.pathsep.join(filter(None, path))}
