"""The live system by the HTTP API of operators, for commands on a machine that does not reach the store.

Opened by `Session.system`. The gateway records each change with its reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from iogate.cli.system.http_batches import HttpBatches
from iogate.cli.system.http_objects import HttpApis, HttpSchedules, HttpWorkflows
from iogate.cli.system.http_revisions import HttpRevisions
from iogate.cli.system.http_runs import HttpRuns
from iogate.store.runs.presentation import rfc3339

if TYPE_CHECKING:
    from iogate.cli.system.operator_client import OperatorClient
    from iogate.cli.system.system import Gateway, Json, System

PAGE: Final = 100
"""Most entries that the API returns at once."""


class HttpSystem:
    """The system of one server."""

    def __init__(self, client: OperatorClient) -> None:
        self._client = client
        self.runs = HttpRuns(client)
        self.batches = HttpBatches(client)
        self.apis = HttpApis(client)
        self.workflows = HttpWorkflows(client)
        self.schedules = HttpSchedules(client)
        self.revisions = HttpRevisions(client)

    async def gateway(self) -> Gateway:
        from iogate.cli.system.system import Gateway

        # With `console_port`, operators have a port of their own.
        found = await self._client.get("/v1/operator")
        url = (found.get("gateway") or self._client.server.url).rstrip("/")
        return Gateway(url=url, names_secrets=False)

    async def status(self) -> Json:
        found: Json = await self._client.get("/v1/status", of_project=True)
        return found

    async def activity(
        self,
        *,
        since_ms: int | None,
        operator: str | None,
        action: str | None,
        target: str | None,
        limit: int,
    ) -> Json:
        query = {"since": rfc3339(since_ms), "operator": operator, "action": action, "target": target}
        found: list[Json] = []
        cursor: str | None = None
        while True:
            page = await self._client.get(
                "/v1/activity", {**query, "limit": min(PAGE, limit - len(found)), "cursor": cursor}
            )
            found += page["activity"]
            cursor = page["nextCursor"]
            if cursor is None or len(found) >= limit:
                return {"activity": found, "nextCursor": cursor}


if TYPE_CHECKING:
    _: type[System] = HttpSystem
