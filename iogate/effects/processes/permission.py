"""Permission of a worker to start a process: the setting `allow_run`, by kind or by digest.

Called by `scripts` and `containers` before each process. Invariant: the digest is that of the definition that
the worker executes, so that no writer to the store can have an unlisted process started.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iogate.compiler.checks.processes import process_digest
from iogate.effects.processes.process_results import configuration_error
from iogate.settings.permissions import allowed_digests, lists_digests

if TYPE_CHECKING:
    from iogate.json_values import JsonObject
    from iogate.settings.permissions import AllowRun


def require_allowed(allow_run: AllowRun, kind: str, run: JsonObject | None, *, loose: bool) -> None:
    """Check the permission to start a process; `run` is the member of its task in the document.

    `loose`: the texts of the document may be expressions.

    Raises WorkflowError `configuration` if it may not.
    """
    digests = allowed_digests(allow_run, kind)
    if digests is None:
        return
    if not lists_digests(allow_run, kind):
        raise configuration_error(f'this worker runs no {kind}; add "{kind}" to its setting "allow_run"')
    digest = None if run is None else process_digest(run, loose=loose)
    if digest is None or digest not in digests:
        raise configuration_error(
            f'the setting "allow_run" of this worker does not list this {kind}: {digest or "unknown digest"}'
        )
