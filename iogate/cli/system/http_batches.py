"""Batches of the live system by the HTTP API of operators.

Used by `http_system`. A worker carries them out.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Final

from iogate.cli.system.operator_client import AccessDenied
from iogate.cli.system.system import interrupted
from iogate.errors import NotFound, Refused, Unreachable
from iogate.operators.batches.batch_selection import filter_json

if TYPE_CHECKING:
    from iogate.cli.system.operator_client import OperatorClient
    from iogate.cli.system.system import Json
    from iogate.operators.batches.batch_selection import BatchRequest

SELECTION_S: Final = 50.0
"""Further time for the selection of the runs of a batch."""
_ID: Final = re.compile(r"[0-9a-f]{12}", re.ASCII)


def _path(id_: str, rest: str = "") -> str:
    """Return the path of a batch in the HTTP API. Raises NotFound for an id that no batch has."""
    if _ID.fullmatch(id_) is None:
        raise NotFound(f"no batch {id_}", hint='list them with "iogate batches list"')
    return f"/v1/batches/{id_}{rest}"


class HttpBatches:
    """Batches of one server."""

    carries_out = False

    def __init__(self, client: OperatorClient) -> None:
        self._client = client

    async def preview(self, request: BatchRequest, reason: str) -> Json:
        found: Json = await self._client.change(
            "/v1/batches", reason, {**_body(request), "dry_run": True}, wait_s=SELECTION_S
        )
        return found

    async def create(
        self, request: BatchRequest, *, reason: str, operation: str, at_most: int | None
    ) -> Json:
        key = f"batch-{operation}"
        try:
            found: Json = await self._client.change(
                "/v1/batches",
                reason,
                {**_body(request), "at_most": at_most},
                key=key,
                wait_s=SELECTION_S,
            )
        except Unreachable as error:
            raise interrupted(error.message, operation) from None
        except AccessDenied:
            raise
        except Refused:
            if (made := await self._made_before(key)) is None or made["action"] != request.action:
                raise
            return made
        return found

    async def _made_before(self, key: str) -> Json | None:
        """Return the batch of an earlier request of this operator with the key; None if it has made none.

        A command that is repeated by its id sends another request under the same key if its filter has a
        time before now, or if it asked for a confirmation before.
        """
        from iogate.gateway.operators.idempotency import change_id
        from iogate.operators.batches.batches import batch_id

        operator = (await self._client.get("/v1/operator"))["operator"]
        with contextlib.suppress(NotFound):
            return await self.show(batch_id(change_id(operator, key)))
        return None

    async def list(self, limit: int) -> Json:
        found: Json = await self._client.get("/v1/batches", {"limit": limit})
        return found

    async def show(self, id_: str) -> Json:
        found: Json = await self._client.get(_path(id_))
        return found

    async def stop(self, id_: str, reason: str) -> Json:
        found: Json = await self._client.change(_path(id_), reason, method="DELETE")
        return found

    async def proceed(self, id_: str, reason: str) -> Json:
        found: Json = await self._client.change(_path(id_, "/continue"), reason)
        return found

    async def step(self) -> float | None:
        raise AssertionError("a worker carries out the batches of a server")


def _body(request: BatchRequest) -> Json:
    """Return the members of an HTTP request for a batch; those that are None are not sent."""
    return {
        "action": request.action,
        "filter": None if request.filter is None else filter_json(request.filter),
        "uids": list(request.uids) or None,
        "from": request.pointer,
        "on": "current" if request.current else None,
    }
