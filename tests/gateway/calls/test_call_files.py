"""Calls with files: the run has metadata, the store the contents, and a refused call leaves nothing."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from urllib.parse import quote

import pytest

from iogate.compiler.revision import Coalesce, Files, Idempotency, Limits
from iogate.gateway.calls import call_files
from iogate.gateway.http.responses import Response
from iogate.store import keys
from iogate.store.connection.connection import StoreUnavailable
from iogate.store.connection.failures import Drained, StoreFull, Unanswered
from iogate.store.run_files import RunFiles
from iogate.store.runs.intake import Intake
from tests.gateway.driver import Reply, World, api

NAME = "docs/scan"
KIB = 1024
FILES = Files(size=64 * KIB, total=96 * KIB, count=3)
SMALL, LARGE = b"small \x00\xff", b"x" * 50 * KIB
FORM = {"content-type": "multipart/form-data; boundary=xx"}
SCHEMA = {
    "type": "object",
    "required": ["photo"],
    "properties": {
        "n": {"type": "integer"},
        "photo": {
            "type": "object",
            "properties": {"content_type": {"enum": ["image/png", "image/jpeg"]}, "size": {"minimum": 1}},
        },
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 3}},
    },
}


def field(name: str, value: str) -> bytes:
    return f'--xx\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()


def file(name: str, content: bytes, filename: str = "a.png", kind: str = "image/png") -> bytes:
    head = f'--xx\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n'
    return head.encode() + f"Content-Type: {kind}\r\n\r\n".encode() + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--xx--\r\n"


async def called(world: World, body: bytes, /, **headers: str) -> Reply:
    return await world.ask(f"/v1/api/{NAME}/async", "POST", FORM | headers, body)


async def input_of(world: World, uid: str) -> Any:
    run = await world.store.runs.show(uid)
    assert run is not None
    return json.loads(run.input)


async def stored(world: World) -> int:
    """Return the number of calls whose files are in the store."""
    return len(await world.store.call("KEYS", keys.FILES + "*"))


def metadata(name: str, content: bytes, filename: str = "a.png", kind: str = "image/png") -> dict[str, Any]:
    sha256 = hashlib.sha256(content).hexdigest()
    return {
        "name": name,
        "filename": filename,
        "content_type": kind,
        "size": len(content),
        "sha256": sha256,
        "reference": f"iogate:file:{sha256}",
    }


async def test_the_input_has_metadata_and_the_store_the_files(world: World) -> None:
    await world.publish(api(NAME, files=FILES, input_schema=SCHEMA))
    photo, scan = file("photo", LARGE), file("scan", SMALL, "../\u202eb.png", "")
    reply = await called(world, form(field("n", "7"), photo, scan, field("tags", "a"), field("tags", "b")))
    assert reply.status == 202
    found = await input_of(world, reply.uid)
    assert found == {
        "n": 7,
        "photo": metadata("photo", LARGE),
        "scan": metadata("scan", SMALL, "b.png", "application/octet-stream"),
        "tags": ["a", "b"],
    }
    for content in (SMALL, LARGE):
        assert await world.store.files.read(reply.uid, hashlib.sha256(content).hexdigest()) == content
    assert world.live.bodies.held == 0


async def test_calls_without_files_are_as_before(world: World) -> None:
    await world.publish(api(NAME, files=FILES), api("docs/inline"))
    sent = form(file("photo", b"text", "a.txt", "text/plain"))
    assert (await called(world, form(field("a", "b")))).status == 202
    assert (await called(world, b'{"a": 1}', **{"content-type": "application/json"})).status == 202
    inline = await world.ask("/v1/api/docs/inline/async", "POST", FORM, sent)
    assert (await input_of(world, inline.uid))["photo"]["content"] == "text"
    empty = await called(world, form(file("photo", b"", ""), field("a", "b")))
    assert await input_of(world, empty.uid) == {"a": "b"}
    assert await stored(world) == 0


async def test_the_schema_names_every_wrong_place_of_a_form(world: World) -> None:
    await world.publish(api(NAME, files=FILES, input_schema=SCHEMA))
    reply = await called(
        world, form(file("photo", b"", "a.gif", "image/gif"), field("n", "x"), field("tags", "long"))
    )
    assert (reply.status, reply.code) == (400, "requestError.invalidParams")
    for place in ("/n: ", "/photo/content_type: ", "/photo/size: ", "/tags/0: "):
        assert place in reply.message
    assert await stored(world) == 0


@pytest.mark.parametrize(
    ("parts", "status", "message"),
    [
        ([file("p", b"x" * (64 * KIB + 1))], 413, 'The file "p" is larger than 65536 bytes'),
        (
            [file("p", LARGE), file("q", b"y" * (46 * KIB + 100))],
            413,
            "The files are larger than 98304 bytes",
        ),
        ([file(str(n), b"x") for n in range(4)], 400, "The call has 4 files; at most 3 are allowed"),
        ([field("a", "x" * 2 * KIB)], 413, "The body is larger than 1024 bytes"),
        ([file("p", LARGE), field("a", "x" * 60 * KIB)], 413, "The body is larger than 99328 bytes"),
        (
            [file("p", b"x"), b"--xx\r\nContent-Disposition: form-data\r\n\r\nz\r\n"],
            400,
            "part 2 has no name",
        ),
        ([b'--xx\r\nContent-Disposition: form-data; name="a"\r\n\r\n\xff\r\n'], 400, 'field "a" of the'),
        ([file("p", LARGE)[:-200]], 400, "malformed: part 1 does not end with the boundary"),
    ],
)
async def test_a_body_beyond_its_limits_is_refused(
    world: World, parts: list[bytes], status: int, message: str
) -> None:
    await world.publish(api(NAME, files=FILES, limits=Limits(body=KIB)))
    body = b"".join(parts) if message.startswith("malformed") else form(*parts)
    reply = await called(world, body)
    assert reply.status == status
    assert message in reply.message
    assert await stored(world) == 0
    assert world.live.bodies.held == 0


async def test_a_large_body_without_files_keeps_its_own_limit(world: World) -> None:
    await world.publish(api(NAME, files=FILES, limits=Limits(body=KIB)))
    reply = await called(world, b'{"a": "' + b"x" * 2 * KIB + b'"}', **{"content-type": "application/json"})
    assert (reply.status, reply.message) == (413, "The body is larger than 1024 bytes")


async def test_a_repeated_call_is_one_run_with_one_copy_of_its_files(world: World) -> None:
    await world.publish(api(NAME, files=FILES))
    key = {"idempotency-key": "k1"}
    first = await called(world, form(file("photo", LARGE)), **key)
    again = await called(world, form(file("photo", LARGE)), **key)
    other = await called(world, form(file("photo", LARGE + b"y")), **key)
    assert (first.status, again.status, other.status) == (202, 202, 422)
    assert again.uid == first.uid
    assert await stored(world) == 1
    assert len(await world.store.files.read(first.uid, hashlib.sha256(LARGE).hexdigest())) == len(LARGE)


async def test_a_coalesced_call_replaces_the_files(world: World) -> None:
    await world.publish(api(NAME, files=FILES, coalesce=Coalesce(key="/sku", window_s=60.0, max_s=60.0)))
    first = await called(world, form(field("sku", "A"), file("photo", SMALL)))
    second = await called(world, form(field("sku", "A"), file("photo", LARGE)))
    assert (first.uid, second.status) == (second.uid, 202)
    assert (await input_of(world, first.uid))["photo"]["size"] == len(LARGE)
    assert await stored(world) == 1


@pytest.mark.parametrize("limits", [Limits(queued=1), Limits(rate=0.001, burst=1)])
async def test_a_refused_call_leaves_no_file(world: World, limits: Limits) -> None:
    await world.publish(api(NAME, files=FILES, limits=limits))
    replies = [await called(world, form(file("photo", bytes([n])))) for n in range(3)]
    assert [reply.status for reply in replies] == [202, 429, 429]
    assert await stored(world) == 1


async def test_a_store_that_fails_accepts_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.publish(api(NAME, files=FILES))

    async def fail(*_: Any) -> Any:
        raise StoreUnavailable("gone")

    monkeypatch.setattr(RunFiles, "store", fail)
    reply = await called(world, form(file("photo", SMALL)))
    assert (reply.status, reply.message) == (503, "The store is out of reach; nothing was accepted")


@pytest.mark.parametrize("error", [StoreFull(), Drained()])
async def test_a_store_that_refuses_a_call_keeps_no_file_of_it(
    world: World, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    await world.publish(api(NAME, files=FILES))
    stored_before: list[int] = []

    async def refuse(*_: Any) -> Any:
        stored_before.append(await stored(world))
        raise error

    monkeypatch.setattr(Intake, "accept", refuse)
    assert (await called(world, form(file("photo", SMALL)))).status == 503
    assert (stored_before, await stored(world)) == ([1], 0)


async def test_files_of_a_call_without_a_verdict_expire(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.publish(api(NAME, files=FILES))

    async def fail(*_: Any) -> Any:
        raise Unanswered("late")

    monkeypatch.setattr(Intake, "accept", fail)
    assert (await called(world, form(file("photo", SMALL)))).status == 503
    (key,) = await world.store.call("KEYS", keys.FILES + "*")
    assert 0 < await world.store.call("PTTL", key) <= keys.UPLOAD_MS


async def test_lost_files_refuse_the_call(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.publish(api(NAME, files=FILES))
    store = call_files.store

    async def lose(*given: Any) -> Any:
        found = await store(*given)
        assert found is not None
        assert not isinstance(found, Response)
        await world.store.files.drop(found)
        return found

    monkeypatch.setattr(call_files, "store", lose)
    reply = await called(world, form(file("photo", SMALL)))
    assert reply.status == 503
    assert reply.message.startswith("The files of the call were lost before it was accepted")


async def test_the_raw_body_is_a_file_whatever_its_type(world: World) -> None:
    await world.publish(
        api(NAME, input_from="request", raw=True, idempotency=Idempotency(), limits=Limits(body=100 * KIB))
    )
    json_ = {"content-type": "application/json; charset=utf-8"}
    first = await called(world, b'{"b": 1,  "a": "\\u00e9"}', **json_)
    found = await input_of(world, first.uid)
    assert found["body"] == {"b": 1, "a": "é"}
    assert found["raw"] == metadata(
        "body", b'{"b": 1,  "a": "\\u00e9"}', "", "application/json; charset=utf-8"
    )
    form_ = "multipart/form-data; boundary=aB"
    sent = {
        "application/xml": b"<a/>",
        "image/png": LARGE,
        "text/plain": b"",
        "text/csv; charset=latin1": b"1,2",
    }
    for kind, content in (*sent.items(), (form_, b"--aB--\r\n")):
        reply = await called(world, content, **{"content-type": kind})
        found = await input_of(world, reply.uid)
        assert found["body"] == (None if content and kind != form_ else {})
        assert found["raw"] == metadata("body", content, "", kind)
        assert await world.store.files.read(reply.uid, found["raw"]["sha256"]) == content
    long = "text/plain; a=" + 300 * "b"
    reply = await called(world, b"c", **{"content-type": long})
    assert (await input_of(world, reply.uid))["raw"]["content_type"] == "text/plain"
    assert (await called(world, b"{", **json_)).status == 400
    got = await world.ask(f"/v1/api/{NAME}/async", "GET")
    assert "raw" not in await input_of(world, got.uid)


BINARY = {
    "type": "object",
    "properties": {
        "scan": {
            "type": "object",
            "format": "binary",
            "properties": {"content_type": {"const": "image/png"}},
        },
        "more": {"type": "array", "items": {"format": "binary"}},
        "notes": {"type": "array", "items": {"type": "object"}},
    },
}


def made_up(content: bytes, **members: str) -> str:
    return json.dumps(metadata("scan", content) | members)


@pytest.mark.parametrize("padding", [0, 64 * KIB])
@pytest.mark.parametrize(
    "parts",
    [
        (field("scan", made_up(SMALL)), file("other", SMALL, "a.html", "text/html")),
        (file("scan", SMALL), *(field("notes", made_up(SMALL, filename=f"{n}")) for n in range(3))),
        (file("scan", SMALL), field("notes", '{"deep": [[' + made_up(LARGE) + "]]}")),
    ],
)
async def test_a_caller_cannot_make_up_the_object_of_a_file(
    world: World, parts: tuple[bytes, ...], padding: int
) -> None:
    await world.publish(api(NAME, files=FILES, input_schema=BINARY))
    reply = await called(world, form(*parts, field("padding", "x" * padding)))
    assert (reply.status, reply.code) == (400, "requestError.invalidParams")
    assert "only the gateway makes" in reply.message
    assert await stored(world) == 0


async def test_neither_json_nor_a_query_can_name_a_file(world: World) -> None:
    await world.publish(api(NAME, files=FILES, input_schema=BINARY, verbs=("POST", "GET")))
    escaped = made_up(SMALL).replace("iogate:", "\\u0069ogate:")
    body = f'{{"scan": {escaped}}}'.encode()
    reply = await called(world, body, **{"content-type": "application/json"})
    assert reply.status == 400
    assert "only the gateway makes" in reply.message
    asked = await world.ask(f"/v1/api/{NAME}/async?scan={quote(made_up(SMALL))}", "GET", {}, b"")
    assert asked.status == 400


@pytest.mark.parametrize("padding", [0, 64 * KIB])
@pytest.mark.parametrize(
    ("place", "sent"),
    [
        ("scan", {"filename": "a.png", "content_type": "image/png", "path": "/etc/passwd"}),
        ("scan", {"reference": "/etc/passwd", "content_type": "image/png", "path": "/etc/passwd"}),
        ("more/0", "/etc/passwd"),
        ("more/0", {"path": "/etc/passwd"}),
    ],
)
async def test_a_binary_value_is_a_file_of_the_call(
    world: World, place: str, sent: object, padding: int
) -> None:
    await world.publish(api(NAME, files=FILES, input_schema=BINARY))
    name, _, listed = place.partition("/")
    body = json.dumps({name: [sent] if listed else sent, "padding": "x" * padding}).encode()
    reply = await called(world, body, **{"content-type": "application/json"})
    assert (reply.status, reply.code) == (400, "requestError.invalidParams")
    assert f"/{place}" in reply.message
    assert f"{is_not_a_file(name)}" in reply.message
    assert (await called(world, form(file("scan", SMALL), file("more", LARGE)))).status == 202


def is_not_a_file(name: str) -> str:
    return f'is not a file; send it as the part "{name}" of a multipart/form-data body, with a filename'


REQUIRED = {
    "type": "object",
    "required": ["scan", "order", "pages"],
    "$defs": {"scan": BINARY["properties"]["scan"]},  # type: ignore[index]  # a plain mapping
    "properties": {
        "scan": {"$ref": "#/$defs/scan"},
        "pages": {"type": "array", "items": {"type": "object", "format": "binary"}},
        "order": {"type": "integer"},
    },
}


async def test_the_message_about_a_missing_file_says_what_to_send(world: World) -> None:
    await world.publish(api(NAME, files=FILES, input_schema=REQUIRED))
    reply = await called(world, form(field("order", "7"), field("pages", "one")))
    assert reply.message == (
        'The input is invalid at its root: the file "scan" is missing; send it as the part "scan" of a '
        f"multipart/form-data body, with a filename; at /pages/0: {is_not_a_file('pages')}"
    )
    reply = await called(world, b"{}", **{"content-type": "application/json"})
    assert 'its root: the file "pages" is missing; send it as the part "pages"' in reply.message
    assert 'its root: "order" is a required property' in reply.message
    wrong = form(field("order", "7"), file("scan", SMALL, "a", "text/plain"), file("pages", SMALL))
    assert (await called(world, wrong)).message == (
        'The input is invalid at /scan/content_type: "text/plain" is not "image/png"'
    )


async def test_a_text_may_look_like_the_object_of_a_file(world: World) -> None:
    await world.publish(api(NAME, files=FILES))
    text = made_up(SMALL)
    reply = await called(world, form(file("scan", SMALL, text.replace('"', "%22")), field("text", text)))
    assert reply.status == 202
    assert (await input_of(world, reply.uid))["text"] == text
