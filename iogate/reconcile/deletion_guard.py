"""Guard of a publish against accidental deletions, and against what was rolled back. Pure.

Invariants: a protected API is never deleted; no other API and no workflow is deleted without its permission.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from iogate.compiler.revision import Revision, precedence
from iogate.errors import Refused
from iogate.messages import shorten
from iogate.store.revisions.origin import Published

PROTECTED = "IOG630"
EMPTY = "IOG631"
PRUNE = "IOG708"
MANY = "IOG709"
TAKEN_BACK = "IOG666"
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
    is_bundled: bool = False
    """Whether the files were compiled elsewhere, so that this publish cannot keep what they lack."""


NOTHING_ALLOWED: Final = Allowed()
FOLDER: Final = Allowed(prune=True, max_deletes=2**31)
"""Permissions of `iogate up`, for which the folder is the truth: everything except to delete all."""


def deletions(before: Revision, after: Revision) -> tuple[list[str], list[str]]:
    """Return the ids of deleted APIs and workflows, sorted.

    Each new version of a workflow replaces one version that is gone, the newest first; that one is not
    deleted.
    """
    apis = sorted(before.apis.keys() - after.apis.keys())
    new = Counter(name.partition(":")[0] for name in after.workflows.keys() - before.workflows.keys())
    gone: dict[str, list[str]] = {}
    for full in before.workflows.keys() - after.workflows.keys():
        name, _, version = full.partition(":")
        gone.setdefault(name, []).append(version)
    deleted = [
        f"{name}:{version}"
        for name, versions in gone.items()
        for version in sorted(versions, key=precedence, reverse=True)[new[name] :]
    ]
    return apis, sorted(deleted)


def check(before: Revision | None, after: Revision, allowed: Allowed) -> None:
    """Guard a publish: check that `after` deletes no more than the options allow.

    Raises Refused if it does.
    """
    if before is None:
        return
    apis, workflows = deletions(before, after)
    _check_protected(before, apis)
    options = " ".join(needed(before, after, allowed))
    source = "revision" if allowed.restores else "files"
    contains = "contains" if allowed.restores else "contain"
    for gone, left, known, one, many in (
        (apis, after.apis, before.apis, "API", "APIs"),
        (workflows, after.workflows, before.workflows, "workflow", "workflows"),
    ):
        if gone and not left and not allowed.empty:
            count = f"the only {one}" if len(known) == 1 else f"all {len(known)} {many}"
            raise Refused(
                f"this would delete {count}: the {source} {contains} none",
                code=EMPTY,
                hint=f"check that this is the right {'revision' if allowed.restores else 'folder'}; "
                f"to delete them all, pass {options}",
            )
    if not (apis or workflows):
        return
    if not allowed.prune:
        can_keep = not (allowed.restores or allowed.is_bundled)
        keeping = ", or --keep-orphans to keep what the files lack" if can_keep else ""
        raise Refused(
            f"this would delete {_listed(apis, workflows)}",
            code=PRUNE,
            hint=f"pass {options} to delete{keeping}",
        )
    _check_number(before, after, apis, workflows, allowed)


def check_unknown(apis: Collection[str], allowed: Allowed) -> None:
    """Check the deletion of APIs that only the store names, because no revision of it is authentic.

    Raises Refused without the permission to delete.
    """
    if apis and not allowed.prune:
        raise Refused(
            f"this would delete {_listed(sorted(apis), [])}, which only the store names: no revision that it "
            "keeps is authentic",
            code=PRUNE,
            hint="check that these are the right files; then pass --prune to delete",
        )


def needed(before: Revision | None, after: Revision, allowed: Allowed = NOTHING_ALLOWED) -> list[str]:
    """Return the options that permit the deletions of a publish and that the caller has not passed."""
    if before is None:
        return []
    apis, workflows = deletions(before, after)
    count = len(apis) + len(workflows)
    pairs = ((apis, before.apis, after.apis), (workflows, before.workflows, after.workflows))
    emptied = any(gone and not left for gone, _, left in pairs)
    if allowed.max_deletes is not None:
        many = count > allowed.max_deletes
    else:
        many = any(left and len(gone) * 4 > len(known) for gone, known, left in pairs)
    return [
        *(["--prune"] if count and not allowed.prune else []),
        *(["--allow-empty"] if emptied and not allowed.empty else []),
        *([f"--max-deletes {count}"] if many else []),
    ]


def _check_protected(before: Revision, apis: list[str]) -> None:
    """Guard a publish: raise Refused if a deleted API is protected."""
    protected = [identity for identity in apis if before.apis[identity].protect]
    if protected:
        one = len(protected) == 1
        raise Refused(
            f"{', '.join(protected)} {'is' if one else 'are'} protected and would be deleted",
            code=PROTECTED,
            hint="restore the file; or write protect: false, apply that, and then delete it",
        )


def _check_number(
    before: Revision, after: Revision, apis: list[str], workflows: list[str], allowed: Allowed
) -> None:
    count = len(apis) + len(workflows)
    right = "this is the right revision" if allowed.restores else "these are the right files"
    hint = f"check that {right}; then pass --max-deletes {count}"
    if allowed.max_deletes is not None:
        if count > allowed.max_deletes:
            raise Refused(
                f"this would delete {_listed(apis, workflows)}, more than {allowed.max_deletes}",
                code=MANY,
                hint=hint,
            )
        return
    for gone, left, known, many in (
        (apis, after.apis, before.apis, "APIs"),
        (workflows, after.workflows, before.workflows, "workflows"),
    ):
        emptied = allowed.empty and not left
        if len(gone) * 4 > len(known) and not emptied:
            raise Refused(
                f"this would delete {len(gone)} of {len(known)} {many}, more than a quarter: "
                f"{_listed(apis, workflows)}",
                code=MANY,
                hint=hint,
            )


def _listed(apis: list[str], workflows: list[str]) -> str:
    """Return the deleted objects as text: `2 APIs (a/b, a/c) and 1 workflow (s/w:1.0.0)`."""
    parts = []
    for gone, one, many in ((apis, "API", "APIs"), (workflows, "workflow", "workflows")):
        if gone:
            names = ", ".join(shorten(name, 80) for name in gone[:_NAMED])
            more = f" and {len(gone) - _NAMED} more" if len(gone) > _NAMED else ""
            parts.append(f"{len(gone)} {one if len(gone) == 1 else many} ({names}{more})")
    return " and ".join(parts)


def check_rollback(history: Sequence[Published], digest: str) -> None:
    """Guard a publish: check that the live revision is no rollback that took back this content.

    `history` begins with the live revision. Raises Refused if it is.
    """
    live = history[0] if history else None
    if live is None or live.origin is None or live.origin.action != "rollback":
        return
    restored = live.origin.restores or 0
    for each in history[1:]:
        if each.number > restored and each.digest == digest:
            raise Refused(
                f"{live.origin.author} rolled back this content, that of revision {each.number}, in revision "
                f"{live.number}",
                code=TAKEN_BACK,
                hint="change the files, or apply them by hand without --keep-rollback",
            )
