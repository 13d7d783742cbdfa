"""Selection of the APIs that `enable` and `disable` switch: by id, by module, by tag, or all.

Used by `gates`. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from iogate.compiler.revision import Revision
from iogate.errors import Misused, NotFound
from iogate.messages import did_you_mean
from iogate.operators.live_revision import find_api

NONE_SELECTED = "IOG641"


@dataclass(frozen=True, kw_only=True)
class ApiSelection:
    """APIs that an operation switches; several criteria select the APIs that match one of them.

    Raises Misused if there is no criterion, or `all_` beside others.
    """

    apis: Sequence[str]
    modules: Sequence[str]
    tags: Sequence[str]
    all_: bool

    def __post_init__(self) -> None:
        others = bool(self.apis or self.modules or self.tags)
        if others == self.all_:
            raise Misused("give either the ids of APIs, --module or --tag, or --all")

    @property
    def by_criteria(self) -> bool:
        """Whether the selected APIs depend on the live revision."""
        return bool(self.all_ or self.modules or self.tags)

    def resolve(self, revision: Revision, left: Collection[str] = ()) -> list[str]:
        """Return the ids of the APIs that are selected in a revision, each once.

        `left` are ids of deleted APIs that may be named too. Raises NotFound if there is no such API, or none
        in a module or with a tag.
        """
        if self.all_:
            return sorted(revision.apis)
        found = dict.fromkeys(self.apis)
        for name in found:
            if name not in left:
                find_api(revision, name)
        for name in self.modules:
            found |= dict.fromkeys(
                _require(
                    "in module",
                    name,
                    sorted(i for i in revision.apis if i.partition("/")[0] == name),
                    {i.partition("/")[0] for i in revision.apis},
                )
            )
        for tag in self.tags:
            found |= dict.fromkeys(
                _require(
                    "with tag",
                    tag,
                    sorted(i for i, api in revision.apis.items() if tag in api.tags),
                    {tag for api in revision.apis.values() for tag in api.tags},
                )
            )
        return list(found)


def _require(relation: str, name: str, found: list[str], known: Collection[str]) -> list[str]:
    if found:
        return found
    raise NotFound(
        f"no live API {relation} {name}{did_you_mean(name, known)}",
        code=NONE_SELECTED,
        hint='list them with "iogate api list -o json"',
    )
