"""Selection of the APIs that `enable` and `disable` switch: by id, by module, by tag, or all."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from iogate.cli.live_revision import find_api
from iogate.cli.messages import counted, did_you_mean
from iogate.errors import Misused, NotFound, Refused

if TYPE_CHECKING:
    from iogate.compiler.revision import Revision

NONE_SELECTED = "IOG641"
NOT_CONFIRMED = "IOG642"


@dataclass(frozen=True, kw_only=True)
class ApiSelection:
    """APIs that a command switches; several criteria select the APIs that match one of them.

    Raises:
        Misused: there is no criterion, or `--all` beside others.
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
        """Return the ids of the APIs that `enable` and `disable` select, each once.

        `left` are ids of deleted APIs that may be named too.

        Raises:
            NotFound: there is no such API, or none in a module or with a tag.
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


def confirm_all(verb: str, apis: Sequence[str]) -> None:
    """Ask on the terminal whether to switch all live APIs.

    Raises:
        Misused: there is no terminal.
        Refused: the answer is no.
    """
    question = f"{verb} all {counted(len(apis), 'live API')}"
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Misused(f"this would {question}", code=NOT_CONFIRMED, hint="add --yes to confirm")
    if not typer.confirm(f"{question[0].upper()}{question[1:]}?", err=True):
        raise Refused("not confirmed: nothing was changed", code=NOT_CONFIRMED)
