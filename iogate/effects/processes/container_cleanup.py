"""Removes ended containers of lifetime `eventually` after their time.

Used by `containers`. A label of the container has its time, so that the next worker removes the containers
of a dead one.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

KEEP_LABEL: Final = "iogate.keep"
"""Label with the seconds that a container is kept after its end."""

FIRST_DELAY_S: Final = 60.0
"""Delay of the first cleanup after a worker's start, in seconds."""
MIN_DELAY_S: Final = 1.0
MAX_DELAY_S: Final = 3600.0

RunTool = Callable[..., Awaitable[str | None]]
"""Runs a command of the container tool and returns its output; None if it fails."""


class ContainerCleanup:
    """Background removal of expired containers; a task exists only while there are containers to remove."""

    def __init__(self, run_tool: RunTool) -> None:
        self._run_tool = run_tool
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def schedule(self) -> None:
        """Schedule the first removal of expired containers."""
        self._timer = asyncio.get_running_loop().call_later(FIRST_DELAY_S, self.start)

    def start(self) -> None:
        """Remove the expired containers now, and again whenever the next container is due."""
        if self._task is not None:
            self._task.cancel()
        self._task = asyncio.create_task(self._run(), name="remove containers")

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            due_s = await self._remove()
            if due_s is None:
                return
            await asyncio.sleep(min(max(due_s, MIN_DELAY_S), MAX_DELAY_S))

    async def _remove(self) -> float | None:
        """Remove the expired containers; return the seconds until the next is due, None if none is left."""
        listed = await self._run_tool(
            "ps",
            "--all",
            "--filter",
            f"label={KEEP_LABEL}",
            "--filter",
            "status=exited",
            "--format",
            "{{.Names}}",
        )
        next_s: float | None = None
        for name in (listed or "").split():
            left_s = await self._left_s(name)
            if left_s is None:
                continue
            if left_s <= 0:
                await self._run_tool("rm", "--force", "--volumes", name)
            else:
                next_s = left_s if next_s is None else min(next_s, left_s)
        return next_s

    async def _left_s(self, name: str) -> float | None:
        shape = (
            '{"at": {{json .State.FinishedAt}}, "keep": {{json (index .Config.Labels "' + KEEP_LABEL + '")}}}'
        )
        found = await self._run_tool("inspect", "--type", "container", "--format", shape, name)
        with suppress(ValueError, KeyError, TypeError):
            state = json.loads(found or "")
            ended = datetime.fromisoformat(state["at"])
            return float(state["keep"]) - (datetime.now(UTC) - ended).total_seconds()
        return None
