"""`api call --file` sends a form with files, and `runs file` lists and writes the files of a run."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from iogate.cli.apis.call_form import encode
from iogate.errors import Misused, NotFound
from iogate.file_references import FileMetadata
from iogate.store import keys
from iogate.store.runs.traffic import Traffic
from iogate.store.store import Store, open_store
from tests.cli.conftest import Cli
from tests.keys import RING
from tests.store.builders import accepted, publish

SCAN, FIRST, SECOND = b"\x89PNG" + bytes(700_000), b"page one", b"page two"


def metadata(name: str, filename: str, content: bytes, kind: str = "text/plain") -> dict[str, Any]:
    return FileMetadata(
        name=name,
        filename=filename,
        content_type=kind,
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    ).to_json()


INPUT = {
    "order": 7,
    "scan": metadata("scan", "receipt.png", SCAN, "image/png"),
    "pages": [metadata("pages", "1.txt", FIRST), metadata("pages", "2.txt", SECOND)],
    "note": {"reference": "not a file"},
}


@pytest.fixture
def uid(cli: Cli, redis_url: str) -> str:
    """A run whose call has sent three files."""
    cli.write("iogate.yaml", f"redis_url: {redis_url}\n")

    async def start() -> str:
        with contextlib.closing(Redis.from_url(redis_url)) as server:
            server.flushall()  # processes of other tests have another key
        store = await open_store(redis_url, client_name="test", keyring=RING)
        await publish(store)
        contents = {hashlib.sha256(each).hexdigest(): each for each in (SCAN, FIRST, SECOND)}
        files = await store.files.store(contents)
        traffic = Traffic(files=files.id, chunks=files.chunks)
        uid = await accepted(store.intake(), input=json.dumps(INPUT).encode(), traffic=traffic)
        await store.close()
        return uid

    return asyncio.run(start())


def test_the_files_of_a_run_are_listed(cli: Cli, uid: str) -> None:
    lines = cli("runs", "file", uid).out.splitlines()
    assert lines[0].split() == ["NAME", "FILENAME", "TYPE", "SIZE", "SHA256"]
    assert [line.split()[:4] for line in lines[1:]] == [
        ["scan", "receipt.png", "image/png", "700004"],
        ["pages", "1.txt", "text/plain", "8"],
        ["pages", "2.txt", "text/plain", "8"],
    ]
    found = cli("runs", "file", uid, "-o", "json").json
    assert found["schema"] == "iogate.runs.file/v1"
    assert (found["uid"], found["path"]) == (uid, None)
    assert found["files"][0] == {
        "name": "scan",
        "filename": "receipt.png",
        "contentType": "image/png",
        "size": len(SCAN),
        "sha256": hashlib.sha256(SCAN).hexdigest(),
    }


def test_a_file_is_written_and_replaces_none_unasked(cli: Cli, uid: str) -> None:
    assert cli("runs", "file", uid, "scan").out == "wrote 700004 bytes to receipt.png\n"
    assert (cli.root / "receipt.png").read_bytes() == SCAN
    again = cli("runs", "file", uid, "scan", code=64).err
    assert "receipt.png exists" in again
    assert "replace it with --out receipt.png --force" in again
    blind = cli("runs", "file", uid, "scan", "--force", code=64).err
    assert blind == (
        "iogate: --force needs --out PATH: the sender of the file has chosen its filename, which may be that "
        f"of any file here\n  iogate runs file {uid} scan --out PATH --force\n"
    )
    (cli.root / "folder").mkdir()
    told = cli("runs", "file", uid, "scan", "--out", "folder", "--force", code=64).err
    assert told == "iogate: folder is a folder\n  give the path of a file with --out\n"
    cli("runs", "file", uid, "scan", "--out", "receipt.png", "--force")
    written = cli("runs", "file", uid, "2.txt", "--out", "second", "-o", "json").json
    assert (written["path"], len(written["files"])) == ("second", 1)
    assert (cli.root / "second").read_bytes() == SECOND
    assert "cannot be written" in cli("runs", "file", uid, "scan", "--out", "no/such/folder", code=64).err


def test_a_name_of_several_files_needs_a_digest(cli: Cli, uid: str) -> None:
    refused = cli("runs", "file", uid, "pages", code=64).err
    first, second = (hashlib.sha256(each).hexdigest()[:12] for each in (FIRST, SECOND))
    assert f'run {uid} has 2 files "pages"' in refused
    assert f"name one by its SHA-256: {first} (1.txt), {second} (2.txt)" in refused
    cli("runs", "file", uid, first)
    assert (cli.root / "1.txt").read_bytes() == FIRST


def test_stdout_gets_the_file_alone(cli: Cli, uid: str) -> None:
    assert cli("runs", "file", uid, "1.txt", "--out", "-").out == FIRST.decode()
    refused = cli("runs", "file", uid, "1.txt", "--out", "-", "-o", "json", code=64).err
    assert "cannot be combined with -o" in refused


def test_what_is_not_there_is_named(cli: Cli, uid: str, redis_url: str) -> None:
    missing = cli("runs", "file", uid, "photo", code=8).err
    assert f'run {uid} has no file "photo": it has "pages" or "scan"' in missing
    assert "need the NAME of a file" in cli("runs", "file", uid, "--force", code=64).err
    assert cli("runs", "file", "1", code=8).err.startswith("iogate: ")

    async def lose() -> None:
        store: Store = await open_store(redis_url, client_name="test")
        for key in await store.call("KEYS", keys.FILES + "*"):
            await store.call("DEL", key)
        await store.close()

    asyncio.run(lose())
    assert 'the file "scan" is no longer in the store' in cli("runs", "file", uid, "scan", code=8).err
    assert not (cli.root / "receipt.png").exists()


def test_a_form_has_the_input_and_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.png").write_bytes(b"\x89PNG\r\n")
    Path("b").write_bytes(b"")
    value = {"order": 7, "title": "ü", "tags": ["x", "y"], "more": {"a": [1]}, "none": None}
    body, kind = encode(value, ["scan=a.png", "scan=b;type=text/x-b", "other=a.png;type=image/x"])
    assert (body, kind) == encode(value, ["scan=a.png", "scan=b;type=text/x-b", "other=a.png;type=image/x"])
    boundary = kind.removeprefix("multipart/form-data; boundary=").encode()
    parts = [tuple(part.strip(b"\r\n").split(b"\r\n\r\n", 1)) for part in body.split(b"--" + boundary)[1:-1]]
    form = b'Content-Disposition: form-data; name="%s"'
    assert parts == [
        (form % b"order", b"7"),
        (form % b"title", "ü".encode()),
        (form % b"tags", b"x"),
        (form % b"tags", b"y"),
        (form % b"more" + b"\r\nContent-Type: application/json", b'{"a":[1]}'),
        (form % b"scan" + b'; filename="a.png"\r\nContent-Type: image/png', b"\x89PNG"),
        (form % b"scan" + b'; filename="b"\r\nContent-Type: text/x-b',),
        (form % b"other" + b'; filename="a.png"\r\nContent-Type: image/x', b"\x89PNG"),
    ]


@pytest.mark.parametrize(
    ("value", "option", "error", "message"),
    [
        ([1], "scan=a.png", Misused, "--file needs an input that is an object"),
        ({"scan": 1}, "scan=a.png", Misused, "--file scan: the input has a member of this name, too"),
        ({}, "a.png", Misused, "--file a.png: expected NAME=PATH, such as scan=receipt.png"),
        ({}, "=a.png", Misused, "expected NAME=PATH"),
        ({}, "scan=", Misused, "expected NAME=PATH"),
        ({}, "scan=none.png", NotFound, "--file scan=none.png: no such file"),
        ({}, "scan=.", Misused, "cannot be read: Is a directory"),
    ],
)
def test_an_invalid_file_option_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    value: object,
    option: str,
    error: type[Exception],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.png").write_bytes(b"x")
    with pytest.raises(error, match=message.replace(".", r"\.")):
        encode(value, [option])


def test_a_call_sends_its_files(live: Cli) -> None:
    live.write("hello.txt", "hello")
    call = ("api", "call", "shop/buy", "--input", '{"sku": "A-1"}', "--file", "scan=hello.txt")
    ran = live(*call, "--wait", "-o", "json")
    sent = ran.json["input"]
    assert (sent["sku"], sent["scan"]["filename"], sent["scan"]["content"]) == ("A-1", "hello.txt", "hello")
    (live.root / "hello.txt").unlink()
    refused = live("api", "call", "shop/buy", "--get", "--file", "scan=hello.txt", code=64).err
    assert "--file needs a POST" in refused
