"""`iogate run FILE` with events, other workflow files and a schedule."""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from iogate.effects.processes.launcher_client import LauncherClient
from iogate.security.keyring import generate_pair
from iogate.store.integrity.newest_seals import FILE
from tests import fork_server
from tests.cli.place import environment, until
from tests.processes import alive

if TYPE_CHECKING:
    from tests.cli.conftest import Cli

HEAD = "document: {{dsl: 1.0.0, namespace: demo, name: {name}, version: {version}}}\n"
PAID = "{listen: {to: {one: {with: {type: paid}}}}}"


def document(name: str, body: str, version: str = "1.0.0") -> str:
    return HEAD.format(name=name, version=version) + body


def test_each_event_is_published_once_the_run_waits_for_it(cli: Cli) -> None:
    """Two tasks listen one after the other, and neither misses the event that is its own."""
    cli.write(
        "w.yaml", document("w", f"do: [{{a: {PAID}}}, {{b: {{set: {{a: '${{ . }}'}}}}}}, {{c: {PAID}}}]")
    )
    cli.write("second.json", '[{"type": "paid", "data": 2}]')
    given = ("--event", '{"type": "paid", "data": 1}', "--event", "@second.json")
    ran = cli("run", "w.yaml", *given, "--timeout", "60", "-o", "json")
    assert (ran.json["status"], ran.json["output"]) == ("completed", [2])


ASKING = """\
document:
  dsl: 1.0.0
  namespace: demo
  name: asking
  version: 1.0.0
  metadata: {iogate: {links: {approve: {ttl: 1h}}}}
do:
  - ask: {set: {url: '${ $runtime.links.approve }'}}
  - decided: {listen: {to: {one: {with: {type: iogate.link.approve}}}}}
  - answer: {set: {decision: '${ .[0].decision }', url: '${ $runtime.links.approve }'}}
"""


def test_an_event_uses_a_link_of_the_run(cli: Cli) -> None:
    cli.write("w.yaml", ASKING)
    event = '{"type": "iogate.link.approve", "data": {"decision": "yes"}}'
    ran = cli("run", "w.yaml", "--event", event, "--timeout", "60", "-o", "json")
    assert (ran.json["status"], ran.json["output"]["decision"]) == ("completed", "yes")
    assert "/v1/links/" in ran.json["output"]["url"]
    assert "no page here" not in ran.err


def test_an_event_uses_a_link_of_a_child_run(cli: Cli) -> None:
    """Each event uses one: the link of the first of two children, then that of the second."""
    asking = "{run: {workflow: {namespace: demo, name: asking, version: latest}}}"
    cli.write("w.yaml", document("w", f"do: [{{first: {asking}}}, {{second: {asking}}}]"))
    cli.write("asking.yaml", ASKING)
    event = '{"type": "iogate.link.approve", "data": {"decision": "DECISION"}}'
    given = [part for each in ("no", "yes") for part in ("--event", event.replace("DECISION", each))]
    ran = cli("run", "w.yaml", *given, "--timeout", "60", "-o", "json")
    assert (ran.json["status"], ran.json["output"]["decision"]) == ("completed", "yes")
    assert "not published" not in ran.err


def test_an_event_of_a_link_that_no_run_has_holds_up_no_other(cli: Cli) -> None:
    listen = "do: [{a: {listen: {to: {one: {with: {type: paid}}}}}}]"
    cli.write("w.yaml", document("w", listen))
    given = ("--event", '{"type": "iogate.link.typo"}', "--event", '{"type": "paid", "data": 1}')
    ran = cli("run", "w.yaml", *given, "--timeout", "60", "-o", "json")
    assert (ran.json["status"], ran.json["output"]) == ("completed", [1])
    assert "1 event not published" in ran.err


def test_a_link_without_an_event_is_told_before_the_run_waits(cli: Cli) -> None:
    cli.write("w.yaml", ASKING)
    ran = cli("run", "w.yaml", "--timeout", "1", code=124)
    assert ran.err.splitlines()[0] == (
        "the link has no page here (approve): a run that waits for one needs "
        """--event '{"type": "iogate.link.approve", "data": {}}'"""
    )
    # On a slow machine its time is over before it waits.
    assert re.search("is still (pending|running|waiting) after 1s", ran.err)


