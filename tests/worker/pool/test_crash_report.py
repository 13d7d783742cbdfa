"""Crash reports: the task that a dead worker recorded, its exit, and advice."""

from __future__ import annotations

import json

import pytest

from iogate.compiler.program import load
from iogate.engine.commands import Resumed
from iogate.engine.state.run_state import State
from iogate.errors import ERROR_FAMILIES
from iogate.supervision.supervisor import Exit
from iogate.worker.pool.crash_report import CrashNote, TaskRecorder, decode_note, describe_crash
from tests.worker.site import NOOP

DIED = "the worker that ran this run alone died 3 times"
BOUND = "Bound it, or move the work to a script, which has limits of its own"
BIG = CrashNote(uid="42", pointer="/do/1/big", name="big")


def exited(**members: object) -> Exit:
    facts = {
        "name": "solitary-1",
        "identity": "h.s.1",
        "pid": 1,
        "code": -9,
        "reason": "exited",
        "lived_s": 1.0,
    }
    return Exit(**(facts | members))  # type: ignore[arg-type]  # the members of an exit


@pytest.mark.parametrize(
    ("left", "how", "words"),
    [
        (
            exited(reason="hung", silent_s=10.0),
            ", the last time because it did not respond for 10 s",
            "an expression that does not end",
        ),
        (
            exited(),
            ", the last time by signal 9",
            "an expression that takes more memory than a worker may have",
        ),
        (
            exited(code=-6),
            ", the last time by signal 6",
            "an expression that takes more memory than a worker may have",
        ),
        (
            exited(code=-11),
            ", the last time by signal 11",
            "an expression that does not end, or takes more memory than a worker may have",
        ),
        (
            exited(code=1),
            ", the last time with code 1",
            "an expression that does not end, or takes more memory than a worker may have",
        ),
        (
            exited(reason="stopped"),
            "",
            "an expression that does not end, or takes more memory than a worker may have",
        ),
        (None, "", "an expression that does not end, or takes more memory than a worker may have"),
    ],
)
def test_the_error_names_task_exit_and_remedy(left: Exit | None, how: str, words: str) -> None:
    error = json.loads(describe_crash(BIG, left, "open-workflow"))
    assert (error["title"], error["status"], error["instance"]) == ("poisoned", 500, "/do/1/big")
    assert error["detail"] == f'task "big": {DIED}{how}: most likely {words}. {BOUND}'


def test_a_task_with_a_call_does_not_blame_an_expression() -> None:
    note = CrashNote(uid="42", pointer="/do/0/f", name="f", calls=True)
    error = json.loads(describe_crash(note, exited(code=-11), "open-workflow"))
    assert error["detail"] == (
        f'task "f": {DIED}, the last time by signal 11: most likely a call of the task ended or '
        "blocked the worker: a Python function shares the process of the worker, a script has its own"
    )


def test_an_unknown_task_is_not_named() -> None:
    error = json.loads(describe_crash(CrashNote(uid="42"), None, "serverless-workflow"))
    assert "instance" not in error
    assert error["detail"].startswith(f"{DIED}: most likely an expression")
    assert error["type"] == f"{ERROR_FAMILIES['serverless-workflow']}runtime"


def test_the_next_task_is_recorded_without_data() -> None:
    words: list[bytes] = []
    recorder = TaskRecorder("42", load(NOOP), words.append)
    assert recorder.before(State(), (), 1) == 0
    assert decode_note(words[-1]) == CrashNote(uid="42", pointer="/input")
    assert recorder.before(State(), [Resumed()], 1) == 0
    recorder.resting(State())
    assert decode_note(words[-1]) == CrashNote(uid="42", calls=True)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"uid": 1}'])
def test_an_invalid_note_is_ignored(text: bytes) -> None:
    assert decode_note(text) is None
