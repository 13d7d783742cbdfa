"""Check that an idempotency key does not outlive the run that it stands for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from iogate.compiler.diagnostics import Document, warning_at
from iogate.documents.problems import Problem
from iogate.timing.durations import format_seconds

if TYPE_CHECKING:
    from iogate.documents.api import Method
    from iogate.json_pointer import Pointer


def check(document: Document, pointer: Pointer, method: Method) -> Iterator[Problem]:
    """Warn if the retention of the method at `pointer` ends while its idempotency keys are in force."""
    retention_s, idempotency = method.retention, method.idempotency
    if retention_s is None or idempotency is None or retention_s >= idempotency.ttl:
        return
    own = document.data["methods"][pointer[-1]]
    at = next(
        (
            (*place, key)
            for key in ("retention", "idempotency")
            for place, data in ((pointer, own), ((), document.data))
            if key in data
        ),
        pointer,
    )
    yield warning_at(
        document,
        at,
        "IOG522",
        f"runs are kept for {format_seconds(retention_s)}, which is shorter than the "
        f"{format_seconds(idempotency.ttl)} of idempotency.ttl",
        key=True,
        hint="a repeated call after that makes a new run; lengthen retention, or shorten idempotency.ttl",
    )
