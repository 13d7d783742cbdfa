"""The key of a project is generated once, whichever commands start together."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from iogate.cli.processes.store_opening import ensure_key, open_to_serve
from iogate.compiler.revision import Bundle, Revision
from iogate.settings import LINK_KEY_FILE, Settings
from iogate.store.embedded.server import start_embedded
from iogate.store.integrity import trust


async def test_a_key_that_another_command_generates_meanwhile_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded = start_embedded(tmp_path, appendfsync="everysec")
    try:
        settings = Settings(data_dir=tmp_path, redis_url=embedded.url)
        store = await open_to_serve(settings, publishes=False, embedded=True, say=lambda _: None)
        await store.close()
        found = trust.link_key
        looks = iter([None])
        monkeypatch.setattr(trust, "link_key", lambda given: next(looks, found(given)))
        await ensure_key(settings, embedded.url)
        assert found(settings) is not None
    finally:
        embedded.stop()


def test_a_key_file_is_never_read_incomplete(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    trust.generate_link_key(settings)
    key = trust.link_key(settings)
    trust.generate_link_key(settings)
    assert key is not None
    assert trust.link_key(settings) == key
    assert [path.name for path in settings.data_dir.iterdir()] == [LINK_KEY_FILE]
    assert (settings.data_dir / LINK_KEY_FILE).stat().st_mode & 0o777 == 0o600


def test_an_empty_key_file_is_replaced(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    (tmp_path / LINK_KEY_FILE).write_text("\n")
    trust.generate_link_key(settings)
    assert trust.link_key(settings) is not None
    assert [path.name for path in tmp_path.iterdir()] == [LINK_KEY_FILE]
    assert (tmp_path / LINK_KEY_FILE).stat().st_mode & 0o777 == 0o600


async def test_files_that_later_starts_need_are_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The content of each file is synced: otherwise a power failure leaves its name without content."""
    synced: dict[int, int] = {}
    fsync = os.fsync

    def note(descriptor: int) -> None:
        fsync(descriptor)
        found = os.fstat(descriptor)
        synced[found.st_ino] = found.st_size

    monkeypatch.setattr(os, "fsync", note)
    embedded = start_embedded(tmp_path, appendfsync="everysec")
    try:
        settings = Settings(data_dir=tmp_path, redis_url=embedded.url)
        store = await open_to_serve(settings, publishes=True, embedded=True, say=lambda _: None)
        try:
            await store.revisions.publish(Bundle(revision=Revision(apis={}, workflows={}), programs={}))
            await store.revisions.live()
        finally:
            await store.close()
    finally:
        embedded.stop()
    for name in (LINK_KEY_FILE, "newest_seals", "known_stores", "redis/server.json"):
        found = (tmp_path / name).stat()
        assert found.st_size == synced.get(found.st_ino), name
    assert tmp_path.stat().st_ino in synced, "the name of the key"  # noqa: ASYNC240
