"""Links as workflows declare them, read from the definitions of runs and cached by digest.

Used by `link_handler`. Invariant: the link of a run is shown and validated by the definition that the run is
pinned to.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from iogate.gateway.validation.schema import Schema

if TYPE_CHECKING:
    from iogate.store.store import Store

KEPT: Final = 64
"""Definitions in memory."""


class _Link(msgspec.Struct):
    title: str = ""
    description: str = ""
    form: dict[str, Any] | None = msgspec.field(name="schema", default=None)


class _Iogate(msgspec.Struct):
    links: dict[str, _Link] = {}


class _Metadata(msgspec.Struct):
    iogate: _Iogate = msgspec.field(default_factory=_Iogate)


class _Document(msgspec.Struct):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


class _Workflow(msgspec.Struct):
    document: _Document


_decode = msgspec.json.Decoder(_Workflow).decode


def declares_links(program: bytes) -> bool:
    """Return whether the stored definition of a workflow declares one-time links."""
    return b'"links"' in program and bool(_decode(program).document.metadata.iogate.links)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Definition:
    """Declaration of one link."""

    name: str
    title: str
    description: str
    """Without the run: empty if only the run can evaluate it."""
    form: Mapping[str, Any] | None
    """JSON Schema of the data; None: there are none."""
    schema: Schema | None


class Definitions:
    """Cache of the links of workflows."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Mapping[str, Definition]] = OrderedDict()

    async def get(self, store: Store, program: str, name: str) -> Definition | None:
        """Return a one-time link as the definition with this digest declares it; None if it does not.

        Raises NotFound or NotAuthentic for a definition that the store does not have, StoreUnavailable.
        """
        links = self._kept.get(program)
        if links is None:
            read = _decode(await store.revisions.program(program)).document.metadata.iogate.links
            links = self._kept[program] = {each: _definition(each, link) for each, link in read.items()}
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return links.get(name)


def _definition(name: str, link: _Link) -> Definition:
    schema = None if link.form is None else Schema(link.form)
    description = link.description or str((link.form or {}).get("description", ""))
    return Definition(
        name=name,
        title=link.title or name,
        description="" if "${" in description else description,
        form=link.form,
        schema=schema,
    )
