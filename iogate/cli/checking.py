"""Documents read and compiled for a command: the one way from paths to problems and a bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from iogate.cli.problems import show_problems
from iogate.errors import InvalidFiles, NotFound

if TYPE_CHECKING:
    from iogate.compiler.faults import Purpose
    from iogate.compiler.revision import Bundle
    from iogate.documents import Documents
    from iogate.documents.problems import Problem
    from iogate.documents.source import Source
    from iogate.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Checked:
    documents: Documents
    bundle: Bundle | None
    """None where a problem is an error."""
    problems: tuple[Problem, ...]
    sources: Mapping[str, Source]
    """Each file that a problem may name, by its path."""

    @property
    def errors(self) -> int:
        return sum(problem.severity == "error" for problem in self.problems)


def check(
    settings: Settings,
    *,
    purpose: Purpose = "validate",
    paths: Sequence[Path] | None = None,
    root: Path | None = None,
    allow_unsupported: bool = False,
) -> Checked:
    """Read and compile the project, or, with `paths`, only these files, which need not be a whole project.

    `allow_unsupported` only warns of what this release does not execute or the settings do not allow.
    """
    from iogate import declarations
    from iogate.cli.tools import missing
    from iogate.compiler.compile import compile_documents
    from iogate.documents import in_order, load
    from iogate.effects.fetching import fetcher
    from iogate.functions import load as load_functions

    root = root or Path.cwd()
    for path in paths or ():
        if not path.exists():
            raise NotFound(f"{path}: no such file or folder")
    documents = load(root, paths)
    compiled = compile_documents(
        documents,
        settings,
        root=root,
        purpose=purpose,
        # `validate` runs nothing of the project either: functions are read from the source of their modules.
        functions=declarations.read(settings.functions, root)
        if purpose == "validate"
        else load_functions(settings.functions, root),
        partial=paths is not None,
        # `validate` says what the files say, wherever it runs: it does not touch the network.
        fetch=fetcher(settings, root) if purpose != "validate" else None,
        allow_unsupported=allow_unsupported,
    )
    lacking = missing(documents) if purpose == "validate" else ()
    return Checked(
        documents=documents,
        bundle=compiled.bundle,
        problems=in_order((*compiled.problems, *lacking)),
        sources=documents.sources,
    )


def compiled(
    settings: Settings,
    *,
    purpose: Purpose,
    paths: Sequence[Path] | None = None,
    root: Path | None = None,
    allow_unsupported: bool = False,
) -> Checked:
    """Read and compile as `check` does, show the problems on stderr, and raise if one is an error.

    Raises:
        InvalidFiles: a document has an error.
    """
    import sys

    checked = check(settings, purpose=purpose, paths=paths, root=root, allow_unsupported=allow_unsupported)
    show_problems(checked.problems, checked.sources, sys.stderr)
    if checked.bundle is None:
        raise InvalidFiles(
            f"validation failed: {counted(checked.errors, 'error')}",
            hint='"iogate explain CODE" tells more about each',
        )
    return checked


def counted(number: int, noun: str, nouns: str = "") -> str:
    """`1 file`, `2 files`; `nouns` are several that are no noun and an s."""
    return f"{number} {noun if number == 1 else nouns or f'{noun}s'}"


async def prove_isolation(settings: Settings) -> None:
    """Raise Misused if processes cannot be isolated as the settings ask: workers would not start."""
    if settings.process_isolation != "none":
        from iogate.effects import Effects

        async with Effects(settings=settings):
            pass
