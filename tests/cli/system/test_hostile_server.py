"""A server that lies: its words read no secret of this machine, write nowhere else and crash no command."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.cli.place import Place
from tests.cli.system.conftest import WHY, Machines, edit, refused
from tests.cli.system.proxy import Exchange, forwarding

FILE = b"a page"
BECAUSE = ("--reason", "a test")
CALL = ("api", "call", "shop/guarded", "--input", '{"sku": "A-1"}')
Lie = Callable[[str, Any], Any]


@contextmanager
def lying(place: Place, lie: Lie, calls: list[Mapping[str, str]] | None = None) -> Iterator[str]:
    """Forward requests to the gateway, and change the results by `lie`, given path and result; yield the URL.

    `calls` gets the headers of each call of an API.
    """

    def change(found: Exchange) -> Exchange:
        if calls is not None and found.path.startswith("/v1/api/"):
            calls.append(found.asked)
        result = json.loads(found.content)["response"]
        changed = lie(found.path, result)
        if changed is result:
            return found
        content = changed if isinstance(changed, bytes) else json.dumps({"response": changed}).encode()
        return replace(found, status=200, content=content)

    with forwarding(place, change) as url:
        yield url


@pytest.mark.parametrize("auth", [{"token": {"env": "PRIVATE"}}, {"token": {"file": "private"}}])
def test_a_server_does_not_choose_the_secrets_that_are_sent(two: Machines, auth: Any) -> None:
    (two.elsewhere / "private").write_text("a key of this machine")
    calls: list[Mapping[str, str]] = []

    def with_source(source: str) -> Lie:
        def lie(path: str, found: Any) -> Any:
            if not path.startswith("/v1/apis/"):
                return found
            return {**found, "source": source, "document": {**found["document"], "auth": auth}}

        return lie

    elsewhere = two.elsewhere / "other.yaml"
    elsewhere.write_text(json.dumps({"module": "shop", "auth": auth, "methods": {"guarded": {}}}))
    for source in ("", str(elsewhere), "apis.d/../other.yaml"):
        with lying(two.shop, with_source(source), calls) as url:
            ran = two.there(*CALL, IOGATE_SERVER=url, PRIVATE="a value of this machine", code=64)
        assert refused(ran) == (
            "iogate: shop/guarded: no document in this folder names its credentials, and a server does not "
            "choose which secrets of this machine are sent; pass the secret with --header token:… (or user:… "
            "and password:…), or run the command in a clone of the project"
        )
    assert calls == []


def test_a_server_does_not_choose_the_api_whose_credentials_are_sent(two: Machines) -> None:
    calls: list[Mapping[str, str]] = []

    def lie(path: str, found: Any) -> Any:
        return {**found, "api": "shop/guarded"} if path.startswith("/v1/apis/") else found

    with lying(two.shop, lie, calls) as url:
        ran = two.there("api", "call", "shop/buy", IOGATE_SERVER=url, SHOP_TOKEN="open sesame", code=6)
    assert f'{url} shows "shop/guarded" in place of shop/buy [IOG820]' in ran.err
    assert calls == []


def test_a_server_does_not_choose_the_folder_of_a_file(two: Machines) -> None:
    def named(filename: str) -> Lie:
        file = {"name": "page", "contentType": "text/plain", "size": 6, "filename": filename}

        def lie(path: str, found: Any) -> Any:
            if path.endswith("/files"):
                return {"uid": "7", "files": [{**file, "sha256": hashlib.sha256(FILE).hexdigest()}]}
            return FILE if "/files/" in path else found

        return lie

    for filename, written in (
        ("../page.txt", "page.txt"),
        (str(two.shop.root / "apis.d/shop.yaml"), "shop.yaml"),
        (".profile", "profile"),
    ):
        (two.elsewhere / written).unlink(missing_ok=True)
        with lying(two.shop, named(filename)) as url:
            ran = two.there("runs", "file", "7", "page", IOGATE_SERVER=url)
            again = two.there("runs", "file", "7", "page", IOGATE_SERVER=url, code=64)
            assert refused(again) == (
                f"iogate: {written} exists; choose another name with --out, or replace it with "
                f"--out {written} --force"
            )
        assert ran.out == f"wrote 6 bytes to {written}\n"
        assert (two.elsewhere / written).read_bytes() == FILE
    assert not (two.elsewhere.parent / "page.txt").exists()
    assert (two.shop.root / "apis.d/shop.yaml").read_bytes() != FILE


def without(path: str, *members: str) -> Lie:
    """Return a lie that removes members of the result at a path."""

    def lie(asked: str, found: Any) -> Any:
        if asked != path or "error" in found:
            return found
        return {name: each for name, each in found.items() if name not in members}

    return lie


def unknown_meaning(path: str, found: Any) -> Any:
    if path != "/v1/plan":
        return found
    (change,) = found["changes"]
    meanings = [{**each, "kind": "of a later release"} for each in change["meanings"]]
    return {**found, "changes": [{**change, "meanings": meanings}]}


def preview_only(path: str, found: Any) -> Any:
    return {"count": 1, "complete": True, "sample": []} if path == "/v1/prune" else found


@pytest.mark.parametrize(
    ("command", "lie", "what"),
    [
        (("plan",), without("/v1/plan", "inputSchemas"), "a plan"),
        (("plan",), without("/v1/plan", "files", "deletions"), "a plan"),
        (("plan",), unknown_meaning, "a plan"),
        (("drift",), without("/v1/plan", "changes"), "a plan"),
        (("rollback", "1", "--yes", *WHY), without("/v1/plan", "base"), "a plan"),
        (("rollback", "--yes", *WHY), without("/v1/revisions", "live"), "revisions"),
        (("export", "--to", "files"), without("/v1/revisions/live/bundle", "bundle"), "a revision"),
        (("diff", "live", "files"), without("/v1/revisions/live/bundle", "commit"), "a revision"),
        (
            ("runs", "prune", "--before", "0", *BECAUSE),
            without("/v1/prune", "count"),
            "a preview of a deletion",
        ),
        (
            ("runs", "prune", "--before", "0", "--yes", *BECAUSE),
            preview_only,
            "a deletion",
        ),
        (CALL, without("/v1/apis/shop/guarded", "document"), "an API"),
        (("debug", "shop/buy", "--reason", "x"), without("/v1/apis/shop/buy", "document"), "an API"),
    ],
)
def test_a_result_of_another_release_is_named(
    two: Machines, command: tuple[str, ...], lie: Lie, what: str
) -> None:
    edit(two, "verbs: [GET, POST]", "verbs: [POST]")
    with lying(two.shop, lie) as url:
        ran = two.there(*command, IOGATE_SERVER=url, code=6)
    assert refused(ran) == (
        f"iogate: {url} has sent {what} of a form that this release cannot read [IOG820]; "
        "run the command with the release of the gateway; look at the proxy before it"
    )
    assert not (two.elsewhere / "files").exists()


@pytest.mark.parametrize(
    ("command", "path", "member"),
    [
        (("status",), "/v1/status", "processes"),
        (("api", "list"), "/v1/apis", "apis"),
        (("show",), "/v1/revisions/live", "apis"),
        (("diff", "live", "1"), "/v1/revisions/live/diff/1", "changes"),
        (("runs", "list"), "/v1/runs", "nextCursor"),
    ],
)
def test_a_result_without_a_member_is_no_traceback(
    two: Machines, command: tuple[str, ...], path: str, member: str
) -> None:
    with lying(two.shop, without(path, member)) as url:
        ran = two.there(*command, IOGATE_SERVER=url, code=6)
    assert re.fullmatch(
        f"iogate: {url} has sent a result of a form that this release cannot read \\[IOG820\\]; run the "
        "command with the release of the gateway; look at the proxy before it; if both are of one release, "
        "report this bug of iogate: KeyError in [a-z_]+.py:[0-9]+",
        refused(ran),
    )
    assert "Traceback" not in ran.err


def test_runs_that_were_deleted_before_an_error_are_counted(two: Machines) -> None:
    answers = iter(
        [
            {"count": 9, "complete": True, "sample": []},
            {"pruned": 5, "complete": False},
            b"no JSON",
        ]
    )
    with lying(two.shop, lambda path, found: next(answers) if path == "/v1/prune" else found) as url:
        ran = two.there("runs", "prune", "--before", "0", "--yes", *BECAUSE, IOGATE_SERVER=url, code=6)
    assert f"iogate: {url} responded with 200, and not as a gateway of iogate does" in ran.err
    assert "; at least 5 runs deleted before [IOG820]\n" in ran.err


def test_a_publication_with_an_unreadable_result_may_have_been_made(two: Machines) -> None:
    live = two.here("show", "-o", "json").json["revision"]
    edit(two, "verbs: [GET, POST]", "verbs: [POST]")
    with lying(two.shop, without("/v1/revisions", "revision")) as url:
        ran = two.there("apply", "--yes", *WHY, IOGATE_SERVER=url, code=6)
    assert refused(ran) == (
        f"iogate: {url} has sent a result of a form that this release cannot read: it is not known whether a "
        "revision was published [IOG820]; repeat the command: it publishes only what is not live yet"
    )
    assert f"revision {live + 1}: no changes" in two.there("apply", "--yes", *WHY).out


@pytest.mark.parametrize("command", [("plan",), ("drift",), ("apply", "--yes", *WHY)])
def test_no_word_of_a_server_controls_the_terminal(two: Machines, command: tuple[str, ...]) -> None:
    def lie(path: str, found: Any) -> Any:
        return json.loads(json.dumps(found).replace('"text": "', '"text": "\\u001b[2J\\u009b\\u202e'))

    edit(two, "verbs: [GET, POST]", "verbs: [POST]")
    with lying(two.shop, lie) as url:
        ran = two.there(*command, IOGATE_SERVER=url, code=None)
    assert "\\u001b[2J\\u009b\\u202e" in ran.out
    assert not {"\x1b", "\x9b", "\u202e"} & {*ran.out, *ran.err}


def test_an_exported_file_stays_in_the_folder(two: Machines, tmp_path: Path) -> None:
    """The folder to write to has a link that a file of the revision would follow."""
    outside = tmp_path / "outside"
    outside.mkdir()
    for link in ("apis.d", "apis.d/shop.yaml"):
        folder = two.elsewhere / f"exported-{len(link)}"
        (folder / link).parent.mkdir(parents=True)
        (folder / link).symlink_to(outside if link == "apis.d" else outside / "shop.yaml")
        ran = two.there("export", "--to", str(folder), "--force", code=64)
        assert f"--to {folder}: a link leads apis.d/shop.yaml out of the folder" in ran.err
    assert not [*outside.iterdir()]
