"""`iogate init` and `iogate new`: create the files of a project.

Invariant: existing files are not overwritten; a method is added to the file of a module only if that is
still the one that was read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from iogate.cli import panels
from iogate.cli.documents.schema_files import Kind, schema_comment, write_schemas
from iogate.cli.project import file_templates, module_file
from iogate.cli.render import prints_to_stderr
from iogate.cli.session import Session, command
from iogate.errors import Misused, NotFound, Refused
from iogate.settings import FILE_NAME, Settings, permissions

if TYPE_CHECKING:
    from iogate.documents import Documents

APIS = Path("apis.d")
WORKFLOWS = Path("workflows.d")

group = typer.Typer(help="Create a new API or workflow.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    command(app, "init", rich_help_panel=panels.DOCUMENTS)(init)
    app.add_typer(group, name="new", rich_help_panel=panels.DOCUMENTS)


def init(
    session: Session,
    folder: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="Folder of the project; created if it is missing.")
    ] = Path(),
) -> None:
    """Create a first project, by default in this folder; existing files are kept.

    Raises Misused for a folder that cannot be made or entered, Refused for a file that cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.chdir(folder)
    except OSError as error:
        raise Misused(f"{folder}: {error.strerror}", hint="give a folder, or the path of a new one") from None
    files: dict[Path, tuple[Kind, str]] = {
        Path(FILE_NAME): ("settings", file_templates.SETTINGS),
        APIS / "hello.yaml": ("api", file_templates.HELLO_API),
        WORKFLOWS / "hello.yaml": ("workflow", file_templates.HELLO_WORKFLOW),
    }
    created = [
        path for path, (kind, text) in files.items() if _create(path, schema_comment(path, kind) + text)
    ]
    write_schemas()
    ignore = Path(".gitignore")
    with _accessed(ignore):
        ignored = ignore.read_bytes() if ignore.is_file() else b""  # of any encoding, as for git
        if b".iogate/" not in ignored.splitlines():
            separator = b"\n" if ignored and not ignored.endswith(b"\n") else b""
            ignore.write_bytes(ignored + separator + b".iogate/\n")
            created.append(ignore)
    kept = [path for path in files if path not in created]
    session.screen.data(
        "init",
        {"created": [str(path) for path in created], "kept": [str(path) for path in kept]},
        [f"created {path}" for path in created] + [f"kept    {path}" for path in kept],
    )
    if not created:
        session.screen.note("all files exist already: nothing was changed")
    enter = "" if folder == Path() else f'"cd {folder}", then '
    session.screen.note(f'next: {enter}"iogate up" serves it, "iogate test" tries it without a server')


@command(group, "api")
def new_api(
    session: Session,
    api: Annotated[str, typer.Argument(metavar="MODULE/METHOD")],
    script: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Run this Python script on each call; it is created if it is missing."
        ),
    ] = None,
    function: Annotated[
        str | None, typer.Option(metavar="NAME:VERSION", help="Call this Python function.")
    ] = None,
    http: Annotated[str | None, typer.Option(metavar="URL", help="Forward each call to this URL.")] = None,
) -> None:
    """Create an API, its workflow and a debug case.

    A file that has the module already is extended.

    Raises:
        Misused: the id or an option is wrong.
        InvalidFiles: the file of the module is invalid.
        Refused: a file, the method or the workflow exists already, or a file cannot be read or written.
    """
    from iogate.documents import load

    module, method = parse_api_id(api)
    if sum(each is not None for each in (script, function, http)) > 1:
        raise Misused("--script, --function and --http cannot be combined")
    settings = session.settings()
    namespace, name = _dns_label(module), _dns_label(method)
    workflow_path = WORKFLOWS / module / f"{method}.yaml"
    task, case = _task(session, settings, workflow_path, script, function, http)
    reference = f"{namespace}/{name}"
    documents = load(Path.cwd())
    _require_new(documents, reference, api)
    api_path = module_file.find(documents, module, default=APIS / f"{module}.yaml")
    before = _read(api_path)
    if before is None:
        text = schema_comment(api_path, "api") + file_templates.api(module, method, reference, case=case)
    else:
        block = file_templates.method_block(method, reference, case=case)
        text = module_file.extend(api_path, before, module, method, block, workflow=reference)
    exists = Refused(f"{workflow_path} exists already", hint="move it away, or choose another method")
    if workflow_path.exists():
        raise exists
    with _accessed(api_path):
        api_path.parent.mkdir(parents=True, exist_ok=True)
    # First, so that an error leaves no workflow without its API, which the next attempt would refuse.
    scripts = [script] if script is not None and _create(script, file_templates.SCRIPT) else []
    if not _create_workflow(workflow_path, namespace, name, task):
        raise exists
    created = [workflow_path, *scripts]
    try:
        _save(api_path, before, text)
    except Refused:
        workflow_path.unlink(missing_ok=True)  # the next attempt would refuse it
        raise
    verb = "created" if before is None else "changed"
    session.screen.data(
        "new.api",
        {"api": api, "workflow": reference, "files": [str(each) for each in (api_path, *created)]},
        [f"{verb} {api_path}", *(f"created {each}" for each in created)],
    )
    if before is not None and module_file.is_open(api_path, text, method):
        session.screen.warn(
            f"everyone can call {api}: the auth of module {module} in {api_path} asks for no credentials;"
            " give the method an auth of its own, such as auth: {token: {env: NAME}}"
        )
    if script is not None and script not in created:
        session.screen.note(
            f"the debug case in {api_path} has an empty body: replace it by an input of {script}"
        )
    session.screen.note(
        f"next, in {Path.cwd()}: iogate validate; iogate test {api}; iogate apply; iogate enable {api}"
    )


