"""Workflows start only the kinds of processes that the settings allow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from iogate.compiler import outline
from iogate.compiler.faults import Placed, Surroundings, fault
from iogate.documents.problems import Problem
from iogate.settings import Runnable

CODE = "IOG316"


def check(document: Placed, surroundings: Surroundings) -> Iterator[Problem]:
    if surroundings.purpose == "run":
        return
    allowed = surroundings.settings.allow_run
    for task in outline.tasks(document.data):
        for kind in get_args(Runnable):
            if kind in (task.data.get("run") or {}) and kind not in allowed:
                wanted = ", ".join((*allowed, kind))
                yield fault(
                    document,
                    (*task.pointer, "run", kind),
                    CODE,
                    f'running a {kind} is not allowed by the setting "allow_run"',
                    key=True,
                    severity=surroundings.unsupported,
                    hint=f"if it may, write allow_run: [{wanted}] in iogate.yaml",
                )
