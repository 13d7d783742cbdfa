"""Small projects for the compiler's tests: files written, loaded, compiled."""

from __future__ import annotations

from pathlib import Path

from iogate.compiler.compile import Compiled, compile_documents
from iogate.compiler.diagnostics import Purpose
from iogate.compiler.revision import Bundle
from iogate.documents import load
from iogate.settings import Settings

WORKFLOW = """\
document: {{dsl: '1.0.3', namespace: shop, name: {name}, version: '{version}'}}
do:
  - done:
      set: {{ok: true}}
"""

API = """\
module: {module}
timeout: 5m
methods:
  {method}:
    workflow: {workflow}
    auth: {auth}
"""


def workflow(name: str = "order", version: str = "1.0.0") -> str:
    return WORKFLOW.format(name=name, version=version)


def api(
    module: str = "orders", method: str = "submit", workflow: str = "shop/order", auth: str = "none"
) -> str:
    return API.format(module=module, method=method, workflow=workflow, auth=auth)


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def compiled(
    root: Path, files: dict[str, str], *, purpose: Purpose = "apply", lenient: bool = False
) -> Compiled:
    write(root, files)
    settings = Settings(allow_run=("script",))
    return compile_documents(load(root), settings, root=root, purpose=purpose, allow_unsupported=lenient)


def bundle(root: Path, files: dict[str, str], *, purpose: Purpose = "apply") -> Bundle:
    result = compiled(root, files, purpose=purpose)
    assert result.bundle is not None, result.errors
    return result.bundle


def told(result: Compiled) -> list[str]:
    """Each problem as `path:line:column code message`."""
    return [
        f"{problem.path}:{problem.line}:{problem.column} {problem.code} {problem.message}"
        for problem in result.problems
    ]