@command(group, "workflow")
def new_workflow(
    session: Session,
    workflow: Annotated[str, typer.Argument(metavar="NAMESPACE/NAME")],
) -> None:
    """Create a workflow with one task.

    Raises:
        Misused: the name is wrong.
        Refused: the workflow exists already, or a file cannot be written.
    """
    from iogate.documents import load

    namespace, slash, name = workflow.partition("/")
    label = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
    if not slash or not label.fullmatch(namespace) or not label.fullmatch(name):
        raise Misused(
            f"{workflow}: expected NAMESPACE/NAME, each of a-z, 0-9 and -, of at most 63 characters"
        )
    path = WORKFLOWS / namespace / f"{name}.yaml"
    _require_new(load(Path.cwd()), workflow)
    task, _ = file_templates.set_task()
    if not _create_workflow(path, namespace, name, task):
        raise Refused(f"{path} exists already", hint="move it away, or choose another name")
    session.screen.data("new.workflow", {"workflow": workflow, "files": [str(path)]}, [f"created {path}"])
    session.screen.note(f"next, in {Path.cwd()}: iogate validate; iogate run {path}")


def _require_new(documents: Documents, workflow: str, api: str | None = None) -> None:
    """Raise Refused if a file of the project defines the workflow or API that `iogate new` would create."""
    from iogate.documents import ApiDocument

    for document in (*documents.apis, *documents.workflows, *documents.placeholders):
        if isinstance(document, ApiDocument):
            exists = api in {f"{document.model.module}/{name}" for name in document.model.methods}
        else:
            head = document.data.get("document")
            exists = isinstance(head, dict) and f"{head.get('namespace')}/{head.get('name')}" == workflow
        if exists:
            what = f"API {api}" if isinstance(document, ApiDocument) else f"workflow {workflow}"
            raise Refused(
                f"{what} exists already, in {document.path}",
                hint="change that file, or choose another name",
            )


def parse_api_id(api: str) -> tuple[str, str]:
    """Split the id of a new API into module and method, which are also parts of a URL path.

    Raises:
        Misused: the id is not MODULE/METHOD with allowed characters.
    """
    module, slash, method = api.partition("/")
    part = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?")
    if not slash or not part.fullmatch(module) or not part.fullmatch(method):
        raise Misused(
            f"{api}: expected MODULE/METHOD, each of 1 to 63 letters, digits, - or _, "
            "with a letter or digit at both ends"
        )
    return module, method


