"""Reads that are repeated: what the worker cannot use is reported once, an outage is not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from iogate.errors import NotFound, WrongStore
from iogate.store.connection.failures import CommandFailed, StoreUnavailable
from iogate.worker import store_reader
from iogate.worker.store_reader import StoreReader

NEWER = WrongStore("revision 7 was written by another release", hint="use the release that wrote it")


@pytest.fixture(autouse=True)
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_reader, "RETRY_S", 0)


async def read(reader: StoreReader, *errors: Exception) -> str:
    """Read what is there after these errors."""
    left: Iterator[Exception] = iter(errors)

    async def attempt() -> str:
        for error in left:
            raise error
        return "found"

    return await reader.read("revision 7", attempt)


async def test_what_the_worker_cannot_use_is_reported_once_until_it_can(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reader = StoreReader()
    assert await read(reader, NEWER, StoreUnavailable("no answer"), NEWER) == "found"
    (record,) = caplog.records
    assert record.getMessage() == (
        "runs wait, because this worker cannot read revision 7: revision 7 was written by another release;"
        " use the release that wrote it"
    )
    assert await read(reader, NEWER) == "found"
    assert len(caplog.records) == 2


async def test_an_outage_is_not_reported_and_another_error_ends_the_read(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(NotFound):
        await read(StoreReader(), StoreUnavailable("no answer"), CommandFailed("LOADING"), NotFound("gone"))
    assert caplog.records == []
