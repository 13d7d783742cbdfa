"""The closed set of kinds of changes, each with its severity.

Used by all modules that find meanings, and by everything that shows a plan. Invariant: a plan contains only
kinds of KINDS, so that a program can decide by them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

Severity = Literal["breaking", "weakening", "caution", "neutral"]

SEVERITIES: Final[tuple[Severity, ...]] = ("breaking", "weakening", "caution", "neutral")
"""In the order in which a plan lists them."""

KINDS: Final[dict[str, Severity]] = {
    "api.added": "neutral",
    "api.returns": "caution",
    "api.foreign": "breaking",
    "api.removed": "breaking",
    "api.changed": "neutral",
    "verb.added": "neutral",
    "verb.removed": "breaking",
    "path.added": "neutral",
    "path.removed": "breaking",
    "path.moved": "breaking",
    "path.mode": "breaking",
    "path.foreign": "breaking",
    "auth.weakened": "weakening",
    "auth.strengthened": "breaking",
    "auth.changed": "breaking",
    "caller.added": "weakening",
    "caller.removed": "breaking",
    "caller.secret": "caution",
    "jwt.widened": "weakening",
    "jwt.narrowed": "breaking",
    "jwt.issuer": "breaking",
    "jwt.keys": "caution",
    "jwt.caller": "breaking",
    "addresses.widened": "weakening",
    "addresses.narrowed": "breaking",
    "input.from": "breaking",
    "input.narrowed": "breaking",
    "input.widened": "neutral",
    "input.changed": "caution",
    "input.unchecked": "weakening",
    "input.raw": "caution",
    "input.no_raw": "breaking",
    "files.added": "breaking",
    "files.removed": "breaking",
    "limit.lowered": "caution",
    "limit.raised": "neutral",
    "limit.added": "caution",
    "limit.removed": "weakening",
    "limit.counted": "caution",
    "limit.full": "caution",
    "limit.priority": "caution",
    "coalesce.added": "caution",
    "coalesce.changed": "caution",
    "coalesce.removed": "caution",
    "attribute.added": "neutral",
    "attribute.changed": "caution",
    "attribute.removed": "caution",
    "timeout.shortened": "caution",
    "timeout.lengthened": "neutral",
    "retention.shortened": "caution",
    "retention.lengthened": "neutral",
    "record.extended": "caution",
    "record.reduced": "neutral",
    "callback.added": "caution",
    "callback.removed": "breaking",
    "callback.changed": "breaking",
    "callback.widened": "weakening",
    "callback.narrowed": "breaking",
    "callback.secret": "caution",
    "on_fault.added": "caution",
    "on_fault.removed": "caution",
    "on_fault.changed": "caution",
    "idempotency.header": "breaking",
    "idempotency.pointer": "breaking",
    "idempotency.required": "breaking",
    "idempotency.optional": "weakening",
    "idempotency.shortened": "caution",
    "idempotency.lengthened": "neutral",
    "enabled.on": "caution",
    "enabled.off": "breaking",
    "enabled.git": "neutral",
    "enabled.released": "neutral",
    "protect.added": "neutral",
    "protect.removed": "weakening",
    "target.changed": "caution",
    "workflow.added": "neutral",
    "workflow.removed": "caution",
    "workflow.changed": "neutral",
    "runs.pinned": "neutral",
    "task.added": "caution",
    "task.removed": "caution",
    "task.changed": "caution",
    "task.moved": "caution",
    "task.renamed": "neutral",
    "loop.parallel": "caution",
    "loop.raised": "caution",
    "loop.lowered": "neutral",
    "loop.errors": "caution",
    "link.added": "caution",
    "link.removed": "caution",
    "link.shortened": "caution",
    "link.lengthened": "caution",
    "link.changed": "neutral",
    "endpoint.changed": "caution",
    "output.changed": "caution",
    "secret.added": "caution",
    "secret.removed": "neutral",
    "variable.changed": "caution",
    "schedule.added": "caution",
    "schedule.removed": "caution",
    "schedule.changed": "caution",
    "resource.added": "neutral",
    "resource.changed": "caution",
    "resource.removed": "neutral",
}
"""Severity by kind. The page `changes` of the reference documents each kind."""

MARKED: Final = frozenset({"breaking", "weakening"})
"""Severities that a plan marks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """Meaning of a change, for people and programs."""

    kind: str
    text: str
    pointer: str = ""
    """JSON Pointer of the change in the document of the object; empty: the object as a whole."""

    @property
    def severity(self) -> Severity:
        return KINDS[self.kind]

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "severity": self.severity, "text": self.text, "pointer": self.pointer}


def rank(severity: Severity) -> int:
    """Return the rank of a severity among the kinds of changes: the most severe first."""
    return SEVERITIES.index(severity)
