"""Order of semantic versions (https://semver.org, section 11)."""

from __future__ import annotations

import re
from collections.abc import Iterable

_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)(?:-([^+]+))?(?:\+.*)?")


def version_precedence(version: str) -> tuple[tuple[int, ...], bool, tuple[tuple[bool, int, str], ...], str]:
    """Return the sort key of a version by semantic precedence, then by its text."""
    found = _VERSION.fullmatch(version)
    if found is None:
        return (-1,), False, (), version
    numbers = tuple(int(found[index]) for index in (1, 2, 3))
    before = tuple(
        (not part.isdecimal(), int(part) if part.isdecimal() else 0, part)
        for part in (found[4] or "").split(".")
        if part
    )
    return numbers, not before, before, version


def newest_version(full_names: Iterable[str], name: str) -> str | None:
    """Return the full name, `NAME:VERSION`, of the highest version of a workflow; None if it has none."""
    found = [each for each in full_names if each.partition(":")[0] == name]
    return max(found, key=_precedence, default=None)


def replaced_versions(before: Iterable[str], after: Iterable[str]) -> dict[str, str]:
    """Return the full names of new versions of workflows, each with the version that is gone and it replaces.

    Each new version replaces one version, the newest first.
    """
    old, new = set(before), set(after)
    gone: dict[str, list[str]] = {}
    for name in sorted(old - new, key=_precedence):
        gone.setdefault(name.partition(":")[0], []).append(name)
    found = {}
    for name in sorted(new - old, key=_precedence, reverse=True):
        if left := gone.get(name.partition(":")[0]):
            found[name] = left.pop()
    return found


def _precedence(full_name: str) -> tuple[tuple[int, ...], bool, tuple[tuple[bool, int, str], ...], str]:
    """Return the sort key of a full name of a workflow by its semantic version."""
    return version_precedence(full_name.partition(":")[2])