def test_unpublished_events_are_reported(cli: Cli) -> None:
    cli.write("w.yaml", document("w", "do: [{a: {set: {ok: true}}}]"))
    ran = cli("run", "w.yaml", "--event", '{"type": "paid"}')
    assert "1 event not published: the run did not wait for more" in ran.err


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ('{"data": 1}', "--event: not a CloudEvent: expected an object with a type"),
        ('{"type": "paid", "id": 7}', "--event: not a CloudEvent: id must be text, and not empty"),
        ("{", "--event: not JSON: "),
    ],
)
def test_an_invalid_event_is_refused_before_the_run(cli: Cli, event: str, message: str) -> None:
    cli.write("w.yaml", document("w", "do: [{a: {set: {ok: true}}}]"))
    assert message in cli("run", "w.yaml", "--event", event, code=64).err


def runs(name: str, version: str = "latest") -> str:
    return f"do: [{{a: {{run: {{workflow: {{namespace: demo, name: {name}, version: {version}}}}}}}}}]"


def test_workflows_that_the_file_runs_are_found_beside_it_and_in_the_project(cli: Cli) -> None:
    """Workflows that these run are loaded too; errors in unused files do not matter."""
    cli.write("here/w.yaml", document("w", runs("x")))
    cli.write("here/old.yaml", document("x", "do: [{a: {set: {old: true}}}]", "0.9.0"))
    cli.write("here/x.yaml", document("x", runs("y"), "0.10.0"))
    cli.write("workflows.d/deep/y.yaml", document("y", "do: [{a: {set: {found: true}}}]"))
    cli.write("here/broken.yaml", "do: [")
    cli.write("here/api.yaml", "module: x\nauth: none\nmethods: {w: {workflow: demo/x, enabled: true}}\n")
    cli.write("here/iogate.yaml", "# x and y\nport: 8000\n")
    cli.write("workflows.d/other.yaml", document("other", "do: [{a: {nonsense: 1}}]"))
    assert cli("run", "here/w.yaml", "-o", "json").json["output"] == {"found": True}


def test_a_missing_workflow_is_reported_before_the_run(cli: Cli) -> None:
    cli.write(
        "w.yaml", document("w", "do: [{m: {run: {shell: {command: touch made}}}}, " + runs("x", "2.0.0")[5:])
    )
    assert 'error IOG303: no workflow "demo/x:2.0.0"' in cli("run", "w.yaml", code=3).err
    cli.write("x.yaml", document("x", "do: [{a: {set: {ok: true}}}]"))
    said = 'error IOG303: workflow "demo/x" has no version "2.0.0"; it has 1.0.0'
    assert said in cli("run", "w.yaml", code=3).err
    assert not (cli.root / "made").exists()


def test_broken_workflow_that_the_file_does_not_run_is_none_of_its_business(cli: Cli) -> None:
    cli.write("w.yaml", document("w", runs("x")))
    cli.write("x.yaml", document("x", "do: [{a: {set: {ok: true}}}]"))
    cli.write("b.yaml", document("b", "do: [{x: {wait: P1X}}]"))
    assert cli("run", "w.yaml").err == ""


def test_problem_of_a_workflow_that_the_file_runs_is_one_of_the_file(cli: Cli) -> None:
    cli.write("w.yaml", document("w", runs("x")))
    cli.write("x.yaml", document("x", "do: [{a: {nonsense: 1}}]"))
    assert "x.yaml:2:" in cli("run", "w.yaml", code=3).err
    cli.write("x.yaml", document("x", "do: [{a: "))
    assert "x.yaml:" in cli("run", "w.yaml", code=3).err


def test_a_branch_may_wait_for_the_child_of_another_branch(cli: Cli) -> None:
    """As in a worker, a child runs beside its parent."""
    waits = '{run: {shell: {command: "until [ -e made ]; do sleep 0.05; done"}}}'
    child = "{run: {workflow: {namespace: demo, name: x, version: latest}}}"
    fork = f"{{fork: {{branches: [{{w: {waits}}}, {{c: {child}}}]}}}}"
    cli.write("w.yaml", document("w", f"do: [{{f: {fork}}}]"))
    cli.write("x.yaml", document("x", "do: [{a: {run: {shell: {command: touch made}}}}]"))
    assert cli("run", "w.yaml", "--timeout", "60", "-o", "json").json["status"] == "completed"


def test_scheduled_workflow_runs_once_and_now(cli: Cli) -> None:
    cli.write("w.yaml", document("w", "schedule: {every: {hours: 1}}\ndo: [{a: {set: {ok: true}}}]"))
    assert cli("run", "w.yaml", "-o", "json").json["output"] == {"ok": True}


