"""Checks of one document that its models cannot make: missing authentication, repeated names, lint.

Called by the loader. It checks the plain data, so that it finds errors in otherwise invalid documents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iogate.auth.reader import literals
from iogate.documents.dsl.workflow import Workflow
from iogate.documents.fixes import RenameKey
from iogate.documents.problems import Problem
from iogate.messages import nearest, printable, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from iogate.documents.problems import Severity
    from iogate.documents.yaml.nodes import Positions
    from iogate.json_pointer import Pointer

_MOST_ROOT_KEYS = 100
_CASES = ("document", "metadata", "iogate", "debug")


def check_api(data: dict[str, Any], positions: Positions, path: str) -> Iterator[Problem]:
    """Check that authentication is given and debug cases have unique names; warn of literal secrets."""
    yield from _literal_secrets(data, (), positions, path)
    methods = data.get("methods")
    if not isinstance(methods, dict):
        return
    module = data.get("module")
    for name, method in methods.items():
        at: Pointer = ("methods", name)
        if not isinstance(method, dict):
            continue
        route = printable(f"{module}/{name}"[:160])
        if "auth" not in data and "auth" not in method:
            yield _problem(
                "IOG107",
                f"method {route} does not say who may call it",
                positions,
                path,
                at,
                hint='add "auth", here or on the module; "auth: none" opens it to everyone',
            )
        yield from _literal_secrets(method, at, positions, path)
        yield from _repeated_cases(method.get("debug"), (*at, "debug"), positions, path)


def check_workflow(data: dict[str, Any], positions: Positions, path: str) -> Iterator[Problem]:
    """Warn of unknown keys at the root that resemble known ones; report debug cases with the same name."""
    yield from _repeated_cases(_below(data, *_CASES), _CASES, positions, path)
    known = Workflow.key_names()
    # A key that has to be there is an error of the model already.
    free = [name for name in known if name not in data and name not in {"document", "do"}]
    for key in list(data)[:_MOST_ROOT_KEYS]:
        meant = None if key in known else nearest(key, free)
        if meant:
            message = f"the key {quoted(key)} has no meaning in a workflow"
            hint = f'did you mean "{meant}"?'
            fix = RenameKey(pointer=(key,), name=meant)
            yield _problem("IOG503", message, positions, path, (key,), hint=hint, severity="warning", fix=fix)


def _below(value: Any, *keys: str) -> Any:
    """Return the value below these keys of a document to check; None if there is none."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _literal_secrets(
    holder: dict[str, Any], at: Pointer, positions: Positions, path: str
) -> Iterator[Problem]:
    for found in literals(holder.get("auth")):
        message = "a secret stands in the file in clear"
        hint = "use {env: NAME}, {file: PATH} or {hash: …}"
        yield _problem(
            "IOG501", message, positions, path, (*at, "auth", *found), hint=hint, severity="warning"
        )


def _repeated_cases(cases: Any, at: Pointer, positions: Positions, path: str) -> Iterator[Problem]:
    names: dict[str, int] = {}
    for number, case in enumerate(cases if isinstance(cases, list) else ()):
        name = case.get("name") if isinstance(case, dict) else None
        if not isinstance(name, str):
            continue
        if name in names:
            first = positions.place((*at, names[name], "name")).line
            message = f"two debug cases are called {quoted(name)}"
            yield _problem(
                "IOG109", message, positions, path, (*at, number, "name"), hint=f"the first on line {first}"
            )
        else:
            names[name] = number


def _problem(
    code: str,
    message: str,
    positions: Positions,
    path: str,
    pointer: Pointer,
    *,
    hint: str,
    severity: Severity = "error",
    fix: RenameKey | None = None,
) -> Problem:
    # A method or a key without further place is what the problem is about: point at its name.
    span = positions.place(pointer, key=code not in {"IOG109", "IOG501"})
    return Problem.at(span, path=path, code=code, message=message, hint=hint, severity=severity, fix=fix)
