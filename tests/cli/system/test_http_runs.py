"""Runs over a connection that breaks: no entry of a journal is missing or repeated, no change made twice."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pytest

from iogate.cli.system import http_runs
from tests.cli.conftest import Cli

OPERATOR = {"operator": "ada", "role": "admin", "version": "1", "project": "default"}
JOURNAL = [{"at": f"t{number}", "kind": "task.started", "reference": f"/do/{number}"} for number in range(5)]
CUT = 2
"""Entries of a stream before it breaks off."""


@dataclass
class Gateway:
    """Stands in for a gateway behind a connection that breaks."""

    url: str = ""
    asked_after: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    lost: int = 0
    """Responses of changes that get lost."""
    pending: int = 0
    """Responses after those that say that the first request is still being executed."""
    empty: int = 0
    """Further streams that break off before the first entry."""
    refused: int = 0
    """Requests for a stream that get a 502."""
    is_gone: bool = False
    """Whether the run is deleted after the first stream."""


@pytest.fixture
def gateway(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    made = Gateway()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.endswith("/events"):
                self.stream()
            elif self.path == "/v1/operator":
                self.reply(200, OPERATOR)
            elif made.is_gone and made.asked_after:
                self.reply(404, {"error": {"code": "x", "message": "no run 7", "hint": "it is deleted"}})
            else:
                self.reply(200, {"uid": "7", "status": "running"})

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            made.keys.append(self.headers["Idempotency-Key"])
            if len(made.keys) <= made.lost:
                self.close_connection = True  # without a response
                return
            if len(made.keys) <= made.lost + made.pending:
                error = {"code": "requestError.conflict", "message": "still being executed"}
                self.reply(409, {"error": error}, {"Retry-After": "1"})
                return
            self.reply(200, {"uid": "7", "outcome": "retried", "remarks": []})

        def stream(self) -> None:
            after = self.headers.get("Last-Event-ID", "")
            made.asked_after.append(after)
            if made.is_gone and len(made.asked_after) > 1:
                self.reply(404, {"error": {"code": "x", "message": "no run 7"}})
                return
            if len(made.asked_after) <= made.refused:
                self.reply(502, "a proxy")
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            if len(made.asked_after) <= made.refused + made.empty:
                self.close_connection = True
                return
            first = int(after or 0)
            for number, entry in enumerate(JOURNAL[first : first + CUT], first + 1):
                text = f"id: {number}\nevent: journal\ndata: {json.dumps(entry)}\n\n: still here\n\n"
                self.wfile.write(text.encode())
            if first + CUT >= len(JOURNAL):
                self.wfile.write(b'event: end\ndata: {"status": "completed"}\n\n')
            self.close_connection = True

        def reply(self, status: int, content: object, headers: Mapping[str, str] | None = None) -> None:
            text = json.dumps({"response": content}).encode()
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("IOGATE_SERVER", made.url)
    monkeypatch.setenv("IOGATE_TOKEN", "token-of-somebody-1")
    monkeypatch.setattr(http_runs, "PAUSE_S", 0.01)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_stream_that_breaks_off_is_continued(cli: Cli, gateway: Gateway) -> None:
    ran = cli("runs", "logs", "7", "--follow", "-o", "json")
    assert [json.loads(line) for line in ran.out.splitlines()] == JOURNAL
    assert gateway.asked_after == ["", "2", "4"]


@pytest.mark.parametrize(
    ("refused", "empty", "why"),
    [(9, 0, "{url} responded with 502 instead of events"), (0, 9, "the stream ends before the run")],
)
def test_a_stream_that_never_has_an_entry_is_given_up(
    cli: Cli, gateway: Gateway, monkeypatch: pytest.MonkeyPatch, refused: int, empty: int, why: str
) -> None:
    """Although the run can be read, as behind a proxy that passes no streams on."""
    monkeypatch.setattr(http_runs, "RECONNECT_S", 0.0)
    gateway.refused, gateway.empty = refused, empty
    ran = cli("runs", "logs", "7", "--follow", code=6)
    reason = why.format(url=gateway.url)
    assert f"{gateway.url} sends no further entry of run 7: {reason} [IOG820]" in ran.err
    assert "`iogate runs logs 7` shows the journal so far" in ran.err


def test_a_stream_that_was_open_without_an_entry_is_continued(
    cli: Cli, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run may wait for longer than a proxy leaves a stream open."""
    monkeypatch.setattr(http_runs, "RECONNECT_S", 0.0)
    monkeypatch.setattr(http_runs, "OPEN_S", 0.0)
    gateway.empty = 9
    ran = cli("runs", "logs", "7", "--follow", "-o", "json")
    assert [json.loads(line) for line in ran.out.splitlines()] == JOURNAL


def test_a_run_that_is_deleted_meanwhile_ends_the_stream(cli: Cli, gateway: Gateway) -> None:
    gateway.is_gone = True
    ran = cli("runs", "logs", "7", "--follow", code=8)
    assert ran.err == "iogate: no run 7\n  it is deleted\n"
    assert len(ran.out.splitlines()) == CUT


def test_a_change_without_a_response_is_repeated_with_its_key(cli: Cli, gateway: Gateway) -> None:
    gateway.lost = 2
    assert cli("runs", "retry", "7", "--reason", "x", "--id", "one").out == "retried 7\n"
    assert gateway.keys == ["retry-one-7"] * 3


def test_a_change_that_is_still_being_executed_is_waited_for(cli: Cli, gateway: Gateway) -> None:
    gateway.lost, gateway.pending = 1, 3
    assert cli("runs", "retry", "7", "--reason", "x", "--id", "one").out == "retried 7\n"
    assert gateway.keys == ["retry-one-7"] * 5


def test_a_conflict_of_a_first_request_is_an_answer(cli: Cli, gateway: Gateway) -> None:
    gateway.pending = 1
    assert "still being executed" in cli("runs", "retry", "7", "--reason", "x", code=4).err


def test_a_change_that_never_gets_a_response_says_how_to_repeat_it(cli: Cli, gateway: Gateway) -> None:
    gateway.lost = 9
    ran = cli("runs", "retry", "7", "--reason", "x", "--id", "one", code=6)
    assert f"cannot reach the gateway at {gateway.url}: " in ran.err
    assert ran.err.endswith(
        "some runs may have been changed [IOG655]\n"
        "  repeat the command with --id one, which changes no run twice\n"
    )
