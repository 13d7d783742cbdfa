"""Calls, their files and debug cases from a machine that reaches the gateway only."""

from __future__ import annotations

import hashlib
import json
import urllib.error
import urllib.request

import pytest

from tests.cli.conftest import token
from tests.cli.system.conftest import FORMATS, Machines

RECEIPTS = """\
module: receipts
auth: none
timeout: 1m
methods:
  add:
    workflow: shop/buy
    enabled: true
    input: {files: {size: 1MiB, count: 3}}
"""
SCAN, FIRST, SECOND = b"\x89PNG" + bytes(300_000), b"page one", b"page two"


@pytest.fixture
def uid(two: Machines) -> str:
    """A run whose call has sent three files."""
    (two.shop.root / "apis.d/receipts.yaml").write_text(RECEIPTS)
    two.here("apply", "--yes")
    two.here("enable", "receipts/add")
    options = []
    for name, file, content in (("scan", "a.png", SCAN), ("page", "1.txt", FIRST), ("page", "2.txt", SECOND)):
        (two.shop.root / file).write_bytes(content)
        options += ["--file", f"{name}={file}"]
    return two.here("api", "call", "receipts/add", "--input", '{"sku": "A-1"}', *options).out.strip()


@pytest.mark.parametrize("output", FORMATS)
def test_the_files_of_a_run_are_listed_and_read_alike(
    two: Machines, uid: str, output: tuple[str, ...]
) -> None:
    assert "a.png" in two.same("runs", "file", uid, *output).out
    two.same("runs", "file", uid, "scan", "--out", "copy.png", "--force", *output)
    for folder in (two.shop.root, two.elsewhere):
        assert (folder / "copy.png").read_bytes() == SCAN
    assert two.there("runs", "file", uid, "2.txt", "--out", "-").out == SECOND.decode()
    for wrong, code in (((uid, "photo"), 8), ((uid, "page"), 64), (("7",), 8), (("x",), 8)):
        two.same("runs", "file", *wrong, *output, code=code)
    two.there("runs", "file", uid, role="read")
    ran = two.there("runs", "file", uid, "scan", role="read", code=4)
    assert "This takes the role operate; operator reader has the role read [IOG818]" in ran.err


def test_a_file_is_never_a_page_and_only_of_its_run(two: Machines, uid: str) -> None:
    digest = hashlib.sha256(SCAN).hexdigest()
    other = two.shop.buy()
    headers = {"Authorization": f"Bearer {token('operate')}"}
    request = urllib.request.Request(f"{two.shop.url}/v1/runs/{uid}/files/{digest}", headers=headers)
    with urllib.request.urlopen(request, timeout=5) as response:
        assert response.read() == SCAN
        assert response.headers["Content-Type"] == "application/octet-stream"
        assert response.headers["Content-Disposition"] == "attachment"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Cache-Control"] == "no-store"
    request = urllib.request.Request(f"{two.shop.url}/v1/runs/{other}/files/{digest}", headers=headers)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=5)
    with caught.value as error:
        assert error.code == 404
        assert json.load(error)["response"]["error"]["message"] == (
            f"run {other} has no file with this SHA-256"
        )
