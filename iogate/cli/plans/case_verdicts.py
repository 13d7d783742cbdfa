"""Debug cases of changed APIs, checked against the old and the new input schema.

Used by the commands that plan. Invariant: a case counts only if the old form of the API accepts it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from iogate.cli.documents.bundle import CheckResult
    from iogate.compiler.revision import Api, Revision
    from iogate.documents.api import DebugCase
    from iogate.reconcile.live_plan import CaseReader
    from iogate.reconcile.plan_facts import CaseVerdicts


def case_reader(checked: CheckResult, root: Path) -> CaseReader:
    """Return a function that gives the verdicts of two revisions' schemas on the cases of the files."""

    def read(before: Revision, after: Revision) -> dict[str, CaseVerdicts]:
        from iogate.reconcile.plan_facts import CaseVerdicts

        changed = {
            name: api
            for name, api in after.apis.items()
            if name in before.apis and before.apis[name].input_schema != api.input_schema
        }
        if not changed:
            return {}
        from iogate.cli.documents.case_selection import api_cases

        accepted: dict[str, int] = {}
        failing: dict[str, list[str]] = {}
        for case in api_cases(checked):
            if case.id not in changed:
                continue
            new = changed[case.id]
            old = msgspec.structs.replace(new, input_schema=before.apis[case.id].input_schema)
            if _accepts(old, case.stored, root):
                accepted[case.id] = accepted.get(case.id, 0) + 1
                if not _accepts(new, case.stored, root):
                    failing.setdefault(case.id, []).append(case.stored.name)
        return {
            name: CaseVerdicts(total=total, failing=tuple(failing.get(name, ())))
            for name, total in accepted.items()
        }

    return read


def _accepts(api: Api, case: DebugCase, root: Path) -> bool:
    """Tell, for a verdict on a debug case, whether the gateway would accept its request."""
    from iogate.gateway.http.responses import HTTPError
    from iogate.testing.case_replay import input_of, request_of

    try:
        input_of(api, request_of(case, api, root=root), root)
    except (HTTPError, OSError, ValueError):
        return False
    return True
