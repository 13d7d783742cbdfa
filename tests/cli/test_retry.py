"""`runs retry`: a run resumes once its service works again, and completed tasks are not repeated."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from iogate.cli import app
from iogate.cli.session import author
from tests.cli.conftest import Cli
from tests.cli.place import Place, until, up
from tests.patient_http import fetched

API = """\
module: shop
auth: none
methods:
  order:
    workflow: shop/order
    enabled: true
    timeout: 5m
"""

WORKFLOW = """\
document: {dsl: '1.0.3', namespace: shop, name: order, version: 1.0.0}
do:
  - reserve: {call: http, with: {method: post, endpoint: URL/reserve, body: '${ . }'}}
  - both:
      do:
        - price: {set: {total: '${ .n * 2 }'}}
        - keep: {set: '${ . }'}
        - charge: {call: http, with: {method: post, endpoint: URL/charge, body: '${ . }'}}
  - thank: {set: {done: '${ .n }'}}
"""


@dataclass
class Site:
    url: str = ""
    down: set[str] = field(default_factory=set)
    seen: list[tuple[str, str]] = field(default_factory=list)
    """Path and idempotency key of each call."""

    def calls(self, path: str) -> list[str]:
        return [key for each, key in self.seen if each == path]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    found = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.seen.append((self.path, self.headers["Idempotency-Key"]))
            self.send_response(503 if self.path in found.down else 200)
            self.send_header("Content-Type", "application/json")
            text = body if self.path == "/reserve" else json.dumps({"n": json.loads(body)["total"]}).encode()
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, site: Site) -> Iterator[Place]:
    root = tmp_path_factory.mktemp("retry")
    (root / "apis.d").mkdir()
    (root / "workflows.d").mkdir()
    (root / "apis.d/shop.yaml").write_text(API)
    (root / "workflows.d/order.yaml").write_text(WORKFLOW.replace("URL", site.url))
    with up(root) as found:
        yield found


@pytest.fixture
def live(place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.chdir(place.root)
    monkeypatch.setenv("NO_COLOR", "1")
    return Cli(place.root, capsys)


def faulted(place: Place, live: Cli, site: Site, n: int = 3) -> str:
    """A run that could not charge."""
    site.down, site.seen = {"/charge"}, []
    status, response = place.call("/v1/api/shop/order/async", {"n": n})
    assert status == 202, response
    uid = str(response["uid"])
    live("runs", "wait", uid, code=7)
    return uid


def shown(live: Cli, uid: str) -> Any:
    return live("runs", "show", uid, "-o", "json").json


def entries(live: Cli, uid: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = live("runs", "logs", uid, "-o", "json").json["entries"]
    return found


def retries(live: Cli, uid: str) -> list[dict[str, Any]]:
    """Return the journal entries about the attempts of a run."""
    return [each["detail"] for each in entries(live, uid) if each["kind"] == "workflow.retried"]


def test_a_retry_resumes_from_the_task_that_faulted(place: Place, live: Cli, site: Site) -> None:
    uid = faulted(place, live, site)
    assert shown(live, uid)["error"]["instance"] == "/do/1/both/do/2/charge"
    site.down = set()
    why = "the service is back; password=hunter2"
    assert live("runs", "retry", uid, "--reason", why).out == f"retried {uid}\n"
    run = live("runs", "wait", uid, "-o", "json").json
    assert (run["status"], run["output"], run["attempt"]) == ("completed", {"done": 6}, 2)
    assert len(site.calls("/reserve")) == 1, "what was done is not repeated"
    first, second = site.calls("/charge")
    assert first != second, "503 was a definite answer: the attempt has a key of its own"
    kinds = [each["kind"] for each in entries(live, uid)]
    assert kinds[kinds.index("workflow.faulted") :][:3] == [
        "workflow.faulted",
        "workflow.retried",
        "task.created",
    ]
    told = "the service is back; password=[redacted]"
    assert retries(live, uid) == [{"attempt": 2, "by": author(), "reason": told}]
    logged = f'workflow.retried    {{"attempt": 2, "by": "{author()}", "reason": "{told}"}}'
    assert logged in live("runs", "logs", uid).out
    (row,) = [line for line in live("runs", "list").out.splitlines() if line.startswith(uid)]
    assert "s in 2 attempts" in row
    seen = fetched(f"{place.url}/v1/runs/{uid}/events").content
    assert b'"kind":"workflow.retried","detail":{"attempt":2,"by":' in seen
    assert b"reason" not in seen, "a caller does not see it"
    counts = {task["reference"]: task["count"] for task in run["tasks"]}
    assert (counts["/do/0/reserve"], counts["/do/1/both/do/2/charge"]) == (1, 2)


def test_a_run_may_be_retried_until_it_gets_through(place: Place, live: Cli, site: Site) -> None:
    uid = faulted(place, live, site)
    live("runs", "retry", uid)
    live("runs", "wait", uid, code=7)
    site.down = set()
    live("runs", "retry", uid)
    assert live("runs", "wait", uid, "-o", "json").json["attempt"] == 3
    assert [each["attempt"] for each in retries(live, uid)] == [2, 3]
    assert len(site.calls("/reserve")) == 1


def test_a_retry_resumes_from_an_earlier_task(place: Place, live: Cli, site: Site) -> None:
    uid = faulted(place, live, site)
    site.down = set()
    ran = live("runs", "retry", uid, "--from", "/do/0/reserve")
    assert "gets the data" not in ran.err
    assert live("runs", "wait", uid, "-o", "json").json["output"] == {"done": 6}
    assert len(site.calls("/reserve")) == 2
    assert retries(live, uid) == [{"attempt": 2, "by": author(), "from": "/do/0/reserve"}]


def test_a_task_without_stored_input_receives_the_data_of_the_fault(
    place: Place, live: Cli, site: Site
) -> None:
    uid = faulted(place, live, site)
    site.down = set()
    ran = live("runs", "retry", uid, "--from", "/do/1/both/do/1/keep")
    assert "/do/1/both/do/1/keep receives the data at the time of the fault" in ran.err
    assert live("runs", "wait", uid, "-o", "json").json["output"] == {"done": 6}


@pytest.mark.parametrize(
    ("pointer", "says"),
    [
        ("/do/7/none", "shop/order:1.0.0 has no task /do/7/none"),
        ("/do/2/thank", 'the run has not reached task "thank": in /do it is at /do/1/both'),
    ],
)
def test_a_place_that_cannot_be_is_refused(
    place: Place, live: Cli, site: Site, pointer: str, says: str
) -> None:
    uid = faulted(place, live, site)
    assert says in live("runs", "retry", uid, "--from", pointer, code=4).err
    assert shown(live, uid)["status"] == "faulted"


def test_a_run_that_has_not_faulted_is_refused(place: Place, live: Cli, site: Site) -> None:
    site.down = set()
    _, response = place.call("/v1/api/shop/order/async", {"n": 1})
    uid = response["uid"]
    live("runs", "wait", uid)
    ran = live("runs", "retry", uid, code=4)
    assert f"run {uid} has status completed: only faulted runs can be retried" in ran.err
    assert "no run 12345" in live("runs", "retry", "12345", code=8).err
    assert "no run x" in live("runs", "retry", "x", code=8).err


def test_runs_are_retried_even_if_others_cannot_be(place: Place, live: Cli, site: Site) -> None:
    uid = faulted(place, live, site)
    site.down = set()
    ran = live("runs", "retry", "1", uid, "2", code=8)
    assert ran.out == f"retried {uid}\n"
    assert "no run 1 (and 1 more)" in ran.err
    live("runs", "wait", uid)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "give either the ids of runs, or a filter such as --api, --workflow, --status or --since"),
        (["1", "--on", "newest"], "--on takes \"current\", not 'newest'"),
        (["--status", "completed"], "--status completed: only faulted runs can be retried"),
    ],
)
def test_contradicting_options_are_misuse(live: Cli, arguments: list[str], says: str) -> None:
    assert says in live("runs", "retry", *arguments, code=64).err


def test_many_runs_are_retried_only_with_yes(place: Place, live: Cli, site: Site) -> None:
    uids = sorted(faulted(place, live, site, n) for n in (1, 2))
    site.down = set()
    ran = live("runs", "retry", "--api", "shop/order", "--status", "faulted", code=64)
    assert "add --yes to confirm" in ran.err
    batch = live("runs", "retry", "--api", "shop/order", "--yes", "-o", "json").json["batch"]
    assert batch["state"] == "done"
    assert batch["changed"] == batch["count"] >= 2
    for uid in uids:
        live("runs", "wait", uid)


def test_a_retry_uses_the_live_definition(place: Place, live: Cli, site: Site) -> None:
    file: Path = place.root / "workflows.d/order.yaml"
    before = file.read_text()
    uid, other = faulted(place, live, site), faulted(place, live, site)
    try:
        file.write_text(
            before.replace("/charge,", "/pay,").replace("- reserve", "- look: {set: '${ . }'}\n  - reserve")
        )
        live("apply", "--yes")
        assert "--on current" not in live("runs", "retry", uid, "--on", "current").err
        run = live("runs", "wait", uid, "-o", "json").json
        assert run["output"] == {"done": 6}
        assert (len(site.calls("/reserve")), len(site.calls("/pay"))) == (1, 1)
        assert retries(live, uid) == [{"attempt": 2, "by": author(), "revision": run["revision"]}]
        file.write_text(before.replace("- charge", "- pay"))
        live("apply", "--yes")
        ran = live("runs", "retry", other, "--on", "current", code=4)
        assert 'the run does not fit shop/order:1.0.0: it has no task "charge" in /do/1/both/do' in ran.err
    finally:
        file.write_text(before)
        live("apply", "--yes")
    site.down = set()
    ran = live("runs", "retry", other)
    assert "--on current" not in ran.err, "the live definition is that of the run again"
    live("runs", "wait", other)
    until(lambda: shown(live, other)["status"] == "completed")


def test_a_retry_says_that_the_live_definition_is_another_one(place: Place, live: Cli, site: Site) -> None:
    file: Path = place.root / "workflows.d/order.yaml"
    before = file.read_text()
    uid = faulted(place, live, site)
    old = shown(live, uid)["revision"]
    try:
        file.write_text(before.replace("/charge,", "/pay,"))
        live("apply", "--yes")
        new = live("status", "-o", "json").json["revision"]
        kept = f"{uid}: continues with the definition of revision {old}; "
        other = f"revision {new} has another one, which --on current uses"
        assert kept + other in live("runs", "retry", uid).err
        live("runs", "wait", uid, code=7)
        newer = file.with_name("newer.yaml")
        try:
            # The version of the run is live and unchanged, beside a newer one.
            file.write_text(before)
            newer.write_text(before.replace("1.0.0", "2.0.0").replace("/charge,", "/pay,"))
            live("apply", "--yes")
            assert "--on current" not in live("runs", "retry", uid).err
            live("runs", "wait", uid, code=7)
        finally:
            newer.unlink()
    finally:
        file.write_text(before)
        live("apply", "--yes", "--prune", "--max-deletes", "1")


def test_a_function_is_called_with_the_current_arguments_if_it_did_nothing_yet(
    place: Place, live: Cli, site: Site
) -> None:
    file: Path = place.root / "workflows.d/order.yaml"
    before = file.read_text()
    head, _ = before.split("do:\n", 1)
    send = f"{{call: http, with: {{method: post, endpoint: {site.url}/charge, body: '${{ . }}'}}}}"
    use = f"use: {{functions: {{pay: {{do: [FIRST{{send: {send}}}]}}}}}}"
    new = f"{head}{use}\ndo: [{{a: {{call: pay, with: {{total: 1}}}}}}]\n"
    try:
        for first, output in (("", {"n": 2}), ("{note: {set: '${ . }'}}, ", {"n": 1})):
            file.write_text(new.replace("FIRST", first))
            live("apply", "--yes")
            uid = faulted(place, live, site)
            site.down = set()
            file.write_text(new.replace("FIRST", first).replace("total: 1", "total: 2"))
            live("apply", "--yes")
            ran = live("runs", "retry", uid, "--on", "current")
            said = (
                f"{uid}: the function that /do/0/a calls resumes in the middle, with its original "
                "arguments; --from /do/0/a calls it with new ones"
            )
            assert (said in ran.err) is bool(first)
            assert live("runs", "wait", uid, "-o", "json").json["output"] == output
    finally:
        file.write_text(before)
        live("apply", "--yes")


def test_the_help_describes_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["runs", "retry", "--help"]) == 0
    assert "completed tasks are not repeated" in " ".join(capsys.readouterr().out.split())
