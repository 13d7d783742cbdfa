"""The rules of the house that no linter knows."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

import iogate
from iogate.cli.app import make_app

PACKAGE = Path(iogate.__file__).parent
EXPLANATIONS = (PACKAGE / "explanations.md").read_text(encoding="utf-8")
SOURCES = {
    file.relative_to(PACKAGE).as_posix(): file.read_text(encoding="utf-8")
    for file in sorted(PACKAGE.rglob("*"))
    if file.suffix in {".py", ".lua"}
}
MOST_LINES = 400
MOST_MODULES = 15


def codes() -> set[str]:
    """What the sources name, and what documents make of the digits that models give."""
    named = set(re.findall(r"\bIOG\d{3}\b", "\n".join(SOURCES.values())))
    for name, text in SOURCES.items():
        if name.startswith(("documents/", "auth/")):
            digits = {int(found) for found in re.findall(r"code=(\d+)\b", text)}
            families = (
                "1" if "/api/" in name or name.startswith("auth/") else "2" if "/dsl/" in name else "12"
            )
            named |= {f"IOG{family}{digit:02}" for family in families for digit in digits}
    return named | {f"IOG{family}{digit:02}" for family in "12" for digit in (*range(1, 7), 10)}


def test_every_code_has_one_section_and_every_section_a_code() -> None:
    sections = re.findall(r"(?m)^## (IOG\d{3}) \S", EXPLANATIONS)
    assert sorted(sections) == sorted(codes())


def test_the_sections_stand_in_the_order_of_their_codes() -> None:
    sections = re.findall(r"(?m)^## (IOG\d{3})", EXPLANATIONS)
    assert sections == sorted(sections)


def test_no_file_is_too_long_to_read() -> None:
    lengths = {name: text.count("\n") for name, text in SOURCES.items()}
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}


LARGE_FOLDERS = {"compiler/checks"}
"""One check is one module, and each is read alone."""


def test_no_folder_has_more_modules_than_a_reader_can_survey() -> None:
    counts = Counter(name.rpartition("/")[0] for name in SOURCES if name.endswith(".py"))
    large = {folder for folder, count in counts.items() if count - 1 > MOST_MODULES}
    assert large == LARGE_FOLDERS


PART = re.compile(r" {4}([a-z_]+/?(?: [a-z_]+/?)*) {2,}\S.*")


def parts_in_docstring(package: Path) -> set[str]:
    """The names in the list of modules of a package; empty if its docstring has none."""
    documented = ast.get_docstring(ast.parse((package / "__init__.py").read_text("utf-8")), clean=False) or ""
    blocks = [block.splitlines() for block in documented.split("\n\n") if block.startswith("    ")]
    for block in blocks:
        lines = [PART.fullmatch(line) for line in block if not line.startswith(" " * 5)]
        if all(lines):
            return {name.strip("/") for line in lines if line for name in line[1].split()}
    return set()


LISTED = [file.parent for file in sorted(PACKAGE.rglob("__init__.py")) if parts_in_docstring(file.parent)]


@pytest.mark.parametrize("package", LISTED, ids=lambda package: package.relative_to(PACKAGE).as_posix())
def test_the_list_in_the_docstring_of_a_package_names_each_of_its_parts(package: Path) -> None:
    parts = {
        file.stem for file in package.iterdir() if file.suffix == ".py" or (file / "__init__.py").is_file()
    }
    assert parts_in_docstring(package) - {"lua"} == parts - {"__init__"}


def test_the_large_packages_list_their_parts() -> None:
    listed = {package.relative_to(PACKAGE).as_posix() for package in LISTED}
    assert {"cli", "engine", "gateway", "gateway/console", "store", "worker"} <= listed


@pytest.mark.parametrize("word", ["TODO", "FIXME", "XXX", r"raise NotImplementedError"])
def test_nothing_is_left_for_later(word: str) -> None:
    pattern = re.compile(rf"\b{word}\b")
    assert [name for name, text in SOURCES.items() if pattern.search(text)] == []


def test_the_packer_learns_the_release_without_importing_the_package() -> None:
    """At its first installation nothing is there that the package could import."""
    read = (
        "import pathlib, sys; from flit_core.common import Module, get_docstring_and_version_via_ast as read;"
        "print(read(Module('iogate', pathlib.Path(sys.argv[1])))[1])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", read, str(PACKAGE.parent)],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert ran.stdout.strip() == iogate.__version__


# Docstrings.

HEADLESS = re.compile(r"\b(?:what|whoever|whatever|whichever)\b", re.IGNORECASE)
WHO = re.compile(r"(\S*)\s*\b(?:who|whose)\b")
NO_HEAD_NOUN = {
    "",
    "of",
    "for",
    "to",
    "by",
    "from",
    "with",
    "and",
    "or",
    "is",
    "as",
    "about",
    "on",
    "in",
    "at",
    "than",
}
NO_ERROR_OF_CALLERS = {"AssertionError", "TypeError", "AttributeError", "StopIteration", "Exit"}
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def documented() -> Iterator[tuple[str, Documented, str]]:
    """Every module, class and function of the package with its docstring."""
    for name, text in SOURCES.items():
        if name.endswith(".py"):
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                    yield name, node, ast.get_docstring(node) or ""


def is_headless(line: str) -> bool:
    """Tell whether a clause of the line has *what* or *who* for its noun."""
    return bool(HEADLESS.search(line)) or any(
        before.lower() in NO_HEAD_NOUN or not before[-1].isalpha() for before in WHO.findall(line)
    )


def raised(function: ast.AST) -> set[str]:
    """Names of the exceptions that a function itself raises for its callers."""
    found, waiting = set(), list(ast.iter_child_nodes(function))
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Raise) and node.exc is not None:
            error = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            found.add(error.id if isinstance(error, ast.Name) else getattr(error, "attr", ""))
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)
    return found - NO_ERROR_OF_CALLERS - {""}


def test_first_lines_of_docstrings_are_sentences_or_noun_phrases() -> None:
    lines = [(name, text.splitlines()[0]) for name, _, text in documented() if text]
    headless = [each for each in lines if is_headless(each[1])]
    assert len(headless) < len(lines) / 50, headless


def test_functions_that_raise_an_error_for_their_callers_say_so() -> None:
    raising = [
        (name, node.name, text)
        for name, node, text in documented()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if not node.name.startswith("_") and raised(node)
    ]
    silent = [
        (name, function) for name, function, text in raising if "aises" not in text and "aise " not in text
    ]
    assert len(silent) < len(raising) / 10, silent


# What people are told to type.


def walk(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every command and group, by its name."""
    yield name, command
    for each, found in getattr(command, "commands", {}).items():
        yield from walk(found, f"{name} {each}".strip())