def test_a_file_runs_in_a_project_whose_store_has_replicas(cli: Cli) -> None:
    cli.write("iogate.yaml", "durability: replicated\nreplicas: 2\n")
    cli.write("w.yaml", document("w", "do: [{a: {set: {ok: true}}}]"))
    assert cli("run", "w.yaml", "--timeout", "60", "-o", "json").json["output"] == {"ok": True}


@pytest.mark.parametrize("option", ["--input", "--event"])
@pytest.mark.parametrize("given", ["-", "@latin.json"])
def test_bytes_that_are_not_utf_8_are_reported_with_their_position(
    cli: Cli, option: str, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.write("w.yaml", document("w", "do: [{a: {set: {ok: true}}}]"))
    (cli.root / "latin.json").write_bytes(b'{"type": "paid",\n "who": "Jos\xe9"}')
    with (cli.root / "latin.json").open(encoding="utf-8", errors="surrogateescape") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        said = cli("run", "w.yaml", option, given, code=64).err
    where = "stdin" if given == "-" else "latin.json"
    assert said.startswith(f"iogate: {where}: not UTF-8: byte 0xe9 at offset 29, in line 2\n")
    assert "iconv -f LATIN1 -t UTF-8" in said


@pytest.mark.parametrize("known", ["7 default redis://store.example.com:6379/0\n", "7 default"])
def test_the_memory_of_seals_is_neither_read_nor_written(cli: Cli, known: str) -> None:
    """It has room for some stores: those of many runs would displace the one of the project."""
    memory = cli.write(f".iogate/{FILE}", known)
    cli.write("w.yaml", document("w", "do: [{a: {set: {ok: true}}}]"))
    assert cli("run", "w.yaml", "--timeout", "60", "-o", "json").json["output"] == {"ok": True}
    assert memory.read_text() == known


UNTIL_TOLD = "until [ -e go ]; do sleep 0.05; done; echo done > out.txt"


def unawaited(command: str) -> str:
    return f'{{run: {{shell: {{command: "{command}"}}, await: false}}}}'


@contextmanager
def started(cli: Cli, *arguments: str) -> Iterator[fork_server.Process]:
    with (cli.root / "run.out").open("wb") as out, (cli.root / "run.err").open("wb") as err:
        process = fork_server.start(
            *("iogate", "run", *arguments),
            environment=environment(),
            folder=cli.root,
            stdout=out,
            stderr=err,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def out(cli: Cli) -> str:
    return (cli.root / "run.out").read_text()


def test_the_outcome_is_printed_at_once_and_detached_work_ends_before_the_command(cli: Cli) -> None:
    cli.write("w.yaml", document("w", f"do: [{{a: {unawaited(UNTIL_TOLD)}}}]"))
    with started(cli, "w.yaml") as process:
        until(lambda: out(cli) == "{}\n")
        assert not (cli.root / "out.txt").exists()
        cli.write("go", "")
        assert process.wait(60) == 0
        assert (cli.root / "out.txt").read_text() == "done\n"


def test_a_detached_run_ends_before_the_command_and_its_fault_is_reported(cli: Cli) -> None:
    child = "{run: {await: false, workflow: {namespace: demo, name: x, version: latest}}}"
    cli.write("w.yaml", document("w", f"do: [{{a: {child}}}]"))
    raises = "{raise: {error: {type: https://e.example/t, status: 418, detail: too short}}}"
    made = "{run: {shell: {command: touch made}}}"
    cli.write("x.yaml", document("x", f"do: [{{a: {{wait: PT0.1S}}}}, {{b: {made}}}, {{c: {raises}}}]"))
    ran = cli("run", "w.yaml", "-o", "json")
    assert ran.json["status"] == "completed"
    assert ran.err == "demo/x:1.0.0 was not awaited and faulted: too short\n"
    assert (cli.root / "made").exists()


def test_an_awaited_child_is_reported_by_its_task(cli: Cli) -> None:
    cli.write("w.yaml", document("w", f"do: [{{t: {{try: {runs('x')[4:]}, catch: {{}}}}}}]"))
    raises = "{raise: {error: {type: https://e.example/t, status: 418, detail: too short}}}"
    cli.write("x.yaml", document("x", f"do: [{{a: {raises}}}]"))
    assert cli("run", "w.yaml").err == ""


def test_the_failure_of_a_detached_process_is_reported(cli: Cli) -> None:
    """Also where it fails after the run's end; not with --quiet."""
    cli.write("w.yaml", document("w", f"do: [{{a: {unawaited('echo why >&2; exit 3')}}}]"))
    said = "/do/0/a was not awaited and failed: the shell ended with code 3; its stderr ends: why\n"
    assert cli("run", "w.yaml").err == said
    assert cli("run", "w.yaml", "--quiet").err == ""


def test_detached_work_is_stopped_after_the_limit_and_reported(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process is ended first: the launcher would wait for it."""
    monkeypatch.setattr("iogate.cli.run.run_command.LINGER_S", 0.2)
    close = LauncherClient.close
    left: list[bool] = []

    def closing(launcher: LauncherClient) -> None:
        if (pid := cli.root / "pid").exists():
            left.append(alive(int(pid.read_text())))
        close(launcher)

    monkeypatch.setattr(LauncherClient, "close", closing)
    child = "{run: {await: false, workflow: {namespace: demo, name: x, version: latest}}}"
    fails = "{raise: {error: {type: https://e.example/t, status: 418, detail: no}}}"
    endless = unawaited("echo $$ > pid; exec sleep 60")
    started = '{run: {shell: {command: "until [ -s pid ]; do sleep 0.01; done"}}}'
    tasks = f"[{{a: {endless}}}, {{s: {started}}}, {{b: {child}}}, {{c: {fails}}}]"
    cli.write("w.yaml", document("w", f"do: {tasks}"))
    cli.write("x.yaml", document("x", "do: [{a: {wait: PT1H}}]"))
    ran = cli("run", "w.yaml", code=7)
    said = "stopped with this command: 1 process and 1 run that no task waited for"
    assert f"warning: {said}\n" in ran.err
    assert "faulted: no" in ran.err
    assert left == [False]


def test_an_interrupt_stops_detached_work_at_once(cli: Cli) -> None:
    cli.write("w.yaml", document("w", f"do: [{{a: {unawaited(UNTIL_TOLD)}}}]"))
    with started(cli, "w.yaml", "-o", "json", "--quiet") as process:
        until(lambda: out(cli).endswith("}\n"))
        shown = out(cli)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert (out(cli), (cli.root / "run.err").read_text()) == (shown, "")
        assert json.loads(shown)["status"] == "completed"
    cli.write("go", "")
    assert not (cli.root / "out.txt").exists()


@pytest.mark.parametrize(
    ("task", "status"),
    [("{run: {shell: {command: touch begun; sleep 60}}}", "running"), ("{wait: PT1H}", "waiting")],
)
def test_an_interrupt_prints_the_current_state_of_the_run(cli: Cli, task: str, status: str) -> None:
    begins = "{run: {shell: {command: touch begun}}}"
    cli.write("w.yaml", document("w", f"do: [{{a: {begins}}}, {{b: {task}}}]"))
    with started(cli, "w.yaml", "-o", "json") as process:
        until((cli.root / "begun").exists)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        shown = json.loads(out(cli))
        assert (shown["schema"], shown["output"], shown["error"]) == ("iogate.run/v1", None, None)
        assert shown["status"] in {status, "running"}


def test_the_error_of_a_missing_secret_names_its_file_or_variable(cli: Cli) -> None:
    cli.write("iogate.yaml", "secrets: {token: {file: secrets/token.txt}, key: {env: NOBODY_SETS_THIS}}\n")
    for name, reason in (
        ("token", "secret file secrets/token.txt does not exist"),
        ("key", "environment variable NOBODY_SETS_THIS is not set"),
        ("other", "define it in the setting `secrets`, and set the variable or file that it names there"),
    ):
        cli.write(
            "w.yaml", document("w", f"use: {{secrets: [{name}]}}\ndo: [{{a: {{set: $secrets.{name}}}}}]")
        )
        error = cli("run", "w.yaml", "-o", "json", code=7).json["error"]
        assert error["detail"] == f'task "a": secret "{name}" is not available to workers: {reason}'


def test_a_file_runs_in_a_project_whose_revisions_only_publishers_sign(cli: Cli) -> None:
    """The private key is elsewhere, and not needed: nothing is published for gateways and workers."""
    _, public = generate_pair()
    cli.write("iogate.yaml", f"publishers: ['{public}']\n")
    cli.write("w.yaml", document("w", "do: [{a: {set: {ok: true}}}]"))
    assert cli("run", "w.yaml", "--timeout", "60", "-o", "json").json["output"] == {"ok": True}
