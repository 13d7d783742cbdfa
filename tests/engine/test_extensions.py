"""Extensions run in their own frames: own idempotency keys, and restarts at any step."""

from __future__ import annotations

import pytest

from iogate.engine.advance import advance
from iogate.engine.commands import CallFunction, Perform, Performed, Resumed
from iogate.errors import WorkflowError
from tests.engine.engine_runs import NOW_MS, Run, program

LOG = "{call: 'log:1.0.0@default', with: {about: '${ $task.reference }'}}"
LOGGED = (
    f"use: {{extensions: [{{logging: {{extend: set, before: [{{sendLog: {LOG}}}],"
    f" after: [{{sendLog: {LOG}}}]}}}}]}}\n"
    "do: [{one: {set: '. + 1'}}, {l: {for: {in: '[1, 2]'}, do: [{two: {set: '. + $item'}}]}}]"
)


def requested(stores: bool) -> list[Perform]:  # noqa: FBT001 - an option of the run, passed by name
    run = Run(program(LOGGED), input=1, stores=stores)
    waiting, found = list(run.advance()), []
    while waiting:
        perform = waiting.pop(0)
        found.append(perform)
        if stores:
            (again,) = run.advance(Resumed())
            assert again == perform
        waiting += run.advance(Performed(frame=perform.frame, output="logged"))
    assert run.state.output == 5
    return found


@pytest.mark.parametrize("stores", [False, True])
def test_calls_of_an_extension_have_keys_by_extended_task(stores: bool) -> None:  # noqa: FBT001 - a column
    performs = requested(stores=stores)
    before, after = (
        "/use/extensions/0/logging/before/0/sendLog",
        "/use/extensions/0/logging/after/0/sendLog",
    )
    tasks = ["/do/0/one", "/do/1/l/for/0/do/0/two", "/do/1/l/for/1/do/0/two"]
    assert [each.reference for each in performs] == [
        f"{task}{part}" for task in tasks for part in (before, after)
    ]
    keys = [each.idempotency_key for each in performs]
    assert len(set(keys)) == len(keys) == 6
    assert keys[0] == "42/do/0/one/use/extensions/0/logging/before/0/sendLog/0"
    about = [each.effect.arguments["about"] for each in performs if isinstance(each.effect, CallFunction)]
    assert about == ["/do/0/one"] * 2 + ["/do/1/l/for/do/0/two"] * 4


def test_the_journal_notes_a_task_and_the_extensions_around_it() -> None:
    run = Run(program(LOGGED.replace(", {l:", ", {l: {if: 'false', set: '1'}}, {never:")), input=1)
    run.finish(lambda _: 1)
    assert [(note.kind, note.reference) for note in run.notes][:7] == [
        ("workflow.started", ""),
        ("task.started", "/do/0/one"),
        ("task.started", "/use/extensions/0/logging/before/0/sendLog"),
        ("task.completed", "/use/extensions/0/logging/before/0/sendLog"),
        ("task.started", "/use/extensions/0/logging/after/0/sendLog"),
        ("task.completed", "/use/extensions/0/logging/after/0/sendLog"),
        ("task.completed", "/do/0/one"),
    ]


def test_an_error_of_an_after_extension_faults_its_task() -> None:
    run = Run(program(LOGGED), input=1)
    (first,) = run.advance()
    (second,) = run.advance(Performed(frame=first.frame, output=1))
    run.advance(Performed(frame=second.frame, error=WorkflowError("communication")))
    assert run.state.status == "faulted"
    assert ("task.faulted", "one") in run.happened("task.faulted")
    assert ("task.completed", "one") not in run.happened("task.completed")
    assert (run.state.error or {})["instance"] == "/use/extensions/0/logging/after/0/sendLog"


def test_the_record_of_a_traced_run_has_a_task_with_an_extension_after_it() -> None:
    text = (
        "use: {extensions: [{e: {extend: set, after: [{pause: {wait: PT0S}}]}}]}\n"
        "do: [{one: {input: {from: '. + 1'}, set: '. * 10', output: {as: '[.]'}}}]"
    )
    run = Run(program(text), input=1)
    advanced = advance(run.program, run.state, (), NOW_MS, run.facts, traced=True)
    assert advanced.state.status == "completed"
    assert [(each.reference, each.input, each.output) for each in advanced.completed] == [
        ("/do/0/one", 2, [20]),
        ("/do/0/one/use/extensions/0/e/after/0/pause", [20], [20]),
    ]
