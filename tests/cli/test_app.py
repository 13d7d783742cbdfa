"""The command itself: help, version, options before and after, and how failures end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main
from redis import Redis

from iogate import __version__
from iogate.cli import app, render
from iogate.cli.render import Table
from iogate.store import keys
from tests.cli.conftest import Cli


def test_version_goes_to_stdout(cli: Cli) -> None:
    assert cli("--version").out == f"iogate {__version__}\n"


def test_without_arguments_it_shows_help(cli: Cli) -> None:
    assert "Usage: iogate" in cli().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--foo"], "iogate: No such option: --foo"),
        (["unknown"], "iogate: No such command 'unknown'."),
        (["schema", "nothing"], "iogate: Invalid value for"),
        (["-C", "missing", "secret", "new"], "iogate: -C missing: No such file or directory"),
        (["new"], "Usage: iogate new"),
    ],
)
def test_a_wrong_command_line_exits_64(cli: Cli, arguments: list[str], message: str) -> None:
    ran = cli(*arguments, code=64)
    assert ran.err.startswith(message)
    assert ran.out == ""


def test_directory_and_output_stand_before_or_after_the_command(cli: Cli) -> None:
    (cli.root / "sub").mkdir()
    before = cli("-C", "sub", "-o", "json", "init").json
    assert before["created"][0] == "iogate.yaml"
    assert (cli.root / "sub" / "iogate.yaml").exists()
    after = cli("init", "-o", "json").json  # the process stays where -C led it
    assert after["kept"] == before["created"][:3]


def test_a_misspelt_variable_is_reported(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IOGATE_DATADIR", "x")
    assert 'IOGATE_DATADIR: no such setting; did you mean "IOGATE_DATA_DIR"?' in cli("new", "api", "a/b").err


def test_a_wrong_settings_file_exits_3_with_its_place(cli: Cli) -> None:
    cli.write("iogate.yaml", "# mine\nprot: 80\n")
    ran = cli("new", "api", "a/b", code=3)
    assert ran.err == 'iogate: iogate.yaml:2: unknown setting "prot"; did you mean "port"? [IOG190]\n'


def test_a_settings_file_that_is_not_yaml_is_shown_with_a_caret(cli: Cli) -> None:
    cli.write("iogate.yaml", "port: [1\n")
    ran = cli("new", "api", "a/b", code=3)
    assert ran.err.startswith("iogate: iogate.yaml:")
    assert "^" in ran.err


def test_an_empty_settings_file_is_fine(cli: Cli) -> None:
    cli.write("iogate.yaml", "# nothing yet\n")
    cli("new", "api", "a/b")


def test_each_module_of_commands_registers_the_names_that_it_is_imported_for() -> None:
    for module, names in app._MODULES.items():
        command: Any = typer.main.get_command(app.make_app(module))
        assert tuple(command.commands) == names
    folder = Path(app.__file__).parent
    found = {
        f"{file.parent.name}.{file.stem}"
        for file in folder.glob("*/*.py")
        if "def register(app: typer.Typer)" in file.read_text(encoding="utf-8")
    }
    assert found == set(app._MODULES)


@pytest.mark.parametrize("arguments", [["validate"], ["-q", "-C", ".", "-o", "json", "--env", "x", "plan"]])
def test_a_command_line_imports_the_module_of_its_command(arguments: list[str]) -> None:
    assert app._home(arguments) == app._HOMES[arguments[-1]]


@pytest.mark.parametrize("arguments", [[], ["--help"], ["plam"], ["-qC", "plan", "fmt"], ["-o"]])
def test_all_commands_are_imported_where_the_command_is_not_certain(arguments: list[str]) -> None:
    assert app._home(arguments) is None


def test_an_interrupt_exits_130(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("iogate.security.secrets.generate_token", interrupt)
    cli("secret", "new", code=130)


def test_a_defect_exits_1_with_a_traceback(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("iogate.security.secrets.generate_token", fail)
    ran = cli("secret", "new", code=1)
    assert "ZeroDivisionError" in ran.err
    assert ran.err.endswith("iogate: unexpected error: this is a bug in iogate, please report it\n")


def test_a_command_that_the_store_refuses_is_no_defect(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, redis_url: str
) -> None:
    with Redis.from_url(redis_url) as plain:
        plain.flushall()
        plain.set(keys.ACTIVITY, "another program")
        monkeypatch.setenv("IOGATE_REDIS_URL", redis_url)
        ran = cli("activity", code=6)
        plain.flushall()
    assert ran.err.startswith("iogate: the store refused a command: WRONGTYPE")
    assert ran.err.splitlines()[1].startswith("  `iogate doctor` checks the store")


def test_help_is_fast_because_commands_import_late() -> None:
    """No layer that needs a store, a server, a compiler or a terminal is imported for help.

    Nor does a parent of workers load the client and the servers that only its children use.
    """
    code = (
        "import sys; from iogate.cli import app; app.run(['--help']);"
        "heavy = {'redis', 'rq', 'litestar', 'pydantic', 'aiohttp', 'jq', 'rich', 'msgspec', 'yaml'};"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr); import iogate.worker.pool.pool;"
        "print(sorted({'rq', 'litestar', 'aiohttp'} & set(sys.modules)), file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stderr == "[]\n[]\n"


def test_the_module_runs_as_the_script_does(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "iogate", "--version"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert ran.stdout == f"iogate {__version__}\n"


def test_a_reader_that_leaves_early_is_no_failure(tmp_path: Path) -> None:
    ran = subprocess.run(
        ["/bin/sh", "-c", f"{sys.executable} -m iogate secret new | true"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert ran.stderr == ""


def test_a_plain_table_is_aligned_and_cut_nowhere() -> None:
    table = Table(
        columns=("name", "n"), rows=[("a", 5), ("b" * 30, None), ("x\ny", 1234)], numbers=frozenset("n")
    )
    assert render.plain_table(table).splitlines() == [
        "NAME                               N",
        "a                                  5",
        f"{'b' * 30}     -",
        "x y                             1234",
    ]


@pytest.mark.parametrize(
    "value",
    [
        {"a": 1, "b": [1, {"c": [[], {}], "d": "x: y"}], "no": "no", "e": {"f": None}},
        {"a": ["yes", "1.0", "", " x", "#c", "-", "a\nb", "ä", "null", "a#b", "a b", 'q"'], "x y": True},
        {"nested": [[1, 2], [{"a": {"b": 1}}, "z"]], "1": 2.5, "": 0},
    ],
)
def test_yaml_reads_back_as_it_was(value: dict[str, object]) -> None:
    from iogate.documents.yaml.reader import read_text

    reading = read_text(render.to_yaml(value), "x")
    assert not reading.problems
    assert reading.data == value


def test_the_app_is_importable_without_running() -> None:
    assert app.make_app().info.name == "iogate"
