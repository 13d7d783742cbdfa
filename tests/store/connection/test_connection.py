"""Connection: the timeout grows with the bytes of both directions; wrong host names are reported."""

from __future__ import annotations

import asyncio

import pytest

from iogate.store.connection.connection import SLOWEST, Connection, StoreUnavailable
from iogate.store.connection.socket import Socket, open_socket

LIMIT_S = 60.0


@pytest.fixture
def deadlines(monkeypatch: pytest.MonkeyPatch) -> list[asyncio.Timeout]:
    """Collect the deadlines of all calls, which keep their last value."""
    found: list[asyncio.Timeout] = []
    ask = Socket.ask

    def collect(
        self: Socket, packed: bytes, count: int, deadline: asyncio.Timeout | None = None
    ) -> asyncio.Future[list[bytes]]:
        found.extend([deadline] if deadline is not None else [])
        return ask(self, packed, count, deadline)

    monkeypatch.setattr(Socket, "ask", collect)
    return found


def extended_s(deadline: asyncio.Timeout, began: float) -> float:
    """Return by how much a deadline was extended, and how long after `began` its call began."""
    last = deadline.when()
    assert last is not None
    return last - began - LIMIT_S


async def test_a_call_without_an_answer_ends_at_its_deadline(redis_url: str) -> None:
    line = Connection(redis_url, name="test", timeout_s=0.2)
    try:
        with pytest.raises(StoreUnavailable, match=r"gave no answer within 0\.2 s"):
            await line.calls([("BLPOP", "iogate:none", "0")])
    finally:
        await line.close()


async def test_bytes_in_flight_extend_the_deadline_of_waiting_commands(
    redis_url: str, deadlines: list[asyncio.Timeout]
) -> None:
    line = Connection(redis_url, name="test", timeout_s=LIMIT_S)
    try:
        began = asyncio.get_running_loop().time()
        # The second call waits for the bytes of the first one as well.
        await asyncio.gather(line.call("SET", "large", b"x" * SLOWEST), line.call("PING"))
        assert [extended_s(each, began) >= 1 for each in deadlines] == [True, True]
    finally:
        await line.call("DEL", "large")
        await line.close()


async def test_bytes_that_arrive_extend_the_deadline_of_waiting_commands(
    redis_url: str, deadlines: list[asyncio.Timeout]
) -> None:
    line = Connection(redis_url, name="test", timeout_s=LIMIT_S)
    large = b"x" * (4 * SLOWEST)
    try:
        await line.call("SET", "large", large)
        deadlines.clear()
        began = asyncio.get_running_loop().time()
        found, _ = await asyncio.gather(line.call("GET", "large"), line.call("PING"))
        assert found == large
        # The last bytes come with the reply.
        assert [extended_s(each, began) > 3 for each in deadlines] == [True, True]
    finally:
        await line.call("DEL", "large")
        await line.close()


@pytest.mark.parametrize("host", ["foo..bar", f"{'a' * 64}.example"])
async def test_a_name_that_no_host_can_have_is_reported(host: str) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        await open_socket(f"redis://{host}:6379")
    assert caught.value.message == f"the store is out of reach: {host}:6379: not a valid host name"
