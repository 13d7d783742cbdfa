"""Parts of this machine that a project needs: a JavaScript runtime, a container runtime, the extra `jwt`.

Used by `validate` and `doctor`, which check this machine only; workers may run on others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from iogate.compiler.checked_definition import Definition
    from iogate.documents import ApiDocument
    from iogate.documents.problems import Problem


@dataclass(frozen=True, kw_only=True)
class Tool:
    """External program, installed or not."""

    about: str
    purpose: str
    path: str | None
    """Path of the program; None if it is not installed."""
    hint: str


def javascript() -> Tool:
    from iogate.effects.processes import interpreters

    found = interpreters.find_javascript()
    return Tool(about="javascript", purpose="runs JavaScript", path=found, hint=interpreters.TO_INSTALL)


def containers() -> Tool:
    from iogate.effects.processes import containers

    return Tool(
        about="containers", purpose="runs containers", path=containers.find_tool(), hint=containers.TO_INSTALL
    )


def missing_tools(definitions: Iterable[Definition]) -> Iterator[Problem]:
    """Yield a warning for each task that needs a program that is not installed here."""
    from iogate.compiler.diagnostics import warning_at
    from iogate.compiler.tasks import Container, Process

    started = [
        (definition.document, task)
        for definition in definitions
        for task in definition.index.tasks
        if isinstance(task.body, Container | Process)
    ]
    if not started:
        return
    from iogate.effects.processes.interpreters import JAVASCRIPT

    found: dict[str, Tool] = {}
    for document, task in started:
        match task.body:
            case Container():
                kind, find = "container", containers
            case Process(language=language) if language.lower() in JAVASCRIPT:
                kind, find = "script", javascript
            case _:
                continue
        tool = found.get(kind) or found.setdefault(kind, find())
        if tool.path is None:
            yield warning_at(
                document,
                (*task.location, "run", kind),
                "IOG512",
                f"no program on this machine {tool.purpose}",
                key=True,
                hint=tool.hint,
            )


def missing_extras(documents: Iterable[ApiDocument]) -> Iterator[Problem]:
    """Yield a warning for each API with JWTs if the extra `jwt` is not installed here."""
    from iogate.auth.jwt_form import INSTALL
    from iogate.auth.model import JwtAuth, alternatives
    from iogate.compiler.diagnostics import warning_at

    for document in documents:
        for name, method in document.model.methods.items():
            forms = alternatives(method.auth) if method.auth is not None else ()
            if any(isinstance(form, JwtAuth) for form in forms) and not _has_jwt_library():
                own = "auth" in document.data["methods"][name]
                yield warning_at(
                    document,
                    ("methods", name, "auth") if own else ("auth",),
                    "IOG539",
                    "the library that verifies JWTs is not installed on this machine",
                    hint=INSTALL,
                )


def _has_jwt_library() -> bool:
    return all(find_spec(name) is not None for name in ("jwt", "cryptography"))
