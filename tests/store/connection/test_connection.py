"""Connection: the timeout grows with the bytes in flight."""

from __future__ import annotations

import pytest

from iogate.store.connection.connection import SLOWEST, Connection, StoreUnavailable


async def test_bytes_in_flight_extend_the_deadline_of_waiting_commands(redis_url: str) -> None:
    line = Connection(redis_url, name="test", timeout_s=1.0)
    pause = ("BLPOP", "iogate:none", "1.5")  # longer than the deadline of a small call
    try:
        with pytest.raises(StoreUnavailable, match="gave no answer within 1 s"):
            await line.calls([pause])
        assert await line.calls([("ECHO", b"x" * SLOWEST), pause]) == [b"x" * SLOWEST, None]
    finally:
        await line.close()
