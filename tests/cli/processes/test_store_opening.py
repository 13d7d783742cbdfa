"""The key of a project is generated once, whichever commands start together."""

from __future__ import annotations

from pathlib import Path

import pytest

from iogate.cli.processes.store_opening import ensure_key, open_to_serve
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
