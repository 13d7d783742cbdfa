"""Project that a real `iogate up` serves, for tests of commands against it."""

from __future__ import annotations

import json
import os
import secrets
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests import fork_server
from tests.patient_http import LIMIT_S, PAUSE_S, is_stalled
from tests.ports import free_port

API = """\
module: shop
auth: none
methods:
  buy:
    path: /hooks/buy
    mode: sync
    verbs: [GET, POST]
    workflow: shop/buy
    enabled: true
    timeout: 1m
    debug:
      - name: one
        body: {sku: A-1}
        expect: {http: 202, status: completed, output: {bought: A-1}}
      - name: wrong on purpose
        body: {sku: A-1}
        events: [{type: shop.paid}]
        expect: {output: {bought: B-2}}
  guarded:
    workflow: shop/buy
    auth: {token: {env: SHOP_TOKEN}}
    enabled: true
    timeout: 1m
    debug:
      - name: with its token
        body: {sku: A-2}
  hashed:
    workflow: shop/buy
    auth: {token: {hash: "sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"}}
    timeout: 1m
  lacking:
    workflow: shop/buy
    auth: {token: {env: NOBODY_SETS_THIS}}
    callback: {url: "https://hooks.example.com/lacking", secret: {env: NOBODY_SIGNS_WITH_THIS}}
    enabled: true
    timeout: 1m
  fail:
    workflow: shop/fail
    enabled: true
    timeout: 1m
  sleep:
    workflow: shop/sleep
    enabled: true
    timeout: 10m
  echoing:
    attributes: {sku: /sku}
    workflow: shop/echoing
    enabled: true
    timeout: 1m
  nested:
    workflow: shop/nested
    enabled: true
    timeout: 10m
"""

WORKFLOW = """\
document: {{dsl: '1.0.3', namespace: shop, name: {name}, version: 1.0.0}}
do:
  - {task}
"""

TASKS = {
    "buy": "buy: {set: {bought: '${ .sku }'}}",
    "fail": (
        "stop: {raise: {error: {type: 'https://shop.example/errors/sold-out', status: 410, title: Sold out}}}"
    ),
    "echoing": (
        "stop: {raise: {error: {type: 'https://shop.example/x', status: 410, title: '${ .title }',"
        " detail: '${ .title }'}}}"
    ),
    "sleep": "nap: {wait: {minutes: 5}}",
    "nested": "inner: {run: {workflow: {namespace: shop, name: sleep, version: latest}}}",
}

ENVIRONMENT = {"SHOP_TOKEN": "iog_shop"}


@dataclass(kw_only=True)
class Place:
    """A running `iogate up`."""

    root: Path
    port: int
    process: fork_server.Process
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def out(self) -> str:
        return (self.root / "up.out").read_text()

    @property
    def err(self) -> str:
        return (self.root / "up.err").read_text()

    def call(self, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """Send a request; repeat it if the store is stalled: a read, or what has a key, such as a call."""
        is_call = path.startswith(("/v1/api/", "/v1/events", "/hooks/"))
        given = {"Idempotency-Key": secrets.token_hex(8)} if is_call else {}
        given |= headers or {}
        until_s = time.monotonic() + LIMIT_S
        while True:
            status, response = self._send(path, body, given)
            stalled = status == 503 and is_stalled(json.dumps(response))
            repeatable = body is None or "Idempotency-Key" in given
            if not stalled or not repeatable or time.monotonic() > until_s:
                return status, response
            time.sleep(PAUSE_S)

    def _send(self, path: str, body: Any, headers: dict[str, str] | None) -> tuple[int, Any]:
        request = urllib.request.Request(
            self.url + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", **(headers or {})},
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.load(answer)["response"]
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)["response"]

    def buy(self, path: str = "buy") -> str:
        status, response = self.call(f"/v1/api/shop/{path}/async", {"sku": "A-1"})
        assert status == 202, response
        return str(response["uid"])


def write_project(root: Path) -> None:
    (root / "apis.d").mkdir()
    (root / "workflows.d").mkdir()
    (root / "apis.d/shop.yaml").write_text(API)
    for name, task in TASKS.items():
        (root / f"workflows.d/{name}.yaml").write_text(WORKFLOW.format(name=name, task=task))


def until(look: Callable[[], Any], timeout_s: float = 60.0) -> Any:
    """Call `look` until its result is true, and return that."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, "not within time"
        time.sleep(0.05)


def environment() -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("IOGATE_")}
    return own | ENVIRONMENT | {"NO_COLOR": "1"}


@contextmanager
def started(root: Path, *arguments: str) -> Iterator[fork_server.Process]:
    """`iogate …` in `root`, ended with the block; its output goes to `up.out` and `up.err`."""
    with (root / "up.out").open("wb") as out, (root / "up.err").open("wb") as err:
        process = fork_server.start(
            *("iogate", *arguments), environment=environment(), folder=root, stdout=out, stderr=err
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(40)


@contextmanager
def up(root: Path, *arguments: str) -> Iterator[Place]:
    """`iogate up` in `root` until the end of the block, ready when it begins."""
    port = free_port()
    with started(root, "up", "--port", str(port), *arguments) as process:
        place = Place(root=root, port=port, process=process)
        until(lambda: "curl" in place.out or process.poll() is not None)
        assert process.poll() is None, place.err
        yield place
