"""Meanings of changed rules for the files of calls."""

from __future__ import annotations

import msgspec
import pytest

from iogate.compiler.revision import Api, Files
from iogate.reconcile.meanings import apis
from iogate.reconcile.plan_facts import Facts
from tests.store.builders import api

KIB = 1024
PLAIN = api()
WHOLE = api(input_from="request")
FILES = api(files=Files(size=4 * KIB, total=8 * KIB, count=3))


def files(size: int = 4 * KIB, total: int = 8 * KIB, count: int = 3) -> Api:
    return msgspec.structs.replace(PLAIN, files=Files(size=size, total=total, count=count))


@pytest.mark.parametrize(
    ("before", "after", "meanings"),
    [
        (FILES, files(), []),
        (
            FILES,
            PLAIN,
            [("files.removed", "no longer stored: the input has their contents, within limits.body")],
        ),
        (FILES, files(size=KIB), [("limit.lowered", "input.files.size lowered (4KiB → 1KiB)")]),
        (
            FILES,
            files(total=9 * KIB, count=2),
            [
                ("limit.raised", "input.files.total raised (8KiB → 9KiB)"),
                ("limit.lowered", "input.files.count lowered (3 → 2)"),
            ],
        ),
        (
            WHOLE,
            msgspec.structs.replace(WHOLE, raw=True),
            [("input.raw", "input has the body as a file, in raw, whatever its type")],
        ),
        (
            msgspec.structs.replace(WHOLE, raw=True),
            WHOLE,
            [("input.no_raw", "calls of other types than JSON and forms get a 415")],
        ),
    ],
)
def test_changed_rules_for_files(before: Api, after: Api, meanings: list[tuple[str, str]]) -> None:
    found = list(apis.changed(before, after, Facts()))
    assert [each.kind for each in found] == [kind for kind, _ in meanings]
    assert all(text in each.text for each, (_, text) in zip(found, meanings, strict=True)), found


def test_an_api_without_files_keeps_its_digest() -> None:
    assert b"files" not in msgspec.json.encode(PLAIN)
    assert b"raw" not in msgspec.json.encode(PLAIN)
