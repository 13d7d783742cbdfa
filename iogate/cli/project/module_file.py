"""The file of a module to which `iogate new api` adds a method.

Called by `project_commands`. Pure. Invariant: a method is added only if the result reads back as the same
document with that method.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Any

from iogate.errors import InvalidFiles, Refused
from iogate.messages import quoted

if TYPE_CHECKING:
    from iogate.documents import Documents


def find(documents: Documents, module: str, *, default: Path) -> Path:
    """Return the file of the project that defines the module of a new API; `default` if none does."""
    from iogate.documents import ApiDocument

    apis = [each for each in (*documents.apis, *documents.placeholders) if isinstance(each, ApiDocument)]
    paths = [Path(each.path) for each in apis if each.model.module == module]
    return default if default in paths or not paths else paths[0]


def invalid(path: Path) -> InvalidFiles:
    """Return the error of an invalid file that `iogate new` would extend."""
    return InvalidFiles(f"{path} is invalid", hint=f"iogate validate {path}")


def extend(path: Path, before: str, module: str, method: str, block: str, *, workflow: str) -> str:
    """Return the text of a module with a method that `iogate new api` adds at its end.

    `block` is the method as YAML, `workflow` the name of its workflow.

    Raises InvalidFiles for an invalid file, Refused for one of another module, one that has the method, or
    one that only a person can extend.
    """
    from iogate.documents.yaml.reader import read_text

    reading = read_text(before, str(path))
    if (
        reading.problems
        or not isinstance(reading.data, dict)
        or not isinstance(reading.data.get("module"), str)
    ):
        raise invalid(path)
    old: Mapping[str, Any] = reading.data
    if old["module"] != module:
        raise Refused(
            f"{path} is the file of module {quoted(old['module'])}, not of {quoted(module)}",
            hint="give that file another name, and run the command again",
        )
    methods = old.get("methods")
    if isinstance(methods, dict) and method in methods:
        raise Refused(f"{path} has a method {method} already", hint="choose another method")
    by_hand = Refused(
        f"{path}: the method cannot be added automatically",
        hint=f"add this under methods:\n{indent(block, '    ')}"
        f'  and create its workflow with "iogate new workflow {workflow}"',
    )
    heads = re.findall(r"(?m)^[^\s#-][^:]*", before)
    first = re.search(r"(?m)^methods:[ \t]*(?:#.*)?\r?\n(?:[ \t]*(?:#.*)?\r?\n)*( +)\S", before)
    if first is None or heads[-1] != "methods" or not isinstance(methods, dict):
        raise by_hand
    added = "\n\n" + indent(block, first.group(1))
    text = before.rstrip() + added.replace("\n", "\r\n" if "\r\n" in before else "\n")
    again = read_text(text, str(path))
    if again.problems or {**again.data, "methods": _without(again.data["methods"], method)} != dict(old):
        raise by_hand
    return text


def is_open(path: Path, text: str, method: str) -> bool:
    """Tell whether a method of a valid module can be called without credentials."""
    from iogate.auth.model import NoAuth, alternatives
    from iogate.documents import load_text

    accepted = [document.model.methods[method].auth for document in load_text(text, str(path)).apis]
    return any(
        isinstance(form, NoAuth) for auth in accepted if auth is not None for form in alternatives(auth)
    )


def _without(methods: Mapping[str, Any], method: str) -> dict[str, Any]:
    """Return the methods of a module without the one that `iogate new api` adds."""
    return {name: value for name, value in methods.items() if name != method}
