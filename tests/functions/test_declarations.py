"""Functions read from source equal the imported ones, and no code of a module runs."""

from __future__ import annotations

import sys
from pathlib import Path

import jsonschema_rs
import pytest

from iogate import declarations, functions
from iogate.errors import InvalidFiles

FIRST = """
from __future__ import annotations
from typing import Literal, Optional
import iogate
from iogate import function as workflow_function
from .shared import lent, plain
from .star import *

@iogate.function("greet", version="1.2.0", idempotent=False)
async def greet(name: str, *, times: int = 1, unit: Literal["m", "km"], ctx: iogate.Context) -> dict: ...

@workflow_function(version="2.0.0")
def total(amounts: list[float], note: Optional[str] = None, **more: object) -> float: ...

if True:
    @iogate.function()
    def inner(flag: bool | None, data: dict[str, int]): ...

def helper(): ...
"""
SHARED = (
    "import iogate.functions\n@iogate.functions.function('lent')\ndef lent(x: int): ...\ndef plain(): ...\n"
)
STAR = "import iogate as i\n@i.function('star')\ndef star(): ...\n"


def package(root: Path, name: str, **modules: str) -> str:
    """Write a package; its `__init__` and every module leave a mark when they are executed."""
    (root / name).mkdir()
    mark = f"open({str(root / 'executed')!r}, 'w').close()\n"
    for module, text in {"__init__": "", **modules}.items():
        future = "from __future__ import annotations\n"
        head = future if future in text else ""
        (root / name / f"{module}.py").write_text(head + mark + text.replace(future, ""))
    return name


@pytest.fixture
def path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.mark.usefixtures("path")
def test_declarations_equal_the_imported_functions(tmp_path: Path) -> None:
    name = package(tmp_path, "declared_first", first=FIRST, shared=SHARED, star=STAR)
    read = declarations.read([f"{name}.first"], tmp_path)
    assert not (tmp_path / "executed").exists()
    imported = functions.load([f"{name}.first"], tmp_path)
    assert (tmp_path / "executed").exists()
    assert read.complete
    assert list(read.functions) == list(imported.functions)
    for mine, theirs in zip(read, imported, strict=True):
        assert (mine.reference, mine.idempotent, mine.open) == (
            theirs.reference,
            theirs.idempotent,
            theirs.open,
        )
        assert (mine.is_async, mine.wants_context) == (theirs.is_async, theirs.wants_context)
        assert list(mine.parameters) == list(theirs.parameters)
        assert mine.input_schema["required"] == theirs.input_schema["required"]
    assert read.once() == imported.once() == {"greet:1.2.0"}


VALUES = [None, True, 1, 1.5, "m", "x", [], [1], ["a"], {}, {"a": 1}, {"a": "b"}]


@pytest.mark.usefixtures("path")
def test_declarations_accept_the_same_arguments_as_imported_functions(tmp_path: Path) -> None:
    name = package(tmp_path, "declared_second", first=FIRST, shared=SHARED, star=STAR)
    read = declarations.read([f"{name}.first"], tmp_path)
    for function in functions.load([f"{name}.first"], tmp_path):
        mine = read.functions[function.name, function.version].input_schema["properties"]
        for parameter, schema in function.input_schema["properties"].items():
            for value in VALUES:
                right = jsonschema_rs.is_valid(schema, value)
                assert jsonschema_rs.is_valid(mine[parameter], value) is right, (
                    function.name,
                    parameter,
                    value,
                )


@pytest.mark.parametrize(
    "text",
    [
        "import iogate\nname = 'a'\n@iogate.function(name)\ndef f(): ...\n",
        "import iogate\nf = iogate.function('a')(print)\n",
        "import iogate\nfor n in 'ab':\n    globals()[n] = iogate.function(n)(lambda: 1)\n",
        "import iogate\ndef make():\n    @iogate.function('a')\n    def f(): ...\n    return f\nf = make()\n",
        "import iogate\n@iogate.function(**{'name': 'a'})\ndef f(): ...\n",
    ],
)
def test_an_inconclusive_source_is_incomplete(tmp_path: Path, text: str) -> None:
    name = package(tmp_path, "declared_third", first=text)
    assert not declarations.read([f"{name}.first"], tmp_path).complete
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def f(:", 'cannot read module "declared_fourth.first" of the setting functions: SyntaxError: '),
        ("import iogate\n@iogate.function('a b')\ndef f(): ...\n", "invalid function name 'a b'"),
        ("import iogate\n@iogate.function(version='1')\ndef f(): ...\n", "version '1' of function 'f' is no"),
        ("import iogate\n@iogate.function()\ndef f(a, /): ...\n", 'parameter "a" of function f:1.0.0 '),
        (
            "import iogate\n@iogate.function('a')\ndef f(): ...\n@iogate.function('a')\ndef g(): ...\n",
            "function a:1.0.0 is registered twice: by declared_fourth.first.f and by declared_fourth.first.g",
        ),
    ],
)
def test_errors_of_an_import_are_found_in_the_source(tmp_path: Path, text: str, said: str) -> None:
    name = package(tmp_path, "declared_fourth", first=text)
    with pytest.raises(InvalidFiles) as caught:
        declarations.read([f"{name}.first"], tmp_path)
    assert caught.value.message.startswith(said)
    assert caught.value.code == "IOG322"


def test_the_error_names_a_missing_module(tmp_path: Path) -> None:
    with pytest.raises(InvalidFiles) as caught:
        declarations.read(["nowhere.at_all"], tmp_path)
    assert caught.value.message == 'module "nowhere.at_all" of the setting functions does not exist'
    assert caught.value.hint == "write nowhere/at_all.py in the project's folder, or correct the name"


def test_modules_that_import_from_each_other_are_read_once(tmp_path: Path) -> None:
    one = "import iogate\nfrom .two import g\n@iogate.function()\ndef f(): ...\n"
    two = "import iogate\nfrom .one import f\n@iogate.function()\ndef g(): ...\n"
    name = package(tmp_path, "declared_fifth", one=one, two=two)
    read = declarations.read([f"{name}.one", f"{name}.two"], tmp_path)
    assert read.names() == ("f", "g")