def _dns_label(text: str) -> str:
    """Convert a part of the id of a new API to a DNS label, as the DSL requires for names."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "x"


@contextmanager
def _accessed(path: Path) -> Iterator[None]:
    """Raise Refused for an error of reading or writing a file of the new project in the block."""
    try:
        yield
    except OSError as error:
        raise Refused(
            f"{error.filename or path}: cannot be read or written: {error.strerror}",
            code="IOG721",
            hint="give yourself the permission to read and write it, or move away what is in its place",
        ) from None


def _read(path: Path) -> str | None:
    """Return the text of a file that `iogate new` extends, with its line ends; None if there is none.

    Raises InvalidFiles if it is not UTF-8, Refused if it cannot be read.
    """
    try:
        with _accessed(path):
            return path.read_bytes().decode() if path.exists() or path.is_symlink() else None
    except UnicodeDecodeError:
        raise module_file.invalid(path) from None


def _save(path: Path, before: str | None, text: str) -> None:
    """Write the file of a module that `iogate new api` creates, or extends as it was read.

    Raises Refused if it has changed since then, or cannot be written.
    """
    from iogate.atomic_files import write_atomically

    if before is None:
        changed = not _create(path, text)
    else:
        with _accessed(path):
            file = path.resolve() if path.is_symlink() else path
            with file.open("r+b") as stream:  # as an editor would: a file without permission to write stays
                changed = stream.read() != before.encode()
            if not changed:
                write_atomically(file, text, mode=file.stat().st_mode & 0o7777)
    if changed:
        raise Refused(f"{path} has changed meanwhile", hint="run the command again")


def _create(path: Path, text: str) -> bool:
    """Create a file of the new project; return False if it exists. Raises Refused if it cannot be written."""
    with _accessed(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            return False
    return True


def _create_workflow(path: Path, namespace: str, name: str, task: str) -> bool:
    """Create the file of a new workflow, and the schema that it names for editors."""
    write_schemas()
    return _create(path, schema_comment(path, "workflow") + file_templates.workflow(namespace, name, task))


def _task(
    session: Session,
    settings: Settings,
    workflow_path: Path,
    script: Path | None,
    function: str | None,
    http: str | None,
) -> tuple[str, str]:
    """Return task and case of a new API, as at most one of its options says.

    Raises Misused for a wrong script or URL, NotFound for an unknown function.
    """
    if script is not None:
        found = _script(script, workflow_path)
        if permissions.lists_digests(settings.allow_run, "script"):
            session.screen.warn(
                f'allow_run in {FILE_NAME} lists scripts by digest: "iogate digests" prints that of {script}'
            )
        elif not permissions.allows_kind(settings.allow_run, "script"):
            session.screen.warn(f'allow_run has no "script": add it in {FILE_NAME} before "iogate apply"')
        return found
    if function is not None:
        return _function(settings, function)
    if http is not None:
        if not re.fullmatch(r"https?://[^\s/?#]+\S*", http):
            raise Misused(f"--http {http}: expected a URL with http:// or https://")
        return file_templates.http_task(http)
    return file_templates.set_task()


def _script(script: Path, workflow_path: Path) -> tuple[str, str]:
    """Return task and case of a new API for a script; raise Misused if `validate` would not read its file."""
    root = Path.cwd()
    within = (root, APIS.resolve(), WORKFLOWS.resolve())  # these two folders may be links
    leads_out = Path(os.path.relpath(script)).parts[0] == ".."
    if leads_out or not any(map(script.resolve().is_relative_to, within)):
        raise Misused(
            f"--script {script}: it is outside the project {root}; only files of the project become part "
            "of a revision"
        )
    if script.exists() and not script.is_file():
        raise Misused(f"--script {script}: not a file")
    path = Path(os.path.relpath(script, workflow_path.parent)).as_posix()
    # An endpoint is a URI reference, in which other characters than these stand for themselves.
    endpoint = re.sub(r"""[\x00-\x20"#%<>?\[\\\]^`{|}\x7f]""", lambda each: f"%{ord(each[0]):02X}", path)
    return file_templates.script_task(endpoint)


def _function(settings: Settings, reference: str) -> tuple[str, str]:
    from iogate.functions import load

    name, colon, version = reference.partition(":")
    if not colon:
        raise Misused(f"--function {reference}: expected NAME:VERSION, for example greet:1.0.0")
    with prints_to_stderr():
        registry = load(settings.functions, Path.cwd())
    function = registry.get(name, version)
    if function is None:
        known = ", ".join(each.reference.removesuffix("@default") for each in registry)
        raise NotFound(
            f"--function {reference}: no such function; "
            + (f"there are {known}" if known else 'the setting "functions" names no module with functions'),
        )
    return file_templates.function_task(reference, function.input_schema)
