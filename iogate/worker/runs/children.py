"""Resolution of child workflows, whose runs start with the next commit of the parent.

Used by `executor`. Invariant: a child is resolved before the state that waits for it is stored, so that no
stored state waits for a run that never starts.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence

from iogate.compiler.revision import Revision, Workflow
from iogate.engine.commands import ChildEnded, StartChild
from iogate.errors import NotFound, WorkflowError
from iogate.store.integrity.seals import Facts
from iogate.store.revisions.revisions import NotAuthentic
from iogate.store.runs.claims import Claim
from iogate.store.runs.commits import Child
from iogate.store.runs.uids import UidSource
from iogate.store.state_codec import encode_data
from iogate.value_types.semantic_versions import version_precedence
from iogate.worker.ports import ResolvedChildren, Revisions
from iogate.worker.store_reader import StoreReader

log = logging.getLogger(__name__)

DEEPEST = 32
"""Largest number of ancestors of a run, so that a workflow that starts itself ends."""
KEPT = 8
"""Number of revisions in memory."""
NAMED = 8
"""Number of workflows that a message lists."""


class ChildResolver:
    """Resolver of child workflows, with a cache of revisions."""

    def __init__(self, revisions: Revisions) -> None:
        self._revisions = revisions
        self._reader = StoreReader()
        self._uids = UidSource()
        self._kept: OrderedDict[int, Revision] = OrderedDict()

    async def resolve(self, claim: Claim, starts: Sequence[StartChild]) -> ResolvedChildren:
        """Resolve the child workflows to start; retry if the store is unreachable."""
        resolved = ResolvedChildren()
        for start in starts:
            try:
                resolved.children.append(await self._child(claim, start))
            except WorkflowError as error:
                if start.awaits:
                    described = error.to_json()
                    resolved.ended.append(
                        ChildEnded(
                            frame=start.frame, number=0, status="faulted", error=described, started=False
                        )
                    )
                else:
                    log.warning(
                        "run %s: child %s, which no task awaits, could not start: %s",
                        claim.uid,
                        start.reference,
                        error.detail,
                        extra={"action": "run.unawaited", "uid": claim.uid},
                    )
        return resolved

    async def _child(self, parent: Claim, start: StartChild) -> Child:
        if parent.depth >= DEEPEST:
            raise WorkflowError(
                "runtime",
                title="Workflows nested too deeply",
                detail=f"{start.namespace}/{start.name} would have {DEEPEST + 1} ancestors;"
                f" at most {DEEPEST} are allowed",
            )
        number, name, workflow = await self._find(parent, start)
        facts = Facts(
            revision=number,
            workflow=name,
            program=workflow.program,
            caller=parent.caller,
            timeout_s=None,
            nonce="",
            parent=f"{parent.uid}/{start.frame}" if start.awaits else "",
            trace=parent.trace,
        )
        return Child(
            uid=self._uids.next(),
            api=parent.api,
            frame=start.frame,
            facts=facts,
            input=encode_data(start.input, f"the input for {start.namespace}/{start.name}"),
            awaits=start.awaits,
        )

    async def _find(self, parent: Claim, start: StartChild) -> tuple[int, str, Workflow]:
        """Find the workflow of a child to start; return it behind its revision and its full name.

        If the revision of the parent is gone, the live revision of its project is used.
        """
        number = parent.revision
        revision = await self._revision(number) if number else None
        if revision is None:
            number = await self._live(parent.api)
            revision = await self._revision(number)
        workflows: Mapping[str, Workflow] = {} if revision is None else revision.workflows
        full = f"{start.namespace}/{start.name}"
        versions = {
            version: workflow
            for name, workflow in workflows.items()
            for named, _, version in (name.partition(":"),)
            if named == full
        }
        version = start.version
        if version in {"", "latest"} and versions:
            version = max(versions, key=version_precedence)
        workflow = versions.get(version)
        if workflow is None:
            raise WorkflowError(
                "configuration",
                title="Unknown workflow",
                detail=_unknown(full, version, versions, workflows),
            )
        return number, f"{full}:{version}", workflow

    async def _revision(self, number: int) -> Revision | None:
        """Return the revision of a child; None if it was removed or is not authentic."""
        known = self._kept.get(number)
        if known is not None:
            self._kept.move_to_end(number)
            return known
        try:
            revision = await self._reader.read(f"revision {number}", lambda: self._revisions.load(number))
        except (NotFound, NotAuthentic):
            return None
        self._kept[number] = revision
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return revision

    async def _live(self, api: str) -> int:
        """Return the live revision of the project of an API for its children, 0 if there is none."""
        live = await self._reader.read("the live revision", lambda: self._revisions.live_for(api))
        return 0 if live is None else live[0]


def _unknown(full: str, version: str, versions: Iterable[str], workflows: Iterable[str]) -> str:
    known = sorted(versions, key=version_precedence)
    if known:
        return f"workflow {full} has no version {version}; it has {', '.join(known)}"
    available = sorted({name.partition(":")[0] for name in workflows})
    if not available:
        return f"there is no workflow {full}: no workflow was applied"
    more = f" and {len(available) - NAMED} more" if len(available) > NAMED else ""
    names = ", ".join(available[:NAMED])
    return f"there is no workflow {full}; there is {names}{more}; apply it or correct the name"
