"""A crash of all processes at once costs seconds, and no accepted run."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import redis

from iogate.store import keys
from iogate.store.embedded.server import find_embedded
from tests.cli.place import up
from tests.cli.processes.test_process_commands import pids_under, until_completed

API = """\
module: shop
auth: none
methods:
  ask: {workflow: shop/ask, verbs: [GET], enabled: true, timeout: 1m}
"""
WORKFLOW = """\
document: {dsl: '1.0.3', namespace: shop, name: ask, version: 1.0.0}
do:
  - ask: {call: http, with: {method: get, endpoint: 'URL'}}
"""


class Site:
    """Holds its first caller until the end, and answers all others at once."""

    def __init__(self) -> None:
        self.asked = threading.Semaphore(0)
        self.ended = threading.Event()
        self.url = ""
        self.calls: list[float] = []
        """Times at which it was called."""


@contextmanager
def site() -> Iterator[Site]:
    made = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.calls.append(time.monotonic())
            first = len(made.calls) == 1
            made.asked.release()
            if first:
                made.ended.wait(60)
                return
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(b'{"ok": true}')

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made.url = f"http://127.0.0.1:{server.server_port}/"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield made
        finally:
            made.ended.set()
            server.shutdown()
            thread.join()


def store_pid(folder: Path) -> int:
    url = find_embedded(folder / ".iogate")
    assert url is not None
    with redis.Redis.from_url(url, decode_responses=True) as plain:
        return int(plain.info("server")["process_id"])


def test_a_run_resumes_soon_after_all_processes_were_killed(tmp_path: Path) -> None:
    """Before its lease would have ended, and its grace after a silence of the store."""
    with site() as remote:
        for name, text in {"apis.d/shop.yaml": API, "workflows.d/ask.yaml": WORKFLOW}.items():
            (tmp_path / name).parent.mkdir()
            (tmp_path / name).write_text(text.replace("URL", remote.url))
        with up(tmp_path) as place:
            status, answer = place.call("/v1/api/shop/ask/async")
            assert status == 202
            assert remote.asked.acquire(timeout=60)
            for pid in (place.process.pid, *pids_under(place.process.pid), store_pid(tmp_path)):
                with suppress(ProcessLookupError):  # its parent's death was its own
                    os.kill(pid, signal.SIGKILL)
            place.process.wait()
        with up(tmp_path) as place:
            ready = time.monotonic()
            until_completed(place, answer["uid"])
        _, resumed = remote.calls
        assert resumed - ready < keys.LEASE_MS / 1000 - 2, (
            "a grace begins when the workers start, before `up` is ready"
        )
        assert re.search(rf"\d runs? of {re.escape(os.uname().nodename)}", place.err)
