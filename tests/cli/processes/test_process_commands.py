"""`up`, `serve`, `worker`: start, end and leftovers of their processes."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from iogate.cli.processes import parent_process
from iogate.store import keys
from iogate.store.embedded.server import find_embedded, start_embedded
from tests import fork_server
from tests.cli.conftest import Cli
from tests.cli.place import API, Place, environment, started, until, up, write_project
from tests.cli.plans.conftest import raw
from tests.ports import free_port


def pids_under(parent: int) -> list[int]:
    """The children of a process, from the kernel's own list."""
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True, check=False
    )
    return [int(line) for line in listed.stdout.split()]


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def until_completed(place: Place, uid: str) -> None:
    until(lambda: place.call(f"/v1/runs/{uid}?wait=10")[1]["status"] == "completed")


def test_a_signal_ends_parent_children_and_store(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM exits 0, SIGINT 130; the store goes too, and its data stays. A path may hold any character."""
    root = cli.root / "my jobs 100% #1?"
    root.mkdir()
    monkeypatch.chdir(root)
    write_project(root)
    for number, code in ((signal.SIGTERM, 0), (signal.SIGINT, 130)):
        with up(root) as place:
            children = pids_under(place.process.pid)
            assert len(children) >= 3
            uid = place.buy()
            until_completed(place, uid)
            assert "completed" in cli("runs", "show", uid).out
            uid = place.buy()
            place.process.send_signal(number)
            assert place.process.wait(60) == code, place.err
            assert not any(runs(child) for child in children)
            assert find_embedded(root / ".iogate") is None
        assert "Traceback" not in place.err
    embedded = start_embedded(root / ".iogate")
    try:
        assert cli("runs", "wait", uid, "--timeout", "1", code=None).code in {0, 124}
    finally:
        embedded.stop()


def test_files_that_do_not_hold_start_nothing(cli: Cli) -> None:
    write_project(cli.root)
    cli.write("apis.d/shop.yaml", API.replace("verbs:", "methods:"))
    ran = cli("up", code=3)
    assert "error IOG101" in ran.err
    assert not (cli.root / ".iogate").exists()


def test_a_port_in_use_is_named(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parent_process, "PORT_S", 0.1)
    write_project(cli.root)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ran = cli("up", "--port", str(port), code=64)
    assert f"iogate: cannot listen on 127.0.0.1:{port}: Address already in use\n" in ran.err


def test_a_read_only_data_dir_is_reported(cli: Cli) -> None:
    write_project(cli.root)
    cli.write(".iogate", "a file")
    ran = cli("up", "--port", str(free_port()), code=6)
    file = cli.root.resolve() / ".iogate"
    assert f"iogate: {file} is not writable: Not a directory [IOG628]\n" in ran.err
    assert "Traceback" not in ran.err


def test_a_wrong_flag_is_reported_as_a_setting(cli: Cli) -> None:
    ran = cli("up", "--port", "0", code=3)
    assert ran.err.startswith("iogate: --port: expected a whole number from 1 to 65535, got 0")


def test_a_store_left_behind_by_a_killed_parent_is_adopted_and_started_again_when_it_dies(
    tmp_path: Path,
) -> None:
    write_project(tmp_path)
    with up(tmp_path) as place:
        uid = place.buy()
        children = pids_under(place.process.pid)
        place.process.kill()
        place.process.wait()
        assert find_embedded(tmp_path / ".iogate") is not None
    with up(tmp_path) as place:
        until_completed(place, uid)
        until(lambda: sum(map(runs, children)) <= 1)  # all but the store
        os.kill(start_embedded(tmp_path / ".iogate").pid, signal.SIGKILL)
        until(lambda: place.call(f"/v1/runs/{uid}")[0] == 200)
        until(lambda: place.call("/v1/api/shop/buy/async", {"sku": "B"})[0] == 202)
    assert find_embedded(tmp_path / ".iogate") is None


def test_watch_applies_a_change_and_keeps_the_revision_if_it_is_invalid(tmp_path: Path) -> None:
    write_project(tmp_path)
    document = tmp_path / "apis.d/shop.yaml"
    with up(tmp_path, "--watch") as place:
        # It may not say yet that it watches: what has changed since it read the files is a change.
        until(lambda: "revision 1" in place.err)
        document.write_text(API.replace("verbs:", "methods:"))
        until(lambda: "the live revision is unchanged" in place.err)
        assert place.call("/v1/api/shop/buy/async", {})[0] == 202
        document.write_text(API.replace("  buy:", "  purchase:"))
        until(lambda: "revision 2: 1 API added, 1 deleted" in place.err)
        assert place.call("/v1/api/shop/buy/async", {})[0] == 404
        assert place.call("/v1/api/shop/purchase/async", {})[0] == 202
        workflow = tmp_path / "workflows.d/buy.yaml"
        workflow.write_text(workflow.read_text().replace("'${ .sku }'", "'${ $runtime.vars.region }'"))
        until(lambda: "$runtime.vars.region: no such variable" in place.err)
        (tmp_path / "iogate.yaml").write_text("vars: {region: eu}\n")
        until(lambda: "revision 3: " in place.err)
        assert "restart to apply them" not in place.err
        assert place.call("/v1/api/shop/purchase/sync", {"sku": "A"})[1]["data"] == {"bought": "eu"}
        (tmp_path / "iogate.yaml").write_text("vars: {region: eu}\nconcurrency: 7\n")
        until(lambda: "the settings have changed: restart to apply them" in place.err)


def test_a_restart_does_not_publish_again_what_a_rollback_took_back(cli: Cli) -> None:
    write_project(cli.root)
    document = cli.root / "apis.d/shop.yaml"
    with up(cli.root, "--watch") as place:
        until(lambda: "revision 1" in place.err)
        document.write_text(API.replace("  buy:", "  purchase:"))
        until(lambda: "revision 2: 1 API added, 1 deleted" in place.err)
        cli("rollback", "--yes", "--prune")
    with up(cli.root, "--watch") as place:
        assert (
            " rolled back this content, that of revision 2, in revision 3: it is not published again; "
            'change the files, or publish them all the same: "iogate apply" without --keep-rollback\n'
        ) in place.err
        assert place.call("/v1/api/shop/buy/async", {})[0] == 202
        document.write_text(API.replace("  buy:", "  purchase:") + "# a comment\n")
        until(lambda: "in revision 3; the live revision is unchanged" in place.err)
        document.write_text(API.replace("  buy:", "  order:"))
        until(lambda: "revision 4: 1 API added, 1 deleted" in place.err)


def test_watch_publishes_a_change_that_the_store_did_not_take(tmp_path: Path) -> None:
    write_project(tmp_path)
    with up(tmp_path, "--watch") as place:
        until(lambda: "watching" in place.err)
        server = start_embedded(tmp_path / ".iogate").pid
        os.kill(server, signal.SIGSTOP)
        try:
            (tmp_path / "apis.d/shop.yaml").write_text(API.replace("  buy:", "  purchase:"))
            until(lambda: "the publication of the change is tried again" in place.err)
        finally:
            os.kill(server, signal.SIGCONT)
        until(lambda: "revision 2: 1 API added, 1 deleted" in place.err)
        assert place.err.count("is tried again") == 1


def test_an_empty_folder_deletes_nothing_by_mistake(cli: Cli) -> None:
    """`up` refuses to delete every API; with `--no-apply` it serves the live revision."""
    write_project(cli.root)
    embedded = start_embedded(cli.root / ".iogate")
    try:
        cli("apply", "--yes")
    finally:
        embedded.stop()
    (cli.root / "apis.d/shop.yaml").unlink()
    ran = cli("up", "--port", str(free_port()), code=4)
    assert "this would delete all 8 APIs: the files contain none [IOG631]" in ran.err
    assert find_embedded(cli.root / ".iogate") is None
    with up(cli.root, "--no-apply", "--gateways", "2") as place:
        assert place.call("/v1/api/shop/buy/async", {})[0] == 202
        assert len(pids_under(place.process.pid)) >= 4


def test_an_embedded_store_with_a_refused_record_can_be_repaired(cli: Cli) -> None:
    """A repair needs the store, which only commands start that serve or work."""
    write_project(cli.root)
    embedded = start_embedded(cli.root / ".iogate")
    try:
        cli("apply", "--yes")
        raw(embedded.url, "HSET", keys.LIVE, keys.LIVE_SEAL, "1 x")
    finally:
        embedded.stop()
    refused = "the record of the live revision in the store is refused: its seal does not match it"
    port = free_port()
    assert refused in cli("up", "--port", str(port), code=4).err
    with started(cli.root, "up", "--no-apply", "--port", str(port)) as process:
        place = Place(root=cli.root, port=port, process=process)
        until(lambda: "their APIs cannot be listed" in place.err or process.poll() is not None)
        assert f"the processes run, but their APIs cannot be listed: {refused}" in place.err
        ran = cli("apply", "--repair", "--yes", "-o", "json").json
        assert (ran["revision"], ran["processes"]["late"]) == (2, [])
        assert place.call("/v1/api/shop/buy/async", {})[0] == 202


def test_serve_and_worker_share_the_store_of_the_folder(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever ends first leaves the store to the other; the last one ends it."""
    write_project(cli.root)
    data_dir = cli.root / ".iogate"
    port = str(free_port())
    monkeypatch.setenv("IOGATE_PORT", port)

    def there(kind: str) -> bool:
        return len(cli("status", "-o", "json").json[kind]) == 1

    with started(cli.root, "serve", "--port", port) as serving:
        until(lambda: find_embedded(data_dir))
        cli("apply", "--yes")
        until(lambda: there("gateways"))
        with started(cli.root, "worker") as working:
            until(lambda: there("workers"))
            called = cli("api", "call", "shop/buy", "--input", '{"sku": "S"}', "--wait", "-o", "json").json
            assert called["output"] == {"bought": "S"}
            serving.send_signal(signal.SIGTERM)
            assert serving.wait(60) == 0
            assert cli("runs", "show", called["uid"], "-o", "json").json["status"] == "completed"
            working.send_signal(signal.SIGTERM)
            assert working.wait(60) == 0
            assert find_embedded(data_dir) is None


def test_apply_reports_changes_and_disabled_apis(cli: Cli) -> None:
    write_project(cli.root)
    embedded = start_embedded(cli.root / ".iogate", appendfsync="everysec")
    try:
        first = cli("apply", "--yes")
        assert first.out.startswith("+ api shop/buy  (apis.d/shop.yaml)\n")
        assert (
            "\nPlan: 13 to add, 0 to change, 0 to delete\n\nrevision 1: 8 APIs added; 5 workflows added\n"
            in first.out
        )
        assert first.err.splitlines()[-1] == "not enabled yet: iogate enable shop/hashed"
        assert "store: unix://" in first.err
        assert cli("apply").out.startswith("revision 1: no changes\n")
        cli.write("apis.d/shop.yaml", API.replace("  buy:", "  purchase:"))
        assert "[IOG708]" in cli("apply", "--yes", code=4).err
        changed = cli("apply", "--yes", "--prune", "-o", "json").json
        assert changed.keys() == {
            *("schema", "revision", "digest", "previous", "changed", "processes", "rolledBack", "plan"),
            *("missing", "faults", "repaired", "rolledBackProcesses", "notRolledBack", "notEnabled"),
        }
        assert changed["schema"] == "iogate.apply/v1"
        assert (changed["revision"], changed["previous"], changed["changed"]) == (2, 1, True)
        assert {(each["action"], each["id"]) for each in changed["plan"]["changes"]} == {
            ("add", "shop/purchase"),
            ("delete", "shop/buy"),
        }
        assert changed["plan"]["summary"] == {
            "add": 1,
            "change": 0,
            "delete": 1,
            "breaking": 1,
            "weakening": 0,
        }
        (cli.root / "apis.d/shop.yaml").unlink()
        assert "--allow-empty" in cli("apply", "--yes", code=4).err
        assert "3 deleted" not in cli("apply", "--yes", "--prune", "--allow-empty").out
        cli.write("apis.d/shop.yaml", API)
        assert "shop/buy" in cli("apply", "--yes").err  # it was deleted, so it comes back disabled
    finally:
        embedded.stop()


@pytest.mark.parametrize(
    "command", [("run", "workflows.d/sleep.yaml"), ("runs", "wait"), ("runs", "logs", "-f")]
)
def test_an_interrupt_ends_a_waiting_command_with_130(
    shop: Place, tmp_path: Path, command: tuple[str, ...]
) -> None:
    arguments = [*command, *(() if command[0] == "run" else (shop.buy("sleep"),))]
    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
        process = fork_server.start(
            *("iogate", *arguments),
            environment=environment(), folder=shop.root, stdout=out, stderr=err, patient=True,
        )  # fmt: skip
    try:
        # It waits once it has a connection to a store: a socket beside the two of its event loop.
        until(lambda: sum("socket" in link for link in links(process.pid)) > 2)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert (tmp_path / "err").read_text() == ""
    finally:
        process.kill()
        process.wait()


def links(pid: int) -> list[str]:
    """Return the targets of the open files of a process."""
    folder = Path(f"/proc/{pid}/fd")
    found = []
    for entry in folder.iterdir() if folder.exists() else ():
        with contextlib.suppress(OSError):
            found.append(str(entry.readlink()))
    return found


def test_a_command_says_once_why_no_traces_are_exported(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://key:s3cr3t-of-collector@127.0.0.1:4317")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    ran = cli("worker", "--redis-url", "redis://127.0.0.1:1", code=6)
    assert ran.err.count("no traces are exported; set it to http/protobuf") == 1
    assert "s3cr3t-of-collector" not in ran.err
