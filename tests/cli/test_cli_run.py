"""`iogate run FILE` with what is around the file: events, workflows beside it, a schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

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
    ran = cli("run", "w.yaml", *given, "--timeout", "10", "-o", "json")
    assert (ran.json["status"], ran.json["output"]) == ("completed", [2])


def test_events_that_nobody_waits_for_are_told_of(cli: Cli) -> None:
    cli.write("w.yaml", document("w", "do: [{a: {set: {ok: true}}}]"))
    ran = cli("run", "w.yaml", "--event", '{"type": "paid"}')
    assert "1 event not published: the run waited for no more" in ran.err


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ('{"data": 1}', "--event: not a CloudEvent: expected an object with a type"),
        ('{"type": "paid", "id": 7}', "--event: not a CloudEvent: id must be text, and not empty"),
        ("{", "--event: not JSON: "),
    ],
)
def test_what_is_no_event_is_refused_before_anything_runs(cli: Cli, event: str, message: str) -> None:
    cli.write("w.yaml", document("w", "do: [{a: {set: {ok: true}}}]"))
    assert message in cli("run", "w.yaml", "--event", event, code=64).err


def runs(name: str, version: str = "latest") -> str:
    return f"do: [{{a: {{run: {{workflow: {{namespace: demo, name: {name}, version: {version}}}}}}}}}]"


def test_workflows_that_the_file_runs_are_found_beside_it_and_in_the_project(cli: Cli) -> None:
    """Also those that these run in turn; what is wrong with files that nobody needs is no matter."""
    cli.write("here/w.yaml", document("w", runs("x")))
    cli.write("here/old.yaml", document("x", "do: [{a: {set: {old: true}}}]", "0.9.0"))
    cli.write("here/x.yaml", document("x", runs("y"), "0.10.0"))
    cli.write("workflows.d/deep/y.yaml", document("y", "do: [{a: {set: {found: true}}}]"))
    cli.write("here/broken.yaml", "do: [")
    cli.write("here/api.yaml", "module: x\nauth: none\nmethods: {w: {workflow: demo/x, enabled: true}}\n")
    cli.write("here/iogate.yaml", "# x and y\nport: 8000\n")
    cli.write("workflows.d/other.yaml", document("other", "do: [{a: {nonsense: 1}}]"))
    assert cli("run", "here/w.yaml", "-o", "json").json["output"] == {"found": True}


def test_workflow_that_is_nowhere_faults_the_run_with_what_there_is(cli: Cli) -> None:
    cli.write("w.yaml", document("w", runs("x", "2.0.0")))
    error = cli("run", "w.yaml", "-o", "json", code=7).json["error"]
    assert (error["status"], error["instance"]) == (400, "/do/0/a")
    said = "there is no workflow demo/x; there is demo/w; apply the one that is meant"
    assert error["detail"] == f'task "a": {said}'
    cli.write("x.yaml", document("x", "do: [{a: {set: {ok: true}}}]"))
    error = cli("run", "w.yaml", "-o", "json", code=7).json["error"]
    assert error["detail"] == 'task "a": workflow demo/x has no version 2.0.0; it has 1.0.0'


def test_problem_of_a_workflow_that_the_file_runs_is_one_of_the_file(cli: Cli) -> None:
    cli.write("w.yaml", document("w", runs("x")))
    cli.write("x.yaml", document("x", "do: [{a: {nonsense: 1}}]"))
    assert "x.yaml:2:" in cli("run", "w.yaml", code=3).err
    cli.write("x.yaml", document("x", "do: [{a: "))
    assert "x.yaml:" in cli("run", "w.yaml", code=3).err


def test_scheduled_workflow_runs_once_and_now(cli: Cli) -> None:
    cli.write("w.yaml", document("w", "schedule: {every: {hours: 1}}\ndo: [{a: {set: {ok: true}}}]"))
    assert cli("run", "w.yaml", "-o", "json").json["output"] == {"ok": True}
