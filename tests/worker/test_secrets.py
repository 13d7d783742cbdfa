"""Secrets reach the workflows that declare them, and no text that people read."""

from __future__ import annotations

import asyncio
import base64
import os
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iogate.cli.revisions import secret_display
from iogate.effects import Effects
from iogate.engine.errors import RaisedError
from iogate.errors import WorkflowError
from iogate.operators.secrets import secret_values
from iogate.settings import Settings
from iogate.worker.secrets.redaction import Redaction
from iogate.worker.secrets.secret_store import REDACTED_VALUES, SecretStore
from tests.effects.conftest import do, shell
from tests.worker.site import decoded, until, workflow

if TYPE_CHECKING:
    from pathlib import Path

    from tests.worker.site import Site

SECRET = "s3cr3t/pass+wörd&1"


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        quote(SECRET, safe=""),
        base64.b64encode(SECRET.encode()).decode(),
        base64.b64encode(f"user:{SECRET}".encode()).decode(),
        base64.b64encode(f"ab:{SECRET}:more".encode()).decode(),
        base64.urlsafe_b64encode(f"abc:{SECRET}".encode()).decode(),
        "s3cr3t/pass+w\\u00f6rd&1",
    ],
)
def test_redaction_finds_a_secret_in_each_encoding(form: str) -> None:
    redaction = Redaction([SECRET])
    scrubbed = redaction.scrub({"detail": [f"before {form} after"]})
    assert form not in scrubbed["detail"][0]
    assert "[redacted]" in scrubbed["detail"][0]
    response = {"status": 418, "headers": {"X-Request-Id": form}, "body": {form: [form]}}
    error = redaction.error(
        WorkflowError("runtime", title=form, detail=f"got {form}", status=418, response=response)
    )
    assert (error.title, error.status) != (form, 500)
    assert form not in str(error.to_json())


def test_redaction_keeps_the_type_of_an_error() -> None:
    """The engine names the task in errors, except in those that an author raises."""
    redaction = Redaction([SECRET])
    for kind in (WorkflowError, RaisedError):
        assert type(redaction.error(kind("runtime", detail=SECRET))) is kind


@given(st.text(min_size=1), st.binary(max_size=20), st.binary(max_size=20))
def test_redaction_of_base64_does_not_depend_on_neighbours(secret: str, before: bytes, after: bytes) -> None:
    raw = secret.encode("utf-8", "surrogatepass")
    whole = base64.b64encode(before + raw + after).decode()
    core = base64.b64encode(raw).decode().rstrip("=")
    if len(core) >= 14:
        assert core not in Redaction([secret]).text(whole)
        assert Redaction([secret]).text(whole) != whole


def test_redaction_hides_every_text_in_an_object() -> None:
    redaction = Redaction([{"user": "alice-in-chains", "nested": ["hunter22", 1234567]}])
    assert redaction.text("alice-in-chains hunter22 1234567") == "[redacted] [redacted] [redacted]"


def test_redaction_keeps_numbers_and_structure() -> None:
    assert Redaction(["12"]).scrub({"at": 1234, "a": [True, None, 1.5]}) == {
        "at": 1234,
        "a": [True, None, 1.5],
    }


def test_a_worker_reports_names_of_its_secrets_and_why_others_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_KEY", SECRET)
    secrets = SecretStore(
        Settings(secrets={"key": {"env": "TEST_KEY"}, "gone": {"env": "NOBODY_SETS_THIS"}}), tmp_path
    )
    assert secrets.announced() == {
        "secrets": "key",
        "unset:gone": "environment variable NOBODY_SETS_THIS is not set",
    }


def leaky(name: str) -> dict[str, object]:
    error = {"type": "https://example.com/leak", "status": 418, "title": "leak", "detail": "${ $secrets.db }"}
    return workflow(name, {"leak": {"raise": {"error": error}}}, use={"secrets": ["db"]})


