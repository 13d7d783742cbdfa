"""Server that cannot save its data, and therefore refuses writes with MISCONF until it can."""

from __future__ import annotations

import time

from redis import Redis

from iogate.store.embedded.server import EmbeddedServer

PATIENCE_S = 60.0


def fail_saves(server: EmbeddedServer) -> None:
    """Let a server without persistence fail to save: a folder has the name of its file."""
    (server.folder / "dump.rdb").mkdir()
    with Redis.from_url(server.url) as plain:
        plain.config_set("save", "3600 1")
        _save(plain, status="err")


def repair_saves(server: EmbeddedServer) -> None:
    """Let a server of `fail_saves` save its data again."""
    (server.folder / "dump.rdb").rmdir()
    with Redis.from_url(server.url) as plain:
        _save(plain, status="ok")


def _save(plain: Redis, *, status: str) -> None:
    plain.bgsave()
    until = time.monotonic() + PATIENCE_S
    while (found := plain.info("persistence"))["rdb_bgsave_in_progress"]:
        assert time.monotonic() < until, found
        time.sleep(0.01)
    assert found["rdb_last_bgsave_status"] == status, found
