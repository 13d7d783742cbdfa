"""Atomic replacement of files."""

from __future__ import annotations

from pathlib import Path

import pytest

from iogate.atomic_files import write_atomically


@pytest.mark.parametrize("sync", [False, True])
def test_a_file_is_replaced_as_a_whole(tmp_path: Path, *, sync: bool) -> None:
    path = tmp_path / "a"
    write_atomically(path, "old", sync=sync)
    with path.open(encoding="utf-8") as reader:
        write_atomically(path, "neu ä", sync=sync)
        assert reader.read() == "old"
    assert path.read_bytes() == "neu ä".encode()
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_get_its_name_is_removed(tmp_path: Path) -> None:
    (tmp_path / "folder" / "full").mkdir(parents=True)
    with pytest.raises(OSError, match="folder"):
        write_atomically(tmp_path / "folder", b"x")
    assert [each.name for each in tmp_path.iterdir()] == ["folder"]
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "none" / "a", b"x")
