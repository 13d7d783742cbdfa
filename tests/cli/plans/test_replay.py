"""`plan --replay`: recorded runs of the live definition, played with the definition in the files."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

import msgspec
import pytest

from iogate.cli.plans.replay_report import SHOWN, Replays
from iogate.settings import Settings, to_environment
from iogate.store.integrity import trust
from iogate.store.runs.intake import AcceptRequest
from iogate.store.store import open_store
from iogate.supervision.heartbeat import IDENTITY
from iogate.testing.behaviour.replay_comparison import Finding
from iogate.testing.behaviour.replays import Change, CountedFinding, WorkflowReplay
from tests import fork_server
from tests.cli.conftest import Cli
from tests.worker.site import ROOT

WORKFLOW = """\
document: {dsl: '1.0.3', namespace: shop, name: priced, version: 1.0.0}
timeout: {after: {minutes: 1}}
do:
  - price:
      run:
        shell: {command: 'printf "%s" "$N"', environment: {N: '${ .n | tostring }', API_TOKEN: tok-1}}
      output: {as: '${ {n: tonumber} }'}
  - check:
      switch:
        - large: {when: '${ .n > 5 }', then: end}
        - small: {then: tell}
  - tell:
      emit: {event: {with: {source: /shop, type: told, data: '${ . }'}}}
"""
API = """\
module: priced
auth: none
timeout: 5m
record: %s
methods: {call: {workflow: shop/priced, enabled: true}}
"""


def executed(cli: Cli, url: str, *inputs: Any) -> list[str]:
    """Accept calls of the API and let a worker execute them; return their uids."""
    return asyncio.run(_execute(cli, url, inputs))


async def _execute(cli: Cli, url: str, inputs: tuple[Any, ...]) -> list[str]:
    settings = Settings(redis_url=url, data_dir=cli.root / ".iogate", allow_run=("shell",))
    ring = trust.keyring(settings, cli.root)
    environment = {
        **os.environ,
        **to_environment(settings),
        IDENTITY: "replayed",
        "PYTHONPATH": str(ROOT),
    }
    with (cli.root / "worker.log").open("wb") as log:
        worker = fork_server.start(
            "iogate.worker", environment=environment, folder=cli.root, stdout=log, stderr=log
        )
    store = await open_store(url, keyring=ring)
    try:
        live = await store.revisions.live()
        assert live is not None
        revision = await store.revisions.load(live[0])
        api = revision.apis["priced/call"]
        intake = store.intake()
        uids = [intake.uid() for _ in inputs]
        for uid, value in zip(uids, inputs, strict=True):
            await intake.accept(
                AcceptRequest(
                    uid=uid,
                    api=api.id,
                    digest=api.digest,
                    revision=live[0],
                    workflow=api.workflow,
                    program=api.program,
                    input=msgspec.json.encode(value),
                )
            )
        for uid in uids:
            view = await store.runs.wait(uid, 30)
            assert view is not None
            assert view.status == "completed", view.error
        return uids
    finally:
        await store.close()
        worker.kill()
        worker.wait()


def test_a_plan_replays_recorded_runs_with_the_new_definition(project: Cli, redis_url: str) -> None:
    project.write("iogate.yaml", "allow_run: [shell]\n")
    project.write("apis.d/priced.yaml", API % "all")
    project.write("workflows.d/priced.yaml", WORKFLOW)
    project("apply", "--yes")
    uids = executed(project, redis_url, *({"n": n} for n in (1, 4, 9)))
    ran = project("plan", "--replay", "10")
    assert ran.out.endswith("Replay: no workflow of an earlier revision has changed\n")
    changed = WORKFLOW.replace(".n > 5", ".n > 3").replace("type: told", "type: said")
    project.write("workflows.d/priced.yaml", changed)
    ran = project("plan", "--replay", "10")
    assert ran.out.splitlines()[-4:] == [
        "Replay of shop/priced:1.0.0: 1 of 3 runs unchanged",
        "    1 of 3 takes another branch at /do/1/check",
        "    1 of 3 sends another request (event) at /do/2/tell",
        "    1 of 3 ends with another output, because of /do/2/tell",
    ]
    assert "replaying up to 10 runs of each changed workflow" in ran.err
    report = project("plan", "--replay", "10", "-o", "json").json["replay"]
    (workflow,) = report["workflows"]
    assert (report["runs"], workflow["apis"], workflow["replayed"]) == (10, ["priced/call"], 3)
    assert workflow["findings"][0] == {
        "kind": "branch",
        "pointer": "/do/1/check",
        "before": None,
        "detail": None,
        "count": 1,
        "runs": [uids[1]],
    }
    comment = project("plan", "--replay", "2", "-o", "markdown").out
    assert "\n#### Replay\n\n**shop/priced:1.0.0: 1 of 2 runs unchanged**\n\n- 1 of 2 takes" in comment
    assert "tok-1" not in json.dumps(report) + comment.partition("#### Replay")[2]
    assert "replay" not in project("plan", "-o", "json").json
    (workflow,) = project("plan", "--replay", "1", "-o", "json").json["replay"]["workflows"]
    assert workflow["replayed"] == 1


def test_runs_without_a_record_say_how_to_get_one(project: Cli, redis_url: str) -> None:
    project.write("iogate.yaml", "allow_run: [shell]\n")
    project.write("apis.d/priced.yaml", API % "errors")
    project.write("workflows.d/priced.yaml", WORKFLOW)
    project("apply", "--yes")
    executed(project, redis_url, {"n": 1})
    project.write("workflows.d/priced.yaml", WORKFLOW.replace(".n > 5", ".n > 3"))
    assert project("plan", "--replay", "5").out.splitlines()[-3:] == [
        "Replay of shop/priced:1.0.0: 0 of 1 run unchanged",
        "    1 not replayed: 1 no record",
        "    `record: all` in the API document keeps what replays of later runs need",
    ]


PARENT = """\
document: {dsl: '1.0.3', namespace: shop, name: parent, version: 1.0.0}
timeout: {after: {minutes: 1}}
do:
  - price: {run: {workflow: {namespace: shop, name: priced, version: latest, input: '${ . }'}}}
  - others:
      for: {in: '${ [range(5)] }'}
      do:
        - other: {run: {workflow: {namespace: shop, name: other, version: latest}}}
