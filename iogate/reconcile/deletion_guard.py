"""Guard of a publish against accidental deletions and against a return of rolled-back content. Pure.

Invariants: a protected API is never deleted; no other API and no workflow is deleted without its permission.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from iogate.compiler.revision import Revision
from iogate.errors import Refused
from iogate.messages import shorten
from iogate.value_types.semantic_versions import replaced_versions

PROTECTED = "IOG630"
EMPTY = "IOG631"
PRUNE = "IOG708"
MANY = "IOG709"
TAKEN_BACK = "IOG666"
WHOLE_HISTORY: Final = 1_000_000
"""More revisions than a store keeps."""
_NAMED: Final = 5
"""Ids that a message names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """Deletions that the caller permits."""

    prune: bool = False
    """APIs and workflows may be deleted."""
    empty: bool = False
    """All APIs, or all workflows, may be deleted."""
    max_deletes: int | None = None
    """Largest number of deleted APIs and workflows together; None: a quarter of each."""
    restores: bool = False
    """Whether an earlier revision is published, not the files: only for the words of messages."""


NOTHING_ALLOWED: Final = Allowed()
FOLDER: Final = Allowed(prune=True, max_deletes=2**31)
"""Permissions of `iogate up`, for which the folder is the truth: everything except to delete all."""


