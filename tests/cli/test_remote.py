"""Documents at URLs: fetched by the commands that make a revision, never by `validate`, and pinned by it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from iogate.store.store import Store
from tests.cli.conftest import Cli
from tests.keys import RING

WORKFLOW = """\
document: {dsl: '1.0.3', namespace: shop, name: ask, version: '1.0.0'}
timeout: {after: PT1M}
use:
  catalogs:
    mine: {endpoint: 'https://lib.example/catalog'}
do:
  - ask:
      call: openapi
      with:
        document: {endpoint: 'https://docs.example/api.json'}
        operationId: ask
        parameters: {q: '${ .q }'}
  - double: {call: 'double:1.0.0@mine', with: {n: '${ .n }'}}
"""
API = """\
module: shop
timeout: 1m
methods:
  ask: {workflow: shop/ask, auth: none}
"""


@dataclass
class Host:
    url: str = ""
    pages: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    redirects: dict[str, str] = field(default_factory=dict)


@pytest.fixture
def host(cli: Cli) -> Iterator[Host]:
    """Stands in for every host, through the setting `endpoints`."""
    made = Host()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked.append(self.path)
            page = made.pages.get(self.path)
            location = made.redirects.get(self.path)
            self.send_response(302 if location else 200 if page is not None else 404)
            if location:
                self.send_header("Location", location)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write((page or "").encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    hosts = ("https://docs.example", "https://lib.example")
    cli.write("iogate.yaml", json.dumps({"endpoints": dict.fromkeys(hosts, made.url)}))
    made.pages = {
        "/api.json": json.dumps(document()),
        "/ask?q=what": '{"n": 21}',
        "/catalog/functions/double/1.0.0/function.yaml": "set: {n: '${ .n * 2 }'}",
    }
    cli.write("workflows.d/ask.yaml", WORKFLOW)
    cli.write("apis.d/shop.yaml", API)
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


def document(parameter: str = "q") -> dict[str, Any]:
    operation = {"operationId": "ask", "parameters": [{"name": parameter, "in": "query", "required": True}]}
    return {"openapi": "3.1.0", "servers": [{"url": "/"}], "paths": {"/ask": {"get": operation}}}


def test_validate_touches_no_network(cli: Cli, host: Host) -> None:
    found = cli("validate", "-o", "json").json
    assert (found["errors"], found["warnings"]) == (0, 0)
    assert host.asked == []


def test_a_run_by_hand_fetches_first_and_then_calls(cli: Cli, host: Host) -> None:
    ran = cli("run", "workflows.d/ask.yaml", "--input", '{"q": "what"}', "-o", "json").json
    assert ran["output"] == {"n": 42}
    assert host.asked == ["/api.json", "/catalog/functions/double/1.0.0/function.yaml", "/ask?q=what"]


def test_the_offline_test_needs_no_mock_where_endpoints_cover_the_call(cli: Cli, host: Host) -> None:
    cli.write(
        "apis.d/shop.yaml",
        API.replace(
            "auth: none}",
            "auth: none, debug: [{name: one, verb: POST, body: {q: what}, expect: {output: {n: 42}}}]}",
        ),
    )
    assert cli("test", "-o", "json").json["passed"] == 1


def test_a_document_that_cannot_be_fetched_is_reported_at_its_position(cli: Cli, host: Host) -> None:
    del host.pages["/api.json"]
    ran = cli("run", "workflows.d/ask.yaml", code=3)
    assert (
        "workflows.d/ask.yaml:10:30: error IOG307: https://docs.example/api.json cannot be fetched: "
        f"GET https://docs.example/api.json answered 404 Not Found (sent to {host.url})"
    ) in ran.err


def test_a_document_without_the_operation_is_reported_before_a_run(cli: Cli, host: Host) -> None:
    host.pages["/api.json"] = json.dumps(document("question"))
    ran = cli("run", "workflows.d/ask.yaml", code=3)
    assert 'error IOG319: operation "ask" has no parameter "q"; it takes question' in ran.err


def test_an_unknown_host_is_reported(cli: Cli, host: Host) -> None:
    cli.write("iogate.yaml", json.dumps({"endpoints": {"https://docs.example": "http://127.0.0.1:9"}}))
    ran = cli("run", "workflows.d/ask.yaml", code=3)
    assert "https://docs.example/api.json cannot be fetched: GET" in ran.err
    assert "cannot connect: Connection refused" in ran.err


# The lock file.

FUNCTION = "https://lib.example/catalog/functions/double/1.0.0/function.yaml"
OTHER = "set: {n: '${ .n * 3 }'}"
SHELL = "run: {shell: {command: 'id'}}"


def digest(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def applied(cli: Cli, host: Host, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """A project that was applied once."""
    monkeypatch.setenv("IOGATE_REDIS_URL", redis_url)
    asyncio.run(_empty(redis_url))
    cli("apply", "--yes")
    return cli


async def _empty(url: str) -> None:
    store = Store(url, client_name="test", keyring=RING)
    await store.call("FLUSHALL")
    await store.close()


def locked(cli: Cli) -> dict[str, str]:
    stored = json.loads((cli.root / "iogate.lock").read_text())
    assert stored["schema"] == "iogate.lock/v1"
    entries: dict[str, str] = stored["resources"]
    return entries


def test_the_first_apply_writes_the_digest_of_everything_fetched(applied: Cli, host: Host) -> None:
    assert locked(applied) == {
        "https://docs.example/api.json": digest(host.pages["/api.json"]),
        FUNCTION: digest("set: {n: '${ .n * 2 }'}"),
    }
    before = (applied.root / "iogate.lock").stat().st_mtime_ns
    assert "iogate.lock" not in applied("apply", "--yes").err
    assert (applied.root / "iogate.lock").stat().st_mtime_ns == before


def test_a_document_that_changed_is_refused_until_the_change_is_accepted(applied: Cli, host: Host) -> None:
    host.pages["/catalog/functions/double/1.0.0/function.yaml"] = OTHER
    before = locked(applied)
    old, new = before[FUNCTION], digest(OTHER)
    ran = applied("apply", "--yes", code=3)
    assert (
        f"workflows.d/ask.yaml:13:20: error IOG325: {FUNCTION} has changed: iogate.lock has {old}, "
        f"what is there now has {new}"
    ) in ran.err
    assert "look at what changed, then accept it with `iogate apply --update-lock`" in ran.err
    assert locked(applied) == before
    for command in (["run", "workflows.d/ask.yaml", "--input", '{"q": "what"}'], ["test"]):
        assert "IOG325" in applied(*command, code=3).err
    assert f"iogate.lock: changed {FUNCTION}" in applied("apply", "--yes", "--update-lock").err
    assert locked(applied)[FUNCTION] == new
    assert applied("apply", "--yes", "-o", "json").json["changed"] is False


def test_an_unused_document_is_removed_from_the_lock(applied: Cli) -> None:
    head = WORKFLOW.partition("use:")[0]
    applied.write("workflows.d/ask.yaml", f"{head}do: [{{one: {{set: {{n: 1}}}}}}]\n")
    assert f"iogate.lock: removed {FUNCTION}" in applied("apply", "--yes").err
    assert not (applied.root / "iogate.lock").exists()


def test_a_pipeline_takes_nothing_that_has_no_entry(applied: Cli) -> None:
    applied("apply", "--yes", "--locked")
    (applied.root / "iogate.lock").unlink()
    ran = applied("apply", "--yes", "--locked", code=3)
    assert f"error IOG327: {FUNCTION} has no entry in iogate.lock; what is there now has sha256:" in ran.err
    assert not (applied.root / "iogate.lock").exists()
    ran = applied("apply", "--yes", "--locked", "--update-lock", code=64)
    assert "--update-lock and --locked cannot be combined" in ran.err


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "line 1: Expecting property name enclosed in double quotes"),
        ("[]", 'expected "schema": "iogate.lock/v1"'),
        ('{"schema": "iogate.lock/v1"}', 'expected "resources" with a digest for each URL'),
        (
            '{"schema": "iogate.lock/v1", "resources": {"https://a": "md5:1"}}',
            "https://a: expected sha256: and 64 hexadecimal digits",
        ),
        ("<<<<<<< HEAD", "line 1: Expecting value"),
    ],
)
def test_an_unreadable_lock_file_is_reported_also_offline(cli: Cli, text: str, reason: str) -> None:
    cli.write("workflows.d/ask.yaml", WORKFLOW)
    cli.write("iogate.lock", text)
    ran = cli("validate", code=3)
    assert f"iogate: iogate.lock cannot be used: {reason} [IOG326]" in ran.err
    assert "take the file from git, or delete it" in ran.err


# What external functions may run.


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (SHELL, "shell"),
        ("do: [{one: {run: {script: {language: python, code: '1'}}}}]", "script"),
        ("do: [{one: {try: [{two: {run: {container: {image: alpine}}}}], catch: {}}}]", "container"),
        ("run: {workflow: {namespace: shop, name: ask, version: 1.0.0}}", "workflow"),
    ],
)
def test_an_external_function_runs_nothing_unless_its_origin_is_named(
    cli: Cli, host: Host, function: str, kind: str
) -> None:
    settings = json.loads((cli.root / "iogate.yaml").read_text())
    settings["allow_run"] = ["shell", "script", "container"]
    cli.write("iogate.yaml", json.dumps(settings))
    host.pages["/catalog/functions/double/1.0.0/function.yaml"] = function
    ran = cli("run", "workflows.d/ask.yaml", "--input", '{"q": "what"}', code=3)
    assert (
        f"workflows.d/ask.yaml:13:20: error IOG324: an external function runs a {kind}, and the setting "
        f"function_origins does not name {FUNCTION}"
    ) in ran.err
    for origins, allowed in (
        (["https://lib.example/catalog"], True),
        (["https://lib.example"], True),
        (["https://lib.example/cat"], False),
        (["https://lib.example.evil", "https://lib.exampl"], False),
    ):
        cli.write("iogate.yaml", json.dumps({**settings, "function_origins": origins}))
        ran = cli("run", "workflows.d/ask.yaml", "--input", '{"q": "what"}', code=None)
        assert ("IOG324" not in ran.err) is allowed, (origins, ran.err)


def test_a_function_that_another_one_calls_needs_an_origin_of_its_own(cli: Cli, host: Host) -> None:
    settings = json.loads((cli.root / "iogate.yaml").read_text())
    settings |= {"allow_run": ["shell"], "function_origins": ["https://lib.example/catalog"]}
    cli.write("iogate.yaml", json.dumps(settings))
    outer = "do: [{one: {call: 'https://docs.example/inner.yaml'}}]"
    host.pages["/catalog/functions/double/1.0.0/function.yaml"] = outer
    host.pages["/inner.yaml"] = SHELL
    ran = cli("run", "workflows.d/ask.yaml", "--input", '{"q": "what"}', code=3)
    assert "error IOG324: an external function runs a shell" in ran.err
    assert "does not name https://docs.example/inner.yaml" in ran.err


@pytest.mark.parametrize(
    ("location", "followed"),
    [
        ("https://docs.example/evil.yaml", False),
        ("/evil.yaml", False),
        ("/catalog/../evil.yaml", False),
        ("/catalog/moved.yaml", True),
        ("https://lib.example/catalog/moved.yaml", True),
    ],
)
def test_an_allowed_origin_redirects_only_to_allowed_origins(
    cli: Cli,
    host: Host,
    location: str,
    followed: bool,  # noqa: FBT001 - a table
) -> None:
    settings = json.loads((cli.root / "iogate.yaml").read_text())
    settings |= {"allow_run": ["shell"], "function_origins": ["https://lib.example/catalog"]}
    cli.write("iogate.yaml", json.dumps(settings))
    host.redirects = {"/catalog/functions/double/1.0.0/function.yaml": location}
    host.pages |= {"/evil.yaml": SHELL, "/catalog/moved.yaml": SHELL}
    ran = cli("run", "workflows.d/ask.yaml", "--input", '{"q": "what"}', code=None)
    assert ("which function_origins does not name" in ran.err) is not followed, ran.err
    assert ("/evil.yaml" in host.asked) is False
    assert ("/catalog/moved.yaml" in host.asked) is followed
