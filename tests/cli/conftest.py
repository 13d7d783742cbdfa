"""Command lines run in this process, in a folder of their own."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from multidict import CIMultiDict

from iogate.cli import app
from iogate.cli.revisions import git_state
from iogate.effects.gateway_client import GatewayClient, Response
from iogate.security.secrets import hash_token
from tests.cli.place import ENVIRONMENT, Place, up, write_project
from tests.patient_http import LIMIT_S, is_stalled


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """Its stderr without the error as JSON."""
        return "".join(line for line in self.err.splitlines(keepends=True) if '"iogate.error/v1"' not in line)

    @property
    def json(self) -> dict[str, Any]:
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value


@dataclass(frozen=True)
class Cli:
    """Runs `iogate …` in `root`."""

    root: Path
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str, code: int | None = 0) -> Ran:
        self.capsys.readouterr()
        publishes = {"apply", "rollback"}.intersection(arguments[:1]) and "--yes" in arguments
        if publishes and "--wait" not in arguments:
            # Processes of a busy machine may need more than the default of 5 s.
            arguments = (*arguments, "--wait", "30s")
        got = app.run(list(arguments))
        out, err = self.capsys.readouterr()
        if code is not None:
            assert got == code, f"exit {got}: {out}{err}"
        return Ran(got, out, err)

    def write(self, path: str, text: str) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file


KEY = "Idempotency-Key"
REPLAYED = "idempotent-replayed"
"""Header of the response to a repeated call, in lower case."""


@pytest.fixture(autouse=True)
def _patient_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands in this process wait for a gateway that a busy machine keeps waiting."""
    send = GatewayClient.request

    async def request(
        self: GatewayClient, method: str, path: str, *, headers: Mapping[str, str] | None = None, **given: Any
    ) -> Response:
        """Send a request, again while the store of the gateway is stalled; a call gets a key for that."""
        headers = CIMultiDict(headers or {})
        own = path.startswith("/v1/api/") and KEY not in headers
        if own:
            headers[KEY] = secrets.token_hex(8)
        until_s = time.monotonic() + LIMIT_S
        while True:
            response = await send(self, method, path, headers=headers, **given)
            stalled = response.status == 503 and is_stalled(response.text)
            if not stalled or time.monotonic() > until_s:
                break
        known = [each for each in response.headers.items() if not own or each[0].lower() != REPLAYED]
        return replace(response, headers=CIMultiDict(known))

    monkeypatch.setattr(GatewayClient, "request", request)


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("IOGATE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NO_COLOR", "1")
    # A busy machine may stall git for longer than a person waits for it.
    monkeypatch.setattr(git_state, "LIMIT_S", 30.0)
    return Cli(tmp_path, capsys)


SECRETIVE = """\
document: {dsl: '1.0.3', namespace: shop, name: secretive, version: 1.0.0}
use: {secrets: [nobody_has]}
do: [{stop: {set: {region: '${ $runtime.vars.region }'}}}]
"""


RECORDED = """\
document: {dsl: '1.0.3', namespace: shop, name: recorded, version: 1.0.0}
do: [{hello: {run: {shell: {command: 'echo hello', environment: {API_TOKEN: tok-1}}}}}]
"""
YEARLY = """\
document: {dsl: '1.0.3', namespace: shop, name: yearly, version: 1.0.0}
schedule: {cron: '0 0 29 2 *'}
timeout: {after: PT5M}
do: [{stop: {set: {done: true}}}]
"""
RECORDED_API = """\
module: tape
auth: none
record: all
timeout: 5m
methods: {hello: {workflow: shop/recorded, enabled: true}}
"""


ROLES = ("read", "operate", "admin")


def token(role: str) -> str:
    """The token of the operator with this role."""
    return f"token-of-{role}-0123456789"


OPERATORS = {f"{role}er": {"token": {"hash": hash_token(token(role))}, "role": role} for role in ROLES}
"""One operator for each role: `reader`, `operateer`, `adminer`."""


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One project, served by `iogate up` for the whole session."""
    root = tmp_path_factory.mktemp("shop")
    write_project(root)
    (root / "workflows.d/secretive.yaml").write_text(SECRETIVE)
    (root / "workflows.d/recorded.yaml").write_text(RECORDED)
    (root / "workflows.d/yearly.yaml").write_text(YEARLY)
    (root / "apis.d/recorded.yaml").write_text(RECORDED_API)
    (root / "iogate.yaml").write_text(
        "allow_run: [shell]\nsecrets: {nobody_has: {env: NOBODY_HAS_THIS}}\nvars: {region: eu}\n"
        f"operators: {json.dumps(OPERATORS)}\n"
    )
    with up(root) as place:
        yield place


@pytest.fixture
def live(shop: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Runs commands in the folder of the served project."""
    monkeypatch.chdir(shop.root)
    for name in [name for name in os.environ if name.startswith("IOGATE_")]:
        monkeypatch.delenv(name)
    for name, value in {**ENVIRONMENT, "IOGATE_PORT": str(shop.port), "NO_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)
    return Cli(shop.root, capsys)
