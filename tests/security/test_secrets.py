"""Secrets of workflows never appear in output for people or programs; redaction changes nothing else."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import shlex
import subprocess
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from iogate import logs
from iogate.errors import WorkflowError
from iogate.security.redaction import Redactor, disguises
from iogate.security.redaction_patterns import REDACTED
from iogate.store import keys
from iogate.worker.secrets.redaction import Redaction
from tests.worker.site import decoded, until, workflow

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
    assert request["headers"]["X-K"] == "[redacted]"
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
    assert (head["error"]["title"], head["error"]["instance"]) == ("[redacted]", "/do/0/a")


def test_small_members_beside_a_secret_are_no_secrets() -> None:
    """A port of 1 in a secret object once turned every "1" of errors and logs into a mask."""
    redaction = Redaction([BESIDE])
    assert redaction.text("on port 1, 11 times") == "on port 1, 11 times"
    assert redaction.text(f"with {SECRET}") == "with [redacted]"


def test_error_types_of_the_standard_are_not_redacted() -> None:
    error = Redaction(["runtime", "open-workflow"]).error(WorkflowError("runtime", detail="in runtime"))
    assert error.type == WorkflowError("runtime").type
    assert error.detail == "in [redacted]"
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
    monkeypatch.setattr(logs, "_redactor", Redactor())
    logs.hide(disguises([BESIDE]))
    for formatter in (logs.TextFormatter(), logs.JsonFormatter()):
        stream = io.StringIO()
        handler = logging.StreamHandler(stream)
        handler.setFormatter(formatter)
        handler.emit(logging.LogRecord("iogate", logging.INFO, "", 0, "port 1: %s", (form,), None))
        assert "port 1: " in stream.getvalue()
        assert form.strip('"') not in stream.getvalue()
        assert "[redacted]" in stream.getvalue()


KEY_TEXT = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG\r\n  tQ+z/9fLw0rmWhZqN1  \nshort\n-----END KEY-----\n"


@pytest.mark.parametrize("length", [20, 400, 5_000])
def test_a_text_is_redacted_before_it_is_cut(length: int) -> None:
    """A cut that came first left the end of a secret that it went through."""
    secret = "".join(chr(ord("a") + (place * 7) % 26) for place in range(length))
    redactor = Redactor([secret])
    for distance in range(0, 40, 3):
        shown = redactor.tail(f"fail: {secret}" + "." * (1000 - distance), 1000)
        assert not any(secret[-left:] in shown for left in range(4, 41))
        partial = (secret + "." * 1500)[distance:]
        shown = redactor.tail(partial, 1000 + length, partial=True)
        assert not any(secret[-left:] in shown for left in range(4, 41)), shown
    assert redactor.tail(f"{secret}.", 1000) == f"{REDACTED}."


def test_a_cut_never_goes_through_a_secret() -> None:
    redactor = Redactor(["sw0rdfish-42"])
    text = "one sw0rdfish-42 two"
    for at in range(len(text)):
        clean, rest = redactor.split(text, at)
        whole = clean + redactor.text(rest)
        assert whole == f"one {REDACTED} two"
        assert "sw0r" not in clean
        assert "h-42" not in clean


@pytest.mark.parametrize("line", ["MIIEvQIBADANBgkqhkiG", "tQ+z/9fLw0rmWhZqN1"])
def test_each_long_line_of_a_secret_is_a_secret(line: str) -> None:
    redactor = Redactor([KEY_TEXT])
    for text in (line, json.dumps(line)[1:-1], base64.b64encode(line.encode()).decode(), f"+ k={line}\n"):
        assert line not in redactor.text(f"before {text} after")
        assert REDACTED in redactor.text(f"before {text} after")
    assert redactor.text("short") == "short"


@pytest.mark.parametrize(
    "secret", ["Passw0rd.Example", 'it\'s "quo\\ted" $(x)', "a\tb[.*+?^${}()|]c", "S3CR3T-abc"]
)
def test_a_secret_is_hidden_in_any_letter_case_and_shell_quoting(secret: str) -> None:
    redactor = Redactor([secret])
    backslashed = "".join(c if c.isalnum() else f"\\{c}" for c in secret.replace("-", "").replace(".", ""))
    forms = [secret, secret.lower(), secret.upper(), shlex.quote(secret), repr(secret), json.dumps(secret)]
    forms.append(secret.replace("'", "'\\''"))
    for form in forms:
        core = form.strip("'\"")
        assert core not in redactor.text(f"x{form}y"), form
    if not set(secret) & set("-."):
        assert backslashed not in redactor.text(f"x{backslashed}y")


def test_a_secret_with_escapes_that_a_shell_has_interpreted_is_redacted() -> None:
    """The `echo` of dash writes a line break for a backslash and an n."""
    assert Redactor([r"one\ntwo\tthree\\x"]).text("a one\ntwo\tthree\\x b") == f"a {REDACTED} b"


async def test_a_raised_error_is_redacted_before_a_workflow_catches_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `catch` copies into data is stored as it is."""
    monkeypatch.setenv("TEST_KEY", SECRET)
    key = "${ $secrets.key }"
    error = {"type": "https://e.example/x", "status": 400, "title": key, "detail": key}
    keep = {"keep": {"set": {"said": "${ $e.detail + $e.title }"}}}
    task = {"try": [{"fail": {"raise": {"error": error}}}], "catch": {"as": "e", "do": [keep]}}
    await site.publish(workflow("catches", {"a": task}, use={"secrets": ["key"]}))
    await site.worker(secrets={"key": {"env": "TEST_KEY"}})
    run = await site.ended(await site.call("catches"))
    assert decoded(run.output) == {"said": "[redacted][redacted]"}


