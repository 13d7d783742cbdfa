"""No secret of a workflow comes to where people or other programs read it, and hiding harms nothing else."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from iogate import logs
from iogate.errors import WorkflowError
from iogate.store import keys
from iogate.worker.redaction import Redaction, disguises
from tests.worker.site import decoded, workflow

if TYPE_CHECKING:
    from tests.worker.site import Site

SECRET = "s3cr3t/canary+wörd&1"
BESIDE = {"password": SECRET, "port": 1, "flag": "on"}


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    await writer.drain()
    writer.close()


async def test_the_request_in_a_response_output_shows_no_secret(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the header or the parameter is called that carries it."""
    monkeypatch.setenv("TEST_KEY", SECRET)
    async with await asyncio.start_server(_answer, "127.0.0.1", 0) as server:
        call: dict[str, Any] = {
            "method": "get",
            "endpoint": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/",
            "headers": {"X-K": "${ $secrets.key | @uri }"},
            "query": {"k": "${ $secrets.key }", "plain": "shown"},
            "output": "response",
        }
        tasks = {"ask": {"call": "http", "with": call}}
        await site.publish(workflow("ask", tasks, use={"secrets": ["key"]}))
        await site.worker(secrets={"key": {"env": "TEST_KEY"}})
        run = await site.ended(await site.call("ask"))
    assert run.status == "completed"
    request = decoded(run.output)["request"]
    assert request["headers"]["X-K"] == "[secret]"
    assert "plain=shown" in request["uri"]
    text = json.dumps(request, ensure_ascii=False)
    assert "s3cr3t" not in text


async def test_a_faulted_run_keeps_no_secret_for_its_retry(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its state is kept as long as the run; the error in it is that of journal and answer."""
    monkeypatch.setenv("TEST_KEY", SECRET)
    error = {"type": "https://e.example/x", "status": 400, "title": "${ $secrets.key }", "detail": "d"}
    await site.publish(workflow("fails", {"a": {"raise": {"error": error}}}, use={"secrets": ["key"]}))
    await site.worker(secrets={"key": {"env": "TEST_KEY"}})
    uid = await site.call("fails")
    assert (await site.ended(uid)).status == "faulted"
    head = json.loads(await site.store.call("HGET", keys.FRAMES + uid, "head"))
    assert (head["error"]["title"], head["error"]["instance"]) == ("[secret]", "/do/0/a")


def test_small_members_beside_a_secret_are_no_secrets() -> None:
    """A port of 1 in a secret object once turned every "1" of errors and logs into a mask."""
    redaction = Redaction([BESIDE])
    assert redaction.text("on port 1, 11 times") == "on port 1, 11 times"
    assert redaction.text(f"with {SECRET}") == "with [secret]"


def test_the_standards_error_types_stay_what_catch_compares() -> None:
    error = Redaction(["runtime", "open-workflow"]).error(WorkflowError("runtime", detail="in runtime"))
    assert error.type == WorkflowError("runtime").type
    assert error.detail == "in [secret]"
    assert "hunter22" not in Redaction(["hunter22"]).error(WorkflowError("https://x/hunter22")).type


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        quote(SECRET, safe=""),
        quote(SECRET, safe="").lower(),
        quote(SECRET, safe="?/:@!$'()*,~"),
        SECRET.encode().hex(),
        base64.b64encode(f"user:{SECRET}".encode()).decode(),
        json.dumps(SECRET),
    ],
)
def test_a_log_line_hides_a_secret_in_each_disguise(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_secrets", set())
    logs.hide(disguises([BESIDE]))
    for formatter in (logs.TextFormatter(), logs.JsonFormatter()):
        stream = io.StringIO()
        handler = logging.StreamHandler(stream)
        handler.setFormatter(formatter)
        handler.emit(logging.LogRecord("iogate", logging.INFO, "", 0, "port 1: %s", (form,), None))
        assert "port 1: " in stream.getvalue()
        assert form.strip('"') not in stream.getvalue()
        assert "[secret]" in stream.getvalue()
