"""Names of files without folders and hidden characters; references are data that only a file's object has."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iogate import file_references
from iogate.file_references import MAX_NAME_BYTES, FileMetadata, FileReference, safe_filename

SHA = "0" * 63 + "f"
FILE = FileMetadata(name="photo", filename="a.png", content_type="image/png", size=3, sha256=SHA)


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("a.png", "a.png"),
        ("../../etc/passwd", "passwd"),
        ("C:\\temp\\a b.png", "a b.png"),
        ("\u202egnp.exe", "gnp.exe"),
        ("a\x00b\n.txt", "ab.txt"),
        (".bashrc", "bashrc"),
        ("..", "file"),
        (". . . ..", "file"),
        ("\u00a0.\u2003.bashrc", "bashrc"),
        ("", "file"),
        ("größe €.png", "größe €.png"),
        ("a" * 300 + ".jpeg", "a" * 195 + ".jpeg"),
        ("x." + "y" * 300, "x." + "y" * 198),
    ],
)
def test_a_name_of_a_file_has_no_folder_and_nothing_hidden(sent: str, name: str) -> None:
    assert safe_filename(sent) == name


@given(st.text(max_size=300))
def test_every_name_is_one_component_of_a_path(sent: str) -> None:
    name = safe_filename(sent)
    assert name == PurePosixPath(name).name
    assert 0 < len(name.encode()) <= MAX_NAME_BYTES
    assert name.isprintable() or " " in name or not name.isascii()
    assert not name.startswith(".")
    assert safe_filename(name) == name


def test_the_object_of_a_file_is_a_reference_to_it() -> None:
    assert FILE.to_json() == {
        "name": "photo",
        "filename": "a.png",
        "content_type": "image/png",
        "size": 3,
        "sha256": SHA,
        "reference": f"iogate:file:{SHA}",
    }
    found = file_references.read(FILE.to_json())
    assert found == FileReference(sha256=SHA, filename="a.png", content_type="image/png")
    assert list(file_references.references({"a": [FILE.to_json(), 1], "b": "x"})) == [found]


@pytest.mark.parametrize(
    "value",
    [
        None,
        "x",
        f"iogate:file:{SHA}",
        [FILE.to_json()],
        {"reference": SHA},
        {"reference": f"iogate:file:{SHA}/../x"},
        {"reference": f"iogate:file:{SHA[:-1]}"},
        {"reference": ["iogate:file:"]},
    ],
)
def test_other_data_is_no_reference(value: object) -> None:
    assert file_references.read(value) is None


def test_a_workflow_may_hand_a_file_on_by_another_name_and_type() -> None:
    changed = {**FILE.to_json(), "filename": "/tmp/../b.txt", "content_type": "text/plain; charset=utf-8"}
    assert file_references.read(changed) == FileReference(
        sha256=SHA, filename="b.txt", content_type="text/plain; charset=utf-8"
    )
    broken = {**FILE.to_json(), "filename": 1, "content_type": "text/plain\r\nX: y"}
    assert file_references.read(broken) == FileReference(
        sha256=SHA, filename="file", content_type="application/octet-stream"
    )
