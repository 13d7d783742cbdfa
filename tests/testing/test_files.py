"""Debug cases with files: processes, functions and HTTP calls get them as in a worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from iogate.documents.api import DebugCase
from iogate.testing import Harness, replay

API = """
module: t
auth: none
timeout: 1m
methods:
  scan:
    workflow: t/scan
    input:
      files: {size: 1KiB, count: 2}
      schema: {type: object, required: [photo], properties: {photo: {type: object}}}
  form: {workflow: t/form, input: {files: {size: 1KiB, count: 2}}}
  raw: {workflow: t/raw, input: {from: request, raw: true}}
"""
SCAN = """
document: {dsl: 1.0.3, namespace: t, name: scan, version: 1.0.0}
do:
  - size:
      run:
        shell:
          command: cat "$1" | tr a-z A-Z
          arguments: ['${ .photo }']
      output: {as: '{shell: ., photo: $workflow.input.photo}'}
  - child:
      run: {workflow: {namespace: t, name: inner, version: 1.0.0, input: '${ . }'}}
"""
INNER = """
document: {dsl: 1.0.3, namespace: t, name: inner, version: 1.0.0}
do:
  - read:
      run:
        script:
          language: python
          stdin: ${ .photo }
          code: 'import sys; print(sys.stdin.read()[::-1])'
      output: {as: '{shell: $input.shell, script: ., name: $input.photo.filename, size: $input.photo.size}'}
"""
RAW = """
document: {dsl: 1.0.3, namespace: t, name: raw, version: 1.0.0}
do:
  - send:
      call: http
      with: {method: put, endpoint: https://api.example.com/x, body: '${ .raw }'}
"""
FORM = """
document: {dsl: 1.0.3, namespace: t, name: form, version: 1.0.0}
do:
  - send:
      call: http
      with:
        method: post
        endpoint: https://api.example.com/x
        headers: {Content-Type: multipart/form-data}
        body: {photo: '${ .photo }'}
"""


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    documents = {
        "apis.d/t.yaml": API,
        "workflows.d/scan.yaml": SCAN,
        "workflows.d/inner.yaml": INNER,
        "workflows.d/raw.yaml": RAW,
        "workflows.d/form.yaml": FORM,
        "note.txt": "hello",
        "large.txt": "x" * 2000,
        "order.xml": "<order/>",
    }
    for name, text in documents.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return Harness.load(tmp_path)


async def failures(harness: Harness, name: str, **case: Any) -> tuple[str, ...]:
    return (await replay(harness, f"t/{name}", DebugCase.model_validate({"name": "case", **case}))).failures


async def test_a_case_hands_its_files_to_the_run_and_its_children(harness: Harness) -> None:
    expect = {"output": {"shell": "HELLO", "script": "olleh\n", "name": "note.txt", "size": 5}}
    assert await failures(harness, "scan", multipart={"photo": {"file": "note.txt"}}, expect=expect) == ()


async def test_a_case_is_refused_as_by_the_gateway(harness: Harness) -> None:
    large = {"photo": {"file": "large.txt"}}
    assert await failures(harness, "scan", multipart=large, expect={"http": 413}) == ()
    text = await failures(harness, "scan", multipart={"photo": "text"})
    assert text == (
        'http: the request was refused with 400: The input is invalid at /photo: "text" is not of '
        'type "object"',
    )


async def test_a_case_sends_several_files_of_one_name(harness: Harness) -> None:
    both = {"photo": [{"file": "note.txt"}, {"file": "order.xml"}]}
    mocks = {"/do/0/send": {"output": 1, "expectRequest": {"method": "POST"}}}
    assert await failures(harness, "form", multipart=both, mocks=mocks, expect={"output": 1}) == ()
    three = {"photo": [*both["photo"], {"file": "note.txt"}]}
    assert await failures(harness, "form", multipart=three, expect={"http": 400}) == ()
    case = DebugCase.model_validate({"name": "case", "multipart": {"n": "1", **both}})
    assert case.files == (
        (("multipart", "photo", 0, "file"), "note.txt"),
        (("multipart", "photo", 1, "file"), "order.xml"),
    )


async def test_a_mock_sees_the_metadata_of_a_file(harness: Harness) -> None:
    mocks = {"/do/0/send": {"output": 1, "expectRequest": {"method": "PUT"}}}
    assert await failures(harness, "raw", body_file="order.xml", mocks=mocks, expect={"output": 1}) == ()


async def test_a_mock_sees_the_content_type_of_a_file_and_not_the_boundary(harness: Harness) -> None:
    async def sent(name: str, expected: str, **case: Any) -> tuple[str, ...]:
        request = {"headers": {"Content-Type": expected}}
        mocks = {"/do/0/send": {"output": 1, "expectRequest": request}}
        return await failures(harness, name, mocks=mocks, expect={"output": 1}, **case)

    assert await sent("raw", "application/xml", body_file="order.xml") == ()
    (wrong,) = await sent("raw", "application/json", body_file="order.xml")
    assert wrong == (
        '/do/0/send: request.headers.Content-Type: expected "application/json", got "application/xml"'
    )
    form = {"multipart": {"photo": {"file": "note.txt"}}}
    assert await sent("form", "multipart/form-data", **form) == ()
    assert len(await sent("form", "multipart/form-data; boundary=x", **form)) == 1
