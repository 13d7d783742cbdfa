"""One-time links in `iogate run`: no gateway serves their pages, so that events of the command line use them.

Called by `run_command` and `event_input`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from iogate.security.one_time_links import EVENT, OneTimeLink

if TYPE_CHECKING:
    from iogate.compiler.revision import Bundle
    from iogate.store.store import Store

VALID_S: Final = 86_400
"""Time for which a use is accepted; the store is deleted with the run."""


def declared_links(bundle: Bundle) -> list[str]:
    """Return the names of all links of a bundle that `iogate run` executes locally, in order, each once."""
    import msgspec

    from iogate.compiler.reader.links import declared

    programs = [
        msgspec.json.decode(bundle.programs[each.program]) for each in bundle.revision.workflows.values()
    ]
    return sorted({name for program in programs if "document" in program for name in declared(program)})


def note_on(names: Iterable[str], given: Iterable[str]) -> str | None:
    """Return how to use the local one-time links for which `iogate run` has no event; None without any.

    `given`: types of the events of the command line.
    """
    known = set(given)
    left = [name for name in names if EVENT + name not in known]
    if not left:
        return None
    plural = "links have" if len(left) > 1 else "link has"
    return (
        f"the {plural} no page here ({', '.join(left)}): a run that waits for one needs "
        f"""--event '{{"type": "{EVENT}{left[0]}", "data": {{}}}}'"""
    )


async def use_link(store: Store, uid: str, name: str, event: bytes) -> str:
    """Use a one-time link of a local run with an event of the command line, and return the outcome.

    The outcome is that of `OneTimeLinks.use`.
    """
    now_ms = await store.now_ms()
    link = OneTimeLink(uid=uid, name=name, expires_s=now_ms // 1000 + VALID_S)
    return await store.links.use(link, event)