"""


def test_later_runs_of_other_workflows_do_not_hide_those_of_a_child(project: Cli, redis_url: str) -> None:
    project.write("iogate.yaml", "allow_run: [shell]\n")
    project.write("apis.d/priced.yaml", (API % "all").replace("shop/priced", "shop/parent"))
    project.write("workflows.d/priced.yaml", WORKFLOW)
    project.write("workflows.d/parent.yaml", PARENT)
    other = WORKFLOW.partition("timeout")[0].replace("name: priced", "name: other")
    project.write("workflows.d/other.yaml", f"{other}do: [{{a: {{set: {{n: 1}}}}}}]\n")
    project("apply", "--yes")
    executed(project, redis_url, {"n": 1})
    project.write("workflows.d/priced.yaml", WORKFLOW.replace(".n > 5", ".n > 0"))
    (workflow,) = project("plan", "--replay", "1", "-o", "json").json["replay"]["workflows"]
    assert (workflow["before"], workflow["apis"], workflow["replayed"]) == ("shop/priced:1.0.0", [], 1)


def test_a_replay_needs_a_store_and_a_number_up_to_a_thousand(project: Cli) -> None:
    ran = project("plan", "--replay", "5", "--base", "HEAD", code=64)
    assert "iogate: --replay needs the runs of the store; it cannot be combined with --base\n" in ran.err
    for number, limit in (("0", "greater than or equal to 1"), ("1001", "less than or equal to 1000")):
        ran = project("plan", "--replay", number, code=64)
        assert f"iogate: Invalid value for '--replay': Input should be {limit}\n" in ran.err


CHANGE = Change(workflow="shop/a:1.1.0", before="shop/a:1.0.0", old="1", new="2", apis=("shop/a",))


@pytest.mark.parametrize(
    ("kind", "count", "text"),
    [
        ("fault", 1, "1 of 9 now faults at /do/1/b (before: /do/0/b) (validation)"),
        ("fault", 2, "2 of 9 now fault at /do/1/b (before: /do/0/b) (validation)"),
        ("request", 2, "2 of 9 send another request (validation) at /do/1/b (before: /do/0/b)"),
        ("unrecorded", 1, "1 of 9 reaches a task that was never recorded at /do/1/b (before: /do/0/b)"),
        ("stuck", 3, "3 of 9 no longer end: they wait at /do/1/b (before: /do/0/b)"),
        ("output", 1, "1 of 9 ends with another output, because of /do/1/b (before: /do/0/b)"),
    ],
)
def test_a_finding_is_a_sentence(kind: Any, count: int, text: str) -> None:
    finding = Finding(kind=kind, pointer="/do/1/b", before="/do/0/b", detail="validation")
    counted = CountedFinding(finding=finding, count=count, runs=("1",))
    replay = WorkflowReplay(change=CHANGE, replayed=9, unchanged=8, findings=(counted,))
    assert Replays(count=9, workflows=(replay,)).lines() == [
        "Replay of shop/a:1.0.0 as shop/a:1.1.0: 8 of 9 runs unchanged",
        f"    {text}",
    ]


def test_a_report_names_what_was_left_out() -> None:
    found = tuple(
        CountedFinding(finding=Finding(kind="branch", pointer=f"/do/{n}/a"), count=1, runs=())
        for n in range(SHOWN + 2)
    )
    replay = WorkflowReplay(
        change=CHANGE, replayed=60, findings=found, skipped={"cancelled": 1, "retried": 2}, timed_out=True
    )
    lines = Replays(count=100, workflows=(replay,)).lines()
    assert lines[-3:] == [
        "    … and 2 more findings; -o json shows all",
        "    3 not replayed: 2 retried, 1 cancelled",
        "    stopped at the time limit; --replay-limit sets another one",
    ]
    empty = WorkflowReplay(change=CHANGE)
    broken = WorkflowReplay(change=CHANGE, problem="there is no program 1")
    assert Replays(count=1, workflows=(empty, broken)).lines() == [
        "Replay of shop/a:1.0.0 as shop/a:1.1.0",
        "    there are no ended runs",
        "Replay of shop/a:1.0.0 as shop/a:1.1.0",
        "    not replayed: there is no program 1",
    ]