async def test_secret_in_an_error_is_redacted_everywhere(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_DB", SECRET)
    await site.publish(leaky("leak"))
    worker = await site.worker(secrets={"db": {"env": "TEST_DB"}})
    uid = await site.call("leak")
    run = await site.ended(uid)
    assert (run.status, decoded(run.error)["status"], decoded(run.error)["detail"]) == (
        "faulted",
        418,
        "[redacted]",
    )
    written = b"\n".join(await site.store.runs.journal(uid)).decode() + worker.log_text()
    assert SECRET not in written
    assert "[redacted]" in written


def test_earlier_values_of_a_secret_stay_redacted_up_to_a_limit(tmp_path: Path) -> None:
    file = tmp_path / "token"
    values = [f"token-{number:03}-of-a-rotation" for number in range(REDACTED_VALUES + 2)]
    file.write_text(values[0])
    secrets = SecretStore(Settings(secrets={"token": {"file": "token"}}), tmp_path)
    held = secrets.environment(("token",))
    for value in values[1:]:
        file.write_text(value)
        secrets.refresh()
    file.unlink()
    secrets.refresh()
    expected = [*values[:2], *["[redacted]"] * REDACTED_VALUES]
    assert [secrets.redaction.text(value) for value in values] == expected
    assert [held.redact(value) for value in values] == expected


def test_a_value_that_comes_back_is_the_latest(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("the first token")
    secrets = SecretStore(Settings(secrets={"token": {"file": "token"}}), tmp_path)
    for number in range(3 * REDACTED_VALUES):
        file.write_text("the first token" if number % REDACTED_VALUES == 0 else f"token number {number}")
        secrets.refresh()
    assert secrets.redaction.text("the first token") == "[redacted]"


async def test_a_process_that_outlives_a_rotation_shows_neither_value(tmp_path: Path) -> None:
    file, gate = tmp_path / "token", tmp_path / "gate"
    file.write_text("swordfish-before")
    os.mkfifo(gate)
    settings = Settings(secrets={"token": {"file": "token"}}, allow_run=("shell",))
    secrets = SecretStore(settings, tmp_path)
    process = shell(
        'read value < "$GATE"; echo "$T $value" >&2; exit 1',
        environment={"T": secrets.environment(("token",)).secrets["token"], "GATE": str(gate)},
    )
    async with Effects(settings=settings, redactor=lambda: secrets.redaction) as effects:
        running = asyncio.create_task(do(effects, process))
        # Returns when the process has opened the other end.
        with await asyncio.to_thread(gate.open, "w") as writer:
            file.write_text("swordfish-after")
            secrets.refresh()
            writer.write("swordfish-after\n")
        error = (await running).error
    assert error is not None
    assert error.process is not None
    assert error.process["stderr"] == "[redacted] [redacted]"


async def test_missing_secret_is_an_authorization_error_of_its_run_only(site: Site) -> None:
    await site.publish(leaky("leak"))
    worker = await site.worker(secrets={"db": {"env": "TEST_DB_THAT_IS_NOT_SET"}})
    run = await site.ended(await site.call("leak"))
    error = decoded(run.error)
    assert (run.status, error["status"]) == ("faulted", 403)
    assert error["type"].endswith("/authorization")
    assert "environment variable TEST_DB_THAT_IS_NOT_SET is not set" in worker.log_text()


async def test_recorded_tasks_are_kept_without_secrets(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_DB", SECRET)
    shell = {
        "command": "echo id-7 $PART $DB_TOKEN",
        "environment": {"DB_TOKEN": "${ $secrets.db }", "PART": "a"},
    }
    await site.publish(
        workflow("kept", {"say": {"run": {"shell": shell}}}, use={"secrets": ["db"]}), record="all"
    )
    await site.worker(secrets={"db": {"env": "TEST_DB"}})
    uid = await site.call("kept")
    run = await site.ended(uid)
    assert run.status == "completed", run.error
    (kept,) = [decoded(entry) for entry in await site.store.runs.recorded(uid)]
    assert (kept["reference"], kept["output"], kept["redacted"]) == ("/do/0/say", "id-7 a [redacted]\n", True)
    (shown,) = [
        entry["detail"]
        for entry in map(decoded, await site.store.runs.journal(uid))
        if entry["kind"] == "task.recorded"
    ]
    assert shown["input"]["environment"] == {"DB_TOKEN": "[redacted]", "PART": "a"}
    assert shown["output"] == "id-7 a [redacted]\n"


async def test_workers_with_different_values_are_told_apart(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable is read when a process starts: after a rotation, `status` shows who needs a restart."""
    for number, value in enumerate(("old", "new")):
        monkeypatch.setenv("TEST_KEY", value)
        await site.worker(secrets={"key": {"env": "TEST_KEY"}})

        async def announced(count: int = number + 1) -> bool:
            return len(await site.store.presence.list("worker")) == count

        await until(announced)
    processes = await site.store.presence.list("worker")
    (found,) = secret_values.compare(processes, {"env TEST_KEY": ["workflows key"]})
    assert [value.processes for value in found.values] == [("test-2",), ("test-1",)]
    (table,) = secret_display.tables(secret_values.to_json([found]), every=False)
    assert table.rows == [("workflows key (env TEST_KEY)", "1 of 2 processes have the new value", "test-1")]
