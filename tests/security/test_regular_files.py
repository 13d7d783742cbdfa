"""Only regular files of a limited size are read, and reading waits for nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from iogate.security import regular_files


def test_a_text_is_read_up_to_the_limit_with_its_line_breaks_as_one_character(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes("ä\r\nb\rc\n".encode())
    assert regular_files.read_text(path, most=8) == "ä\nb\nc\n"
    with pytest.raises(ValueError, match=r"^is larger than 7 bytes$"):
        regular_files.read_text(path, most=7)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("pipe", "is not a regular file"),
        ("/dev/zero", "is not a regular file"),
        ("/dev/null", "is not a regular file"),
        (".", "cannot be read: Is a directory"),
        ("none", "does not exist"),
        ("binary", "is not UTF-8 text"),
        ("a\0b", "embedded null byte"),
    ],
)
def test_another_file_is_refused_with_a_reason(name: str, reason: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=f"^{reason}$"):
        regular_files.read_text(tmp_path / name, most=100)


def test_a_link_to_a_regular_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("text")
    (tmp_path / "link").symlink_to("a")
    assert regular_files.read_text(tmp_path / "link", most=100) == "text"
