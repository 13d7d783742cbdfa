"""Files of a run in its effects: paths for processes and functions, bodies and fields of HTTP calls."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from aiohttp import web

import iogate.functions
from iogate import file_references
from iogate.compiler.openapi import Body, Operation
from iogate.effects import Effects
from iogate.effects.effect_files import EffectFiles, with_paths
from iogate.engine.commands import CallFunction, CallHttp, CallOpenApi
from iogate.file_references import FileMetadata, FileReference
from iogate.functions import Registry
from iogate.settings import Settings
from tests.effects.conftest import Site, do, python, shell

CONTENT = b"\x00\xffphoto"
SHA = hashlib.sha256(CONTENT).hexdigest()
FILE = FileMetadata(
    name="photo", filename="my photo.png", content_type="image/png", size=len(CONTENT), sha256=SHA
).to_json()
REFERENCE = FileReference(sha256=SHA, filename="my photo.png", content_type="image/png")
GONE = {**FILE, "reference": "iogate:file:" + "0" * 64}
MISSING = FileReference(sha256="0" * 64, filename="a.png", content_type="image/png")


async def read(_: str, sha256: str) -> bytes:
    return {SHA: CONTENT}[sha256]


@pytest.fixture
async def effects() -> AsyncIterator[Effects]:
    def size(file: dict[str, Any], more: list[Any]) -> list[Any]:
        path = Path(file["path"])
        return [str(path), len(path.read_bytes()), file["filename"], more]

    registry = Registry({("size", "1.0.0"): iogate.functions.describe(size, "size", "1.0.0")})
    settings = Settings(allow_run=("script", "shell"))
    async with Effects(settings=settings, files=read, functions=registry) as found:
        yield found


async def test_a_process_gets_the_path_of_a_file_in_its_own_folder(effects: Effects) -> None:
    again = FileReference(sha256=SHA, filename="other.txt", content_type="text/plain")
    files = {each.placeholder: each for each in (REFERENCE, again)}
    run = shell(
        'printf "%s\\n" "$1" "$OTHER" "$HOME"; cmp "$1" "$OTHER" && wc -c < "$1"',
        arguments=(REFERENCE.placeholder,),
        environment={"OTHER": again.placeholder},
        files=files,
    )
    performed = await do(effects, run)
    assert performed.error is None
    first, other, home, size = performed.output.split("\n")[:4]
    assert (Path(first).name, Path(other).name, size.strip()) == ("my photo.png", "other.txt", "7")
    assert first.startswith(home + "/")
    assert not os.path.exists(home)  # noqa: ASYNC240, PTH110 - of an ended process


async def test_a_process_reads_a_file_from_standard_input(effects: Effects) -> None:
    run = python(
        "import sys; print(sys.stdin.buffer.read())",
        stdin=REFERENCE.placeholder,
        files={REFERENCE.placeholder: REFERENCE},
    )
    assert (await do(effects, run)).output == f"{CONTENT!r}\n"


async def test_a_file_that_the_run_lacks_faults_the_task(effects: Effects, site: Site) -> None:
    run = shell("cat", arguments=(MISSING.placeholder,), files={MISSING.placeholder: MISSING})
    call = CallHttp(method="POST", url=f"{site.url}/a", body=GONE, has_body=True)
    for effect in (
        run,
        call,
        CallFunction(name="size", version="1.0.0", arguments={"file": GONE, "more": []}),
    ):
        error = (await do(effects, effect)).error
        assert error is not None
        assert error.title == "File not found"
        assert "is not a file of this run, or of a run that started it" in str(error.detail)
    assert site.seen == []


async def test_a_function_gets_the_path_of_a_file_while_it_runs(effects: Effects) -> None:
    call = CallFunction(name="size", version="1.0.0", arguments={"file": FILE, "more": [1, {"a": FILE}]})
    performed = await do(effects, call)
    assert performed.error is None
    path, size, filename, more = performed.output
    assert (size, filename, more[0], more[1]["a"]["path"]) == (7, "my photo.png", 1, path)
    assert not os.path.exists(path)  # noqa: ASYNC240, PTH110 - of an ended call


async def test_the_search_for_files_visits_each_value_of_an_argument_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    visited: list[Any] = []
    real = file_references.read

    def counted(value: Any) -> FileReference | None:
        visited.append(value)
        return real(value)

    monkeypatch.setattr(file_references, "read", counted)
    depth, numbers = 60, [0] * 100
    value: Any = [*numbers, FILE]
    for _ in range(depth):
        value = [value]
    without: Any = [numbers]
    arguments = {"deep": value, "without": without}
    changed = await with_paths(arguments, EffectFiles(read, ""), lambda: tmp_path)
    assert len(visited) <= 2 * depth + 2 * len(numbers)  # there are no more values
    assert changed["without"] is without
    found = changed["deep"]
    for _ in range(depth):
        (found,) = found
    assert found[:-1] == numbers
    assert found[-1] == {**FILE, "path": found[-1]["path"]}
    assert Path(found[-1]["path"]).read_bytes() == CONTENT  # noqa: ASYNC240 - seven bytes
    assert arguments["deep"] is value
    assert "path" not in FILE


async def test_an_http_call_sends_a_file_as_its_body(effects: Effects, site: Site) -> None:
    site.respond("/a")
    call = CallHttp(method="PUT", url=f"{site.url}/a", body=FILE, has_body=True)
    assert (await do(effects, call)).error is None
    typed = CallHttp(
        method="PUT", url=f"{site.url}/a", headers={"Content-Type": "image/webp"}, body=FILE, has_body=True
    )
    assert (await do(effects, typed)).error is None
    assert [(seen.body, seen.headers["Content-Type"]) for seen in site.seen] == [
        (CONTENT, "image/png"),
        (CONTENT, "image/webp"),
    ]


async def test_an_http_call_sends_metadata_within_json(effects: Effects, site: Site) -> None:
    site.respond("/a")
    call = CallHttp(method="POST", url=f"{site.url}/a", body={"photo": FILE}, has_body=True)
    assert (await do(effects, call)).error is None
    assert json.loads(site.seen[0].body) == {"photo": FILE}


@pytest.mark.parametrize("through", ["http", "openapi"])
async def test_a_form_has_files_as_parts(effects: Effects, site: Site, through: str) -> None:
    parts: list[tuple[str, Any, Any, Any]] = []

    async def keep(request: web.Request) -> web.Response:
        for name, value in (await request.post()).items():
            if isinstance(value, web.FileField):
                parts.append((name, value.filename, value.content_type, value.file.read()))
            else:
                parts.append((name, None, None, value))
        return web.Response()

    site.handlers["/form"] = keep
    site.reads = False
    fields = {"title": "x", "photo": FILE, "more": [FILE, "text"]}
    call: CallHttp | CallOpenApi = CallHttp(
        method="POST",
        url=f"{site.url}/form",
        headers={"Content-Type": "multipart/form-data"},
        body=fields,
        has_body=True,
    )
    if through == "openapi":
        operation = Operation(
            id="upload",
            method="post",
            url=f"{site.url}/form",
            body=Body(media="multipart/form-data", required=True, fields={"photo": "image/png"}),
        )
        call = CallOpenApi(operation=operation, name="upload", parameters=fields)
    assert (await do(effects, call)).error is None
    file = ("my photo.png", "image/png", CONTENT)
    assert parts == [
        ("title", None, None, "x"),
        ("photo", *file),
        ("more", *file),
        ("more", None, None, "text"),
    ]


@pytest.mark.parametrize("media", ["application/json", "application/x-www-form-urlencoded"])
async def test_an_openapi_call_sends_the_object_of_a_file_in_a_structured_body(
    effects: Effects, site: Site, media: str
) -> None:
    site.respond("/photos")
    operation = Operation(id="add", method="post", url=f"{site.url}/photos", body=Body(media=media))
    call = CallOpenApi(operation=operation, name="add", parameters=FILE)
    assert (await do(effects, call)).error is None
    sent = site.seen[0].body.decode()
    if media == "application/json":
        assert json.loads(sent) == FILE
    else:
        assert parse_qsl(sent) == [(name, str(value)) for name, value in FILE.items()]
    assert site.seen[0].headers["Content-Type"] == media


async def test_an_effect_is_handed_a_bounded_number_of_bytes(
    effects: Effects, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("iogate.effects.effect_files.MOST_BYTES", 5 * len(CONTENT))
    again = [{**FILE, "filename": f"{number}.png"} for number in range(5)]
    form = {"Content-Type": "multipart/form-data"}
    url = site.respond("/a", text="{}")
    for count, error in ((4, None), (5, "Files too large")):
        arguments = {"file": FILE, "more": again[:count]}
        calls = (
            CallFunction(name="size", version="1.0.0", arguments=arguments),
            CallHttp(method="POST", url=url, headers=form, body=arguments, has_body=True),
        )
        for call in calls:
            performed = await do(effects, call)
            assert (performed.error and performed.error.title) == error
