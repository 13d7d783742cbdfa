"""One-time links in `iogate run`: no gateway serves their pages, so that events of the command line use them.

Called by `run_command` and `event_input`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Final

from iogate.security.one_time_links import EVENT, OneTimeLink
from iogate.store.keys import NOT_ENDED

if TYPE_CHECKING:
    from iogate.compiler.revision import Bundle
    from iogate.store.store import Store

VALID_S: Final = 86_400
"""Time for which a use is accepted; the store is deleted with the run."""
MAX_RUNS: Final = 1_000
"""Most runs among which the one with a link is searched."""


def declared_links(bundle: Bundle) -> dict[str, list[str]]:
    """Return the names of the links that each workflow which `iogate run` executes locally declares.

    The keys are the full names of the workflows.
    """
    import msgspec

    from iogate.compiler.reader.links import declared

    workflows = bundle.revision.workflows.items()
    programs = {name: msgspec.json.decode(bundle.programs[each.program]) for name, each in workflows}
    return {name: sorted(declared(program)) for name, program in programs.items() if "document" in program}


def note_on(links: Mapping[str, Iterable[str]], given: Iterable[str]) -> str | None:
    """Return how to use the local one-time links for which `iogate run` has no event; None without any.

    `links`: the declared links by workflow; `given`: types of the events of the command line.
    """
    known = set(given)
    names = sorted({name for each in links.values() for name in each})
    left = [name for name in names if EVENT + name not in known]
    if not left:
        return None
    plural = "links have" if len(left) > 1 else "link has"
    return (
        f"the {plural} no page here ({', '.join(left)}): a run that waits for one needs "
        f"""--event '{{"type": "{EVENT}{left[0]}", "data": {{}}}}'"""
    )


async def use_link(store: Store, links: Mapping[str, Collection[str]], name: str, event: bytes) -> bool:
    """Use a one-time link of a local run with an event of the command line.

    `links`: the declared links by workflow. It is the link of the oldest run, or child run, that has not used
    it. Returns False if no run has the link yet, or all have used it.
    """
    expires_s = await store.now_ms() // 1000 + VALID_S
    live = await store.runs.list(statuses=NOT_ENDED, limit=MAX_RUNS)
    having = [run.uid for run in reversed(live) if name in links.get(run.workflow, ())]
    for uid in having:
        if await store.links.use(OneTimeLink(uid=uid, name=name, expires_s=expires_s), event) == "ok":
            return True
    return False
