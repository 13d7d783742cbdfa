"""Connection: the timeout grows with the bytes of both directions; wrong host names are reported."""

from __future__ import annotations

import pytest

from iogate.store.connection.connection import SLOWEST, Connection, StoreUnavailable
from iogate.store.connection.socket import open_socket


async def test_bytes_in_flight_extend_the_deadline_of_waiting_commands(redis_url: str) -> None:
    line = Connection(redis_url, name="test", timeout_s=1.0)
    pause = ("BLPOP", "iogate:none", "1.5")  # longer than the deadline of a small call
    try:
        with pytest.raises(StoreUnavailable, match="gave no answer within 1 s"):
            await line.calls([pause])
        assert await line.calls([("ECHO", b"x" * SLOWEST), pause]) == [b"x" * SLOWEST, None]
    finally:
        await line.close()


async def test_bytes_that_arrive_extend_the_deadline_of_waiting_commands(redis_url: str) -> None:
    line = Connection(redis_url, name="test", timeout_s=2.0)
    large, pause = b"x" * (4 * SLOWEST), ("BLPOP", "iogate:none", "3")
    try:
        await line.call("SET", "large", large)
        assert await line.calls([("GET", "large"), pause]) == [large, None]
    finally:
        await line.call("DEL", "large")
        await line.close()


@pytest.mark.parametrize("host", ["foo..bar", f"{'a' * 64}.example"])
async def test_a_name_that_no_host_can_have_is_reported(host: str) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        await open_socket(f"redis://{host}:6379")
    assert caught.value.message == f"the store is out of reach: {host}:6379: not a valid host name"