COMMANDS = dict(walk(typer.main.get_command(make_app())))
EVERYWHERE = {*(option for each in COMMANDS[""].params for option in each.opts), "-h", "--help"}
OPTIONS = {
    name: EVERYWHERE | {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
    for name, command in COMMANDS.items()
}


def strings(text: str) -> Iterator[str]:
    """Every text that is no docstring, with … where values go."""
    tree = ast.parse(text)
    plain = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [each.value if isinstance(each, ast.Constant) else "…" for each in node.values]
            plain.update(id(each) for each in node.values)
            yield "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in plain:
            yield node.value


def typed(text: str) -> list[str]:
    """Command lines in a text: it begins with one, or has it in quotes, or after another."""
    return re.findall(r"""(?:^|["`']|&& )iogate ([a-z][^"`'\n]*)""", text)


def faults(line: str) -> list[str]:
    """What of a command line, after `iogate`, does not exist."""
    words = line.split()
    name = " ".join(words[:2]) if " ".join(words[:2]) in COMMANDS else words[0].rstrip(",;:.")
    if name not in COMMANDS:
        return [f"iogate {name}"]
    below = getattr(COMMANDS[name], "commands", None)
    if below is not None and len(words) > 1 and re.fullmatch(r"[a-z]+", words[1]):
        return [f"iogate {name} {words[1]}"]
    options = [word for word in words if re.fullmatch(r"--?[a-z][a-z-]*", word)]
    return [f"iogate {name} {option}" for option in options if option not in OPTIONS[name]]


def test_a_command_that_does_not_exist_is_found() -> None:
    assert typed('try "iogate run x", `iogate api list` or iogate itself') == ["run x", "api list"]
    assert faults("publish again") == ["iogate publish"]
    assert faults("api remove") == ["iogate api remove"]
    assert faults("apply --force") == ["iogate apply --force"]
    assert faults("debug --name N shop/buy") == []


def test_every_command_that_a_text_names_exists() -> None:
    texts = [(name, each) for name, text in SOURCES.items() if name.endswith(".py") for each in strings(text)]
    texts.append(("explanations.md", EXPLANATIONS))
    lines = [(name, line) for name, text in texts for line in typed(text)]
    assert len(lines) > 30
    assert [(name, wrong) for name, line in lines for wrong in faults(line)] == []


def test_every_option_that_a_hint_names_exists() -> None:
    known = set().union(*OPTIONS.values())
    named = [
        (name, option)
        for name, text in SOURCES.items()
        if name.endswith(".py")
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.keyword) and node.arg == "hint"
        for hint in strings(ast.unparse(node.value))
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", hint)
    ]
    assert [each for each in named if each[1] not in known] == []
    told = set(re.findall(r"`(--[a-z][a-z-]*)", EXPLANATIONS))
    assert told - known == set()
