"""Reading and compilation of documents, for all commands that need problems or a bundle."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from iogate.cli.documents.problem_display import show_problems
from iogate.cli.render import prints_to_stderr
from iogate.errors import InvalidFiles, NotFound, Refused
from iogate.messages import counted

if TYPE_CHECKING:
    from iogate.cli.render import Screen
    from iogate.compiler.checked_definition import Definition
    from iogate.compiler.checks.processes import ProcessTask
    from iogate.compiler.diagnostics import Purpose
    from iogate.compiler.resources.document_sources import Fetch
    from iogate.compiler.resources.lock_file import Lock, Mode
    from iogate.compiler.revision import Bundle
    from iogate.documents import Documents
    from iogate.documents.problems import Problem
    from iogate.documents.yaml.source import Source
    from iogate.functions import Registry
    from iogate.json_values import JsonObject
    from iogate.settings import Settings


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """Result of reading and compiling documents."""

    documents: Documents
    bundle: Bundle | None
    """None if a problem is an error."""
    problems: tuple[Problem, ...]
    sources: Mapping[str, Source]
    """Source of each file that a problem may refer to, by path."""
    definitions: Mapping[str, Definition]
    """Definitions of the valid workflows, by `namespace/name:version`."""
    lock: Lock
    """Lock with the digests of fetched documents."""
    processes: tuple[ProcessTask, ...] = ()
    """Tasks that start processes."""

    @property
    def errors(self) -> int:
        """Number of errors among the problems of the documents that the bundle is compiled from."""
        return sum(problem.severity == "error" for problem in self.problems)


SETTINGS_CODES = frozenset({"IOG316", "IOG321", "IOG324", "IOG364", "IOG368", "IOG513", "IOG518", "IOG519"})
"""Codes of problems that depend on settings; not reported if the settings cannot be read."""


def check_documents(
    settings: Settings | None,
    *,
    purpose: Purpose = "validate",
    paths: Sequence[Path] | None = None,
    root: Path | None = None,
    allow_unsupported: bool = False,
    mode: Mode = "add",
    online: bool = False,
    ignored: bool = False,
    edited: Mapping[str, str] | None = None,
) -> CheckResult:
    """Read and compile the project to a bundle, or only `paths`, which need not be a whole project.

    Without `settings`, which may be unreadable, checks that depend on them are skipped, including those of
    functions. `allow_unsupported` turns errors about unsupported and forbidden features into warnings; `mode`
    defines which fetched documents are accepted; `online` lets `validate` fetch documents, too. `ignored`
    includes the warnings that a comment or the setting `lint` removes; `edited` has texts to read instead of
    files. Raises NotFound for a path that does not exist, and InvalidFiles for a lock file that cannot be
    read.
    """
    from iogate.documents.yaml.project_reader import ProjectReader

    root = root or Path.cwd()
    for path in paths or ():
        if not path.exists():
            raise NotFound(f"{path}: no such file or folder")
    with _garbage_kept(), ProjectReader(root, paths, edited).start() as reader:
        # The models take longer to import than many files to read, which other processes do meanwhile.
        from iogate import declarations
        from iogate.cli.processes.required_tools import missing_extras, missing_tools
        from iogate.compiler.compile import compile_documents
        from iogate.compiler.resources import lock_file as locks
        from iogate.documents import in_order, load
        from iogate.documents.ignores import without_ignored
        from iogate.functions import load as load_functions
        from iogate.settings import Settings

        lock = locks.load(root, mode)
        documents = load(root, reader=reader)
    functions: Registry | None
    if settings is None:
        functions = None
    elif purpose == "validate":
        # `validate` executes no code of the project: functions are parsed from the source of their modules.
        functions = declarations.read(settings.functions, root)
    else:
        with prints_to_stderr():
            functions = load_functions(settings.functions, root)
    known = settings or Settings()
    with _garbage_kept():
        compiled = compile_documents(
            documents,
            known,
            root=root,
            purpose=purpose,
            functions=functions,
            partial=paths is not None,
            # `validate` depends on the files only, wherever it runs: it does not use the network.
            fetch=lock.guard(_fetcher(known, root)) if online or purpose != "validate" else None,
            allow_unsupported=allow_unsupported,
        )
    lacking: Sequence[Problem] = ()
    if purpose == "validate":
        lacking = (*missing_tools(compiled.definitions.values()), *missing_extras(documents.apis))
    problems = in_order(
        problem
        for problem in (*compiled.problems, *lacking)
        if settings is not None or problem.code not in SETTINGS_CODES
    )
    return CheckResult(
        documents=documents,
        bundle=compiled.bundle,
        problems=problems if ignored else without_ignored(problems, documents.sources, known.lint),
        sources=documents.sources,
        definitions=compiled.definitions,
        lock=lock,
        processes=compiled.processes,
    )


def _fetcher(settings: Settings, root: Path) -> Fetch:
    """Return a function that fetches documents for a bundle; it imports the HTTP client when called."""

    def fetch(uri: str, policy: JsonObject | None, *, foreign: bool) -> bytes:
        from iogate.effects.document_fetcher import make_fetcher

        return make_fetcher(settings, root)(uri, policy, foreign=foreign)

    return fetch


@contextmanager
def _garbage_kept() -> Iterator[None]:
    """Pause garbage collection while a bundle is built; it would take a quarter of the build time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            # Moves the objects to the oldest generation: the next allocation would examine each of them.
            gc.freeze()
            gc.unfreeze()
            gc.enable()


def compile_or_fail(
    settings: Settings,
    *,
    purpose: Purpose,
    paths: Sequence[Path] | None = None,
    root: Path | None = None,
    allow_unsupported: bool = False,
    mode: Mode = "add",
) -> CheckResult:
    """Compile documents to a bundle, print the problems, and raise if one is an error.

    Raises:
        InvalidFiles: a document has an error.
    """
    import sys

    checked = check_documents(
        settings, purpose=purpose, paths=paths, root=root, allow_unsupported=allow_unsupported, mode=mode
    )
    show_problems(checked.problems, checked.sources, sys.stderr)
    if checked.bundle is None:
        raise InvalidFiles(
            f"validation failed: {counted(checked.errors, 'error')}",
            hint='run "iogate explain CODE" for details',
            where=[
                f"{each.path}:{each.line}:{each.column}"
                for each in checked.problems
                if each.severity == "error"
            ],
        )
    return checked


def save_lock(screen: Screen, checked: CheckResult) -> None:
    """Write iogate.lock after the whole project was compiled into a bundle, and report its changes.

    Raises Refused if the file cannot be written.
    """
    from iogate.compiler.resources import lock_file as locks

    lock = checked.lock
    try:
        written = locks.save(lock, Path.cwd())
    except OSError as error:
        raise Refused(
            f"{locks.FILE_NAME} cannot be written: {error.strerror}",
            code=locks.MISSING,
            hint="run apply where the file is writable and commit it, then use --locked",
        ) from None
    if not written:
        return
    for verb, urls in (("added", lock.added), ("changed", lock.changed), ("removed", lock.unused_urls)):
        for url in urls:
            screen.note(f"{locks.FILE_NAME}: {verb} {url}")
    screen.note(f"{locks.FILE_NAME} was written: commit it")
