"""Output of processes in the journal of their run: live, bounded, and without secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iogate.effects.processes.process_output import EACH, ENTRIES, LAST, TOTAL, ProcessOutput
from iogate.security.redaction import Redactor
from tests.worker.site import decoded, until, workflow

if TYPE_CHECKING:
    import pytest

    from tests.worker.site import Site


async def output_of(site: Site, uid: str) -> list[dict[str, Any]]:
    entries = [decoded(line) for line in await site.store.runs.journal(uid)]
    return [entry["detail"] for entry in entries if entry["kind"] == "process.output"]


async def test_output_is_in_the_journal_while_the_process_runs(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_KEY", "sw0rdfish-and-more")
    go = site.folder / "go"
    code = (
        f'echo first "$K"; printf half; while [ ! -e {go} ]; do sleep 0.05; done; echo " done"; echo end >&2'
    )
    shell = {"command": code, "environment": {"K": "${ $secrets.key }"}}
    say = {"run": {"shell": shell, "return": "none"}}
    await site.publish(workflow("speaks", {"say": say}, use={"secrets": ["key"]}))
    await site.worker(allow_run=("shell",), secrets={"key": {"env": "TEST_KEY"}})
    uid = await site.call("speaks")

    async def shown() -> bool:
        return bool(await output_of(site, uid))

    await until(shown, name="the first line")
    assert await output_of(site, uid) == [{"stream": "stdout", "text": "first [redacted]\n"}]
    assert (await site.view(uid)).status == "running"
    go.touch()
    run = await site.ended(uid)
    assert run.status == "completed", run.error
    assert (await output_of(site, uid))[1:] == [
        {"stream": "stdout", "text": "half done\n"},
        {"stream": "stderr", "text": "end\n"},
    ]


def test_large_output_adds_a_bounded_amount() -> None:
    output = ProcessOutput(Redactor)
    entries = []
    for number in range(400):
        for _ in range(20):
            output.wrote("stdout", b"x" * 1_000 + b"\n")
        output.wrote("stderr", b"%d\n" % number)
        entries += output.take()
    last = output.take(ended=True)
    assert len(entries) <= ENTRIES + 1
    assert sum(len(entry["text"]) for entry in entries) <= TOTAL + 2 * EACH
    assert all(len(entry["text"]) <= EACH + 1 for entry in entries)
    assert entries[0]["omitted"] >= 20 * 1_001 - EACH
    assert {entry["stream"]: len(entry["text"]) <= LAST + 1 for entry in last} == {
        "stdout": True,
        "stderr": True,
    }
    assert last[1]["text"].endswith("399\n")


def test_no_part_of_a_divided_secret_is_shown() -> None:
    secret = "correct-horse-battery-staple"
    for length in (1, 3, 10_000, 30_011):
        for size in (1 if length < 100 else 997, 4_096):
            output = ProcessOutput(lambda: Redactor([secret]))
            text = ("." * length + secret) * 3 + "\n"
            shown = ""
            for at in range(0, len(text), size):
                output.wrote("stderr", text[at : at + size].encode())
                shown += "".join(entry["text"] for entry in output.take())
            shown += "".join(entry["text"] for entry in output.take(ended=True))
            parts = [secret[at : at + 6] for at in range(len(secret) - 5)]
            assert not any(part in shown for part in parts), (length, size)
            assert "[redacted]" in shown


def test_multibyte_characters_survive_chunk_borders() -> None:
    output = ProcessOutput(Redactor)
    for byte in "grüße ☃\n".encode():
        output.wrote("stdout", bytes([byte]))
    assert output.take() == [{"stream": "stdout", "text": "grüße ☃\n"}]
    assert output.take(ended=True) == []