def deletions(before: Revision, after: Revision) -> tuple[list[str], list[str]]:
    """Return the ids of the APIs and workflows that a publish deletes, sorted.

    Each new version of a workflow replaces one version that is gone, the newest first; that one is not
    deleted.
    """
    apis = sorted(before.apis.keys() - after.apis.keys())
    replaced = replaced_versions(before.workflows, after.workflows).values()
    return apis, sorted(before.workflows.keys() - after.workflows.keys() - set(replaced))


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Deleted objects of one kind, APIs or workflows."""

    deleted: tuple[str, ...]
    """Ids, sorted."""
    live: int
    """Number of objects of the kind before the publish."""
    left: int
    """Number of objects of the kind after it."""

    def to_json(self) -> dict[str, Any]:
        return {"deleted": list(self.deleted), "live": self.live, "left": self.left}

    @classmethod
    def read(cls, value: Mapping[str, Any]) -> Kind:
        """Return deletions of one kind from their JSON."""
        return cls(deleted=tuple(value["deleted"]), live=value["live"], left=value["left"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletions:
    """Deletions of a publish: everything that the guard needs to know of the two revisions."""

    apis: Kind
    workflows: Kind
    protected: tuple[str, ...] = ()
    """Deleted APIs that are protected."""

    @classmethod
    def between(cls, before: Revision, after: Revision) -> Deletions:
        """Return the APIs and workflows that a publication of `after` deletes from `before`."""
        apis, workflows = deletions(before, after)
        return cls(
            apis=Kind(deleted=tuple(apis), live=len(before.apis), left=len(after.apis)),
            workflows=Kind(deleted=tuple(workflows), live=len(before.workflows), left=len(after.workflows)),
            protected=tuple(each for each in apis if before.apis[each].protect),
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "apis": self.apis.to_json(),
            "workflows": self.workflows.to_json(),
            "protected": list(self.protected),
        }

    @classmethod
    def read(cls, value: Mapping[str, Any]) -> Deletions:
        """Return the deletions of a publish from their JSON."""
        return cls(
            apis=Kind.read(value["apis"]),
            workflows=Kind.read(value["workflows"]),
            protected=tuple(value["protected"]),
        )

    @property
    def count(self) -> int:
        return len(self.apis.deleted) + len(self.workflows.deleted)

    def check(self, allowed: Allowed) -> None:
        """Guard a publish: check that it deletes no more than the options allow.

        Raises Refused if it does.
        """
        self._check_protected()
        options = " ".join(self.needed(allowed))
        source = "revision" if allowed.restores else "files"
        contains = "contains" if allowed.restores else "contain"
        for kind, one, many in ((self.apis, "API", "APIs"), (self.workflows, "workflow", "workflows")):
            if kind.deleted and not kind.left and not allowed.empty:
                count = f"the only {one}" if kind.live == 1 else f"all {kind.live} {many}"
                raise Refused(
                    f"this would delete {count}: the {source} {contains} none",
                    code=EMPTY,
                    hint=f"check that this is the right {'revision' if allowed.restores else 'folder'}; "
                    f"to delete them all, pass {options}",
                )
        if not self.count:
            return
        if not allowed.prune:
            keeping = "" if allowed.restores else ", or --keep-orphans to keep what the files lack"
            raise Refused(f"this would delete {self}", code=PRUNE, hint=f"pass {options} to delete{keeping}")
        self._check_number(allowed)

    def needed(self, allowed: Allowed = NOTHING_ALLOWED) -> list[str]:
        """Return the options that permit the deletions of a publish and that the caller has not passed."""
        kinds = (self.apis, self.workflows)
        emptied = any(kind.deleted and not kind.left for kind in kinds)
        if allowed.max_deletes is not None:
            many = self.count > allowed.max_deletes
        else:
            many = any(kind.left and len(kind.deleted) * 4 > kind.live for kind in kinds)
        return [
            *(["--prune"] if self.count and not allowed.prune else []),
            *(["--allow-empty"] if emptied and not allowed.empty else []),
            *([f"--max-deletes {self.count}"] if many else []),
        ]

    def __str__(self) -> str:
        return _listed(self.apis.deleted, self.workflows.deleted)

    def _check_protected(self) -> None:
        """Guard a publish: raise Refused if a deleted API is protected."""
        if self.protected:
            one = len(self.protected) == 1
            raise Refused(
                f"{', '.join(self.protected)} {'is' if one else 'are'} protected and would be deleted",
                code=PROTECTED,
                hint="restore the file; or write protect: false, apply that, and then delete it",
            )

    def _check_number(self, allowed: Allowed) -> None:
        right = "this is the right revision" if allowed.restores else "these are the right files"
        hint = f"check that {right}; then pass --max-deletes {self.count}"
        if allowed.max_deletes is not None:
            if self.count > allowed.max_deletes:
                raise Refused(
                    f"this would delete {self}, more than {allowed.max_deletes}", code=MANY, hint=hint
                )
            return
        for kind, many in ((self.apis, "APIs"), (self.workflows, "workflows")):
            emptied = allowed.empty and not kind.left
            if len(kind.deleted) * 4 > kind.live and not emptied:
                raise Refused(
                    f"this would delete {len(kind.deleted)} of {kind.live} {many}, more than a quarter: "
                    f"{self}",
                    code=MANY,
                    hint=hint,
                )


def check(before: Revision, after: Revision, allowed: Allowed) -> None:
    """Guard a publish: check that `after` deletes no more than the options allow.

    Raises Refused if it does.
    """
    Deletions.between(before, after).check(allowed)


def needed(before: Revision, after: Revision) -> list[str]:
    """Return the options that permit the deletions of a publish."""
    return Deletions.between(before, after).needed()


def check_unknown(apis: Collection[str], allowed: Allowed) -> None:
    """Guard a repair: check that it may delete APIs that only the store names, and no authentic revision.

    Raises Refused without the permission to delete.
    """
    if apis and not allowed.prune:
        raise Refused(
            f"this would delete {_listed(sorted(apis), [])}, which only the store names: no revision that it "
            "keeps is authentic",
            code=PRUNE,
            hint="check that these are the right files; then pass --prune to delete",
        )


def _listed(apis: Sequence[str], workflows: Sequence[str]) -> str:
    """Return the deleted objects as text: `2 APIs (a/b, a/c) and 1 workflow (s/w:1.0.0)`."""
    parts = []
    for gone, one, many in ((apis, "API", "APIs"), (workflows, "workflow", "workflows")):
        if gone:
            names = ", ".join(shorten(name, 80) for name in gone[:_NAMED])
            more = f" and {len(gone) - _NAMED} more" if len(gone) > _NAMED else ""
            parts.append(f"{len(gone)} {one if len(gone) == 1 else many} ({names}{more})")
    return " and ".join(parts)


def check_rollback(history: Sequence[Mapping[str, Any]], digest: str) -> None:
    """Guard a publish: check that the live revision is no rollback that took back this content.

    `history` has entries as `iogate history` shows them, and begins with the live revision. Raises Refused if
    it is.
    """
    live = history[0] if history else None
    if live is None or live["action"] != "rollback":
        return
    restored = live["restores"] or 0
    for each in history[1:]:
        if each["revision"] > restored and each["digest"] == digest:
            raise Refused(
                f"{live['author']} rolled back this content, that of revision {each['revision']}, in "
                f"revision {live['revision']}",
                code=TAKEN_BACK,
                hint='change the files, or publish them all the same: "iogate apply" without --keep-rollback',
            )
