"""The live revision of a project, and the selection of its APIs, for operations that need them.

Used by the other modules of this package, and by commands.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from iogate.compiler.revision import Api, Revision
from iogate.errors import Misused, NotFound
from iogate.messages import did_you_mean, quoted
from iogate.store.store import Store

NO_PROJECT: Final = "IOG802"
NONE_SELECTED: Final = "IOG641"


async def of_project(store: Store, name: str | None, default: str) -> Store:
    """Return the store for one project: the one with this name, or the default one.

    Raises NotFound if no live revision is of the named project.
    """
    if name is None:
        return store.of_project(default)
    await require_project(store, name)
    return store.of_project(name)


async def require_project(store: Store, name: str) -> None:
    """Check that a project has a live revision, valid or not. Raises NotFound."""
    found = await store.revisions.live_of_all()
    known = {*found.live, *found.invalid}
    if name not in known:
        raise NotFound(
            f"no project {quoted(name)} has a live revision{did_you_mean(name, known)}",
            code=NO_PROJECT,
            hint='"iogate status" lists the projects',
        )


async def live_number(store: Store) -> int:
    """Return the number of the live revision.

    Raises NotFound if nothing was applied yet.
    """
    live = await store.revisions.live()
    if live is None:
        raise _nothing_applied()
    return live[0]


def _nothing_applied() -> NotFound:
    return NotFound("no revision was applied yet", hint='publish one with "iogate apply"')


async def live_revision(store: Store) -> tuple[int, Revision]:
    """Return the number and the content of the live revision.

    Raises NotFound if nothing was applied yet, NotAuthentic if the revision is forged.
    """
    live = await store.revisions.live()
    if live is None:
        raise _nothing_applied()
    project = store.revisions.project
    verified = store.verified(project, live)
    return live[0], verified or await store.revisions.load(live[0], project=project)


def find_api(revision: Revision, api: str) -> Api:
    """Return an API of the live revision by its id.

    Raises NotFound if the revision has no such API.
    """
    known = revision.apis.get(api)
    if known is None:
        raise api_not_found(api, revision.apis)
    return known


def api_not_found(api: str, known: Iterable[str]) -> NotFound:
    """Return the error of an id that is not one of the `known` live APIs."""
    return NotFound(
        f"no live API {api}{did_you_mean(api, known)}",
        hint='list them with "iogate api list", publish new ones with "iogate apply"',
    )


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
        """Return the ids of the APIs in a live revision that an operation selects, each once.

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
