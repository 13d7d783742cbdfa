"""Documents at URLs: fetched by the commands that make a revision, never by `validate`, and pinned by it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.cli.conftest import Cli

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


@pytest.fixture
def host(cli: Cli) -> Iterator[Host]:
    """Stands in for every host, through the setting `endpoints`."""
    made = Host()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked.append(self.path)
            page = made.pages.get(self.path)
            self.send_response(200 if page is not None else 404)
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


def test_what_cannot_be_fetched_is_told_at_its_place(cli: Cli, host: Host) -> None:
    del host.pages["/api.json"]
    ran = cli("run", "workflows.d/ask.yaml", code=3)
    assert (
        "workflows.d/ask.yaml:10:30: error IOG307: https://docs.example/api.json cannot be fetched: "
        f"GET https://docs.example (sent to {host.url}) answered 404 Not Found"
    ) in ran.err.replace("https://docs.example/api.json (sent", "https://docs.example (sent")


def test_a_document_that_changed_its_operation_is_told_before_anything_runs(cli: Cli, host: Host) -> None:
    host.pages["/api.json"] = json.dumps(document("question"))
    ran = cli("run", "workflows.d/ask.yaml", code=3)
    assert 'error IOG319: operation "ask" has no parameter "q"; it takes question' in ran.err


def test_a_host_that_is_not_there_is_told(cli: Cli, host: Host) -> None:
    cli.write("iogate.yaml", json.dumps({"endpoints": {"https://docs.example": "http://127.0.0.1:9"}}))
    ran = cli("run", "workflows.d/ask.yaml", code=3)
    assert "https://docs.example/api.json cannot be fetched: GET" in ran.err
    assert "cannot connect: Connection refused" in ran.err