@pytest.mark.parametrize("secret", [SECRET, "sw0rdfish-and-more-of-the-same", "abcd"])
def test_a_dump_of_a_secret_is_hidden(secret: str) -> None:
    """`od`, `xxd`, a fingerprint, and an encoder that escapes each byte."""
    redactor = Redactor([secret])
    for before in ("", "k", "ke"):
        raw = f"{before}{secret}.".encode()
        octets = [f"{byte:02x}" for byte in secret.encode()]
        od = subprocess.run(["od", "-An", "-tx1"], input=raw, capture_output=True, check=True).stdout.decode()
        shown = [raw.hex(" "), raw.hex(":"), raw.hex(" ", -2), raw.hex(":").upper(), od]
        shown += ["".join(f"{escape}{octet}" for octet in octets) for escape in ("%", "\\x")]
        for text in shown:
            assert REDACTED in redactor.text(text), text
            assert octets[1] + octets[2] not in "".join(filter(str.isalnum, redactor.text(text))), text


@pytest.mark.parametrize("place", ["arguments", "set", "interpolation"])
async def test_an_error_of_an_expression_is_redacted_before_a_workflow_catches_it(
    place: str, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An author's own words by `error`, also where the message is cut within the secret."""
    monkeypatch.setenv("TEST_KEY", SECRET)
    fails = ['${ error("login as \\($secrets.key)") }', f'${{ error("{"." * 190}\\($secrets.key)") }}']
    tasks = []
    for number, text in enumerate(fails):
        asks = {"method": "get", "endpoint": "http://127.0.0.1:1/", "headers": {"X-K": text}}
        kinds: dict[str, dict[str, Any]] = {
            "arguments": {"call": "http", "with": asks},
            "set": {"set": {"k": text}},
            "interpolation": {"set": {"k": f"a {text} b"}},
        }
        keep = {"keep": {"set": {"said": "${ $e.detail }"}, "export": {"as": "${ [$context[]?, .said] }"}}}
        tasks.append({f"a{number}": {"try": [{"fail": kinds[place]}], "catch": {"as": "e", "do": [keep]}}})
    tasks.append({"all": {"set": {"said": "${ $context }"}}})
    await site.publish(workflow("catches", *tasks, use={"secrets": ["key"]}))
    await site.worker(secrets={"key": {"env": "TEST_KEY"}})
    run = await site.ended(await site.call("catches"))
    first, second = decoded(run.output)["said"]
    assert first.endswith("failed: login as [redacted]")
    assert "....[red" in second
    assert SECRET[:4] not in second


def test_a_secret_that_an_encoder_wrapped_over_lines_is_hidden() -> None:
    secret = "correct-horse-battery-staple-" * 6
    wrapped = base64.encodebytes(b"user:" + secret.encode()).decode()
    shown = Redactor([secret]).text(f"sent:\n{wrapped}end")
    assert shown.startswith("sent:\n")
    assert not any(len(line) > 20 for line in shown.splitlines())


@pytest.mark.usefixtures("no_old_garbage")
def test_redacting_a_large_text_is_fast() -> None:
    """A worker redacts on its event loop: 64 KiB with twenty secrets once took a second."""
    redactor = Redactor([f"{number:03}canary-{'x' * number}" for number in range(20)])
    text = "the quick brown fox jumps over 13 lazy dogs\n" * 1_490
    began = time.process_time()
    assert redactor.text(text) == text
    assert time.process_time() - began < 0.5


PRINTING = """
import os, sys, traceback
import iogate

@iogate.function("tell", version="1.0.0")
def tell() -> None:
    key = os.environ["TEST_KEY"]
    print("token:", key)
    print("in parts:", key[:5], end="", flush=True)
    print(key[5:])
    sys.stdout.buffer.write(f"bytes: {key.upper()}\\n".encode())
    sys.stderr.write(f"error: {key}\\n")
    try:
        raise ValueError(key)
    except ValueError:
        traceback.print_exc()
    print("told")
"""


async def test_output_of_a_function_is_redacted(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", "sw0rdfish-and-more")
    (site.folder / "printing.py").write_text(PRINTING)
    await site.publish(workflow("prints", {"tell": {"call": "tell:1.0.0@default"}}))
    worker = await site.worker(functions=("printing",), secrets={"key": {"env": "TEST_KEY"}})
    assert (await site.ended(await site.call("prints"))).status == "completed"
    await until(lambda: "told" in worker.log_text())
    said = worker.log_text()
    assert "sw0rdfish-and-more" not in said.lower()
    for line in ("token: [redacted]", "bytes: [redacted]", "error: [redacted]", "ValueError: [redacted]"):
        assert line in said


async def test_stderr_in_an_error_is_redacted_before_it_is_cut(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A secret before 990 more characters, one of more than 1,000, and one of several lines."""
    long = "-".join(str(number * 7919) for number in range(300))
    secrets = {"SHORT": "sw0rdfish-and-more", "LONG": long, "LINES": "first line of it\nsecond line of it\n"}
    for name, value in secrets.items():
        monkeypatch.setenv(f"TEST_{name}", value)
    tasks = []
    for name in secrets:
        for filling in (0, 990, 40_000):
            code = f'echo "fail: $K" >&2; head -c {filling} /dev/zero | tr "\\0" . >&2; echo "$K"; exit 3'
            shell = {"command": code, "environment": {"K": f"${{ $secrets.{name} }}"}}
            tasks.append(
                {
                    f"{name}{filling}": {
                        "try": [{"run": {"run": {"shell": shell}}}],
                        "catch": {"as": "e", "do": [{"keep": {"set": {"error": "${ $e }"}}}]},
                    }
                }
            )
    await site.publish(workflow("fails", *tasks, use={"secrets": list(secrets)}))
    await site.worker(allow_run=("shell",), secrets={name: {"env": f"TEST_{name}"} for name in secrets})
    uid = await site.call("fails")
    run = await site.ended(uid)
    assert run.status == "completed", run.error
    journal = b"\n".join(await site.store.runs.journal(uid)).decode()
    for text in (json.dumps(decoded(run.output)), journal):
        assert "sw0rdfish" not in text
        assert "nd-more" not in text
        assert "line of it" not in text
        assert not any(long[at : at + 12] in text for at in range(len(long) - 12))
