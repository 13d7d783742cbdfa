"""`iogate fmt`: files, folders and stdin in their canonical form."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from iogate.documents.formatter import file_formatter
from iogate.errors import Refused
from tests.cli.conftest import Cli

MESSY = """\
methods:
    a: {workflow: a/b,   timeout: 5m}
module: m   # the module
auth: {token: "hunter2-hunter2"}
"""
CLEAN = """\
module: m   # the module
auth: {token: hunter2-hunter2}
methods:
  a: {workflow: a/b, timeout: 5m}
"""


def test_files_are_written_and_keep_their_mode(cli: Cli) -> None:
    path = cli.write("apis.d/m.yaml", MESSY)
    path.chmod(0o640)
    cli.write("workflows.d/w.yaml", "document: {}\ndo: []\n")
    ran = cli("fmt")
    assert (ran.out, ran.err) == ("formatted apis.d/m.yaml\n", "2 files: formatted 1\n")
    assert path.read_text() == CLEAN
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(path.parent.iterdir()) == [path]
    before = path.stat()
    assert cli("fmt", "-o", "json").json == {
        "schema": "iogate.fmt/v1",
        "files": 2,
        "changed": [],
        "written": True,
        "problems": [],
        "refused": [],
    }
    assert path.stat() == before


def test_check_writes_nothing_and_exits_with_2(cli: Cli) -> None:
    path = cli.write("apis.d/m.yaml", MESSY)
    ran = cli("fmt", "--check", code=2)
    assert (ran.out, ran.err) == ("would format apis.d/m.yaml\n", "1 file: would format 1\n")
    assert path.read_text() == MESSY
    assert cli("fmt", "--check", "-o", "json", code=2).json["changed"] == ["apis.d/m.yaml"]
    path.write_text(CLEAN)
    assert cli("fmt", "--check", "apis.d/m.yaml").out == ""


def test_diff_prints_differences_without_secrets(cli: Cli) -> None:
    path = cli.write("apis.d/m.yaml", MESSY)
    ran = cli("fmt", "--diff", code=2)
    assert ran.out == (
        "--- apis.d/m.yaml\n+++ apis.d/m.yaml\n@@ -1,4 +1,4 @@\n"
        "+module: m   # the module\n+auth: {token: ***************}\n methods:\n"
        "-    a: {workflow: a/b,   timeout: 5m}\n-module: m   # the module\n"
        "-auth: {token: *****************}\n+  a: {workflow: a/b, timeout: 5m}\n"
    )
    assert path.read_text() == MESSY
    path.write_bytes(CLEAN.rstrip("\n").encode())
    assert cli("fmt", "--diff", code=2).out.endswith(
        "-  a: {workflow: a/b, timeout: 5m}\n\\ No newline at end of file\n"
        "+  a: {workflow: a/b, timeout: 5m}\n"
    )


def test_invalid_files_stay_and_the_others_are_formatted(cli: Cli) -> None:
    path = cli.write("apis.d/m.yaml", MESSY)
    cli.write("apis.d/broken.yaml", "module: [\n")
    cli.write("apis.d/two.yaml", "module: m\n---\nmodule: n\n")
    cli.write("apis.d/other.yaml", "services: {}\n")
    ran = cli("fmt", code=3)
    assert ran.out == "formatted apis.d/m.yaml\n"
    assert path.read_text() == CLEAN
    assert [line for line in ran.err.splitlines() if "error" in line] == [
        'apis.d/broken.yaml:1:9: error IOG120: this "[" is never closed',
        'apis.d/other.yaml:1:1: error IOG135: neither an API nor a workflow: it starts with "services"',
        "apis.d/two.yaml:2:1: error IOG128: a second document in the file",
        "  correct the errors, and format again",
    ]
    assert "iogate: 3 files cannot be formatted\n" in ran.err
    assert (cli.root / "apis.d/broken.yaml").read_text() == "module: [\n"
    assert cli("fmt", "--check", code=3).out == ""


def test_settings_keep_the_order_of_their_keys(cli: Cli) -> None:
    path = cli.write("iogate.staging.yaml", "port:   8080\nallow_run:\n- script\n")
    cli("fmt", "iogate.staging.yaml")
    assert path.read_text() == "port: 8080\nallow_run:\n  - script\n"


def test_a_difference_of_settings_shows_no_value_of_a_sensitive_one(cli: Cli) -> None:
    cli.write("iogate.yaml", "port:   8080\nlink_key: 'hunter2-hunter2'\n")
    shown = cli("fmt", "--diff", "iogate.yaml", code=2).out
    assert "-port:   8080\n" in shown
    assert "+port: 8080\n" in shown
    assert f"+link_key: {'*' * 15}\n" in shown
    assert "hunter2" not in shown


def test_a_link_stays_a_link(cli: Cli) -> None:
    path = cli.write("shared/m.yaml", MESSY)
    link = cli.root / "apis.d" / "m.yaml"
    link.parent.mkdir()
    link.symlink_to(path)
    assert cli("fmt").out == "formatted apis.d/m.yaml\n"
    assert link.is_symlink()
    assert path.read_text() == CLEAN


def test_a_file_that_cannot_be_written_is_named(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    path = cli.write("apis.d/m.yaml", MESSY)
    cli.write("apis.d/n.yaml", MESSY)

    def full(path: Path, *_: object, **__: object) -> None:
        if path.name == "m.yaml":
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("iogate.atomic_files.write_atomically", full)
    ran = cli("fmt", code=4)
    assert ran.out == "formatted apis.d/n.yaml\n"
    assert ran.err.endswith(
        "iogate: apis.d/m.yaml: cannot be written: No space left on device; it stays as it is [IOG721]\n"
        "  give yourself the permission to write the file and its folder\n"
    )
    assert path.read_text() == MESSY


def test_a_change_that_another_program_makes_meanwhile_stays(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = cli.write("apis.d/m.yaml", MESSY)
    formatted = file_formatter.format_bytes

    def edited(raw: bytes, name: str) -> file_formatter.Formatted:
        path.write_text(MESSY + "tags: [x]\n")
        return formatted(raw, name)

    monkeypatch.setattr(file_formatter, "format_bytes", edited)
    assert cli("fmt", code=4).err.endswith(
        "iogate: apis.d/m.yaml: has changed since it was read; it stays as it is [IOG721]\n"
        "  format it again\n"
    )
    assert path.read_text() == MESSY + "tags: [x]\n"


def test_a_file_whose_form_would_mean_something_else_is_refused(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = cli.write("apis.d/m.yaml", MESSY)

    def refuse(*_: object) -> str:
        raise Refused("apis.d/m.yaml: cannot be formatted: why", code="IOG720")

    monkeypatch.setattr(file_formatter, "canonical_text", refuse)
    ran = cli("fmt", code=4)
    assert ran.err.endswith("iogate: apis.d/m.yaml: cannot be formatted: why [IOG720]\n")
    assert path.read_text() == MESSY


class Stdin:
    def __init__(self, text: str) -> None:
        self.buffer = io.BytesIO(text.encode())


def test_stdin_goes_to_stdout(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Stdin(MESSY + "description: é\n"))
    ran = cli("fmt", "-")
    assert ran.out == CLEAN.replace("auth", "description: é\nauth")
    assert ran.err == ""
    monkeypatch.setattr(sys, "stdin", Stdin(CLEAN))
    assert cli("fmt", "--check", "-").out == ""
    monkeypatch.setattr(sys, "stdin", Stdin(MESSY))
    assert cli("fmt", "-", "--check", code=2).out == ""
    monkeypatch.setattr(sys, "stdin", Stdin(MESSY))
    assert cli("fmt", "-", "--diff", code=2).out.startswith("--- stdin.yaml\n")
    monkeypatch.setattr(sys, "stdin", Stdin("module: {\n"))
    ran = cli("fmt", "-", "--stdin-filename", "apis.d/x.yaml", code=3)
    assert ran.out == ""
    assert 'apis.d/x.yaml:1:9: error IOG120: this "{" is never closed' in ran.err
    monkeypatch.setattr(sys, "stdin", Stdin("port:  1\n"))
    assert cli("fmt", "-", "--stdin-filename", "iogate.yaml").out == "port: 1\n"


def test_a_file_that_another_command_formats_meanwhile_is_formatted(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = cli.write("apis.d/m.yaml", MESSY)
    read = file_formatter.format_bytes

    def format_after_others(raw: bytes, name: str) -> file_formatter.Formatted:
        path.write_text(CLEAN)
        return read(raw, name)

    monkeypatch.setattr(file_formatter, "format_bytes", format_after_others)
    ran = cli("fmt")
    assert (ran.out, path.read_text()) == ("formatted apis.d/m.yaml\n", CLEAN)


def test_wrong_arguments_are_named(cli: Cli) -> None:
    cli.write("a.yaml", CLEAN)
    assert "nowhere: no such file or folder" in cli("fmt", "nowhere", code=8).err
    assert "- stands for stdin" in cli("fmt", "-", "a.yaml", code=64).err
    assert cli("fmt").err == (
        f"warning: nothing to format: no files found in apis.d, workflows.d of {cli.root}\n"
    )


@pytest.mark.parametrize("how", [[], ["--http", "https://shop.example/x"], ["--script", "s.py"]])
def test_files_that_new_creates_are_canonical(cli: Cli, how: list[str]) -> None:
    cli("init")
    cli("new", "api", "shop/ask", *how)
    cli("new", "api", "shop/ask_again", *how)
    cli("new", "workflow", "shop/other")
    ran = cli("fmt", "--check", ".", code=None)
    assert (ran.code, ran.out) == (0, "")
