"""`iogate validate`, `schema`, `explain`: commands for documents, before they are live."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from iogate.cli import completion, panels
from iogate.cli.documents.bundle import check_documents
from iogate.cli.documents.explanations import load_explanations
from iogate.cli.documents.problem_display import problem_json, show_problems
from iogate.cli.documents.schema_files import FOLDER, KINDS, Kind, packaged_schema, write_schemas
from iogate.cli.options import PathsArgument
from iogate.cli.render import Output, Table, console, is_capable_terminal, write_stdout
from iogate.cli.reports.problem_report import FORMATS, ProblemReport, settings_problems
from iogate.cli.session import Session, command
from iogate.errors import InvalidFiles, Misused, NotFound
from iogate.messages import counted


def register(app: typer.Typer) -> None:
    command(app, "validate", formats=FORMATS, rich_help_panel=panels.DOCUMENTS)(validate)
    command(app, "schema", rich_help_panel=panels.DOCUMENTS)(schema)
    command(app, "explain", rich_help_panel=panels.DOCUMENTS)(explain)


def validate(
    session: Session,
    paths: PathsArgument = None,
    allow_unsupported: Annotated[
        bool,
        typer.Option(
            "--allow-unsupported",
            help="Only warn of features that this release lacks or the settings forbid.",
        ),
    ] = False,
) -> None:
    """Validate documents, and report all problems with their positions.

    Raises:
        InvalidFiles: a document or a setting has an error.
    """
    settings, wrong = None, None
    try:
        settings = session.settings()
    except InvalidFiles as error:
        wrong = error
    checked = check_documents(settings, paths=paths or None, allow_unsupported=allow_unsupported)
    files, errors = len(checked.documents.sources), checked.errors
    warnings = len(checked.problems) - errors
    if session.screen.output is Output.TEXT:
        show_problems(checked.problems, checked.sources, sys.stdout)
    else:
        session.screen.data(
            "validate",
            {
                "ok": not errors and wrong is None,
                "files": files,
                "errors": errors,
                "warnings": warnings,
                "problems": [problem_json(each) for each in checked.problems],
                "settings": [] if wrong is None else wrong.message.splitlines(),
            },
            formats=ProblemReport(
                command="validate",
                files=tuple(checked.documents.sources),
                problems=(
                    *([] if wrong is None else settings_problems(wrong.message, wrong.code)),
                    *checked.problems,
                ),
            ).formats(),
        )
    if not files and wrong is None:
        where = ", ".join(map(str, paths or ("apis.d", "workflows.d")))
        session.screen.warn(f"nothing to check: no files found in {where} of {Path.cwd()}")
        return
    session.screen.note(
        f"{counted(files, 'file')}: {counted(errors, 'error')}, {counted(warnings, 'warning')}"
    )
    if wrong is not None:
        raise InvalidFiles(
            wrong.message,
            code=wrong.code,
            hint="correct the settings and validate again: checks that depend on them were skipped",
        )
    if errors:
        raise InvalidFiles(
            f"validation failed: {counted(errors, 'error')}",
            hint='run "iogate explain CODE" for details',
        )


def schema(
    session: Session,
    kind: Annotated[
        Kind | None, typer.Argument(help="Kind of document; without it, all with --write.")
    ] = None,
    write: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write the schema as a file into this folder, for editors."),
    ] = None,
) -> None:
    """Print the JSON Schema of a kind of document, for editors, or write the schemas as files.

    Raises:
        Misused: there is neither a kind nor a folder.
        Refused: a file cannot be written.
    """
    if write is not None:
        kinds = KINDS if kind is None else (kind,)
        written = write_schemas(write, kinds)
        session.screen.data(
            "schema", {"written": [str(path) for path in written]}, [f"wrote {path}" for path in written]
        )
        if not written:
            session.screen.note(f"the schemas in {write} are up to date")
        return
    if kind is None:
        raise Misused(f"give a kind of document: {', '.join(KINDS)}; or --write {FOLDER}, which writes all")
    text = packaged_schema(kind)
    if session.screen.output is Output.YAML:
        from iogate.cli.render import to_yaml

        write_stdout(to_yaml(json.loads(text)), end="")
    else:
        # Without the `schema` envelope of other commands: editors read this file directly.
        write_stdout(text, end="")


def explain(
    session: Session,
    code: Annotated[
        str | None,
        typer.Argument(help="Code such as IOG101; default: list all codes.", autocompletion=completion.codes),
    ] = None,
) -> None:
    """Explain an error code: its meaning, an example, and the remedy.

    Raises:
        NotFound: there is no such code.
    """
    from iogate.settings.lint_rules import LINT_RULES

    sections = load_explanations()
    if code is None:
        rows = [(each, LINT_RULES.get(each, "error"), title) for each, (title, _) in sections.items()]
        columns = ("code", "severity", "title")
        session.screen.data(
            "explain",
            {"codes": [dict(zip(columns, row, strict=True)) for row in rows]},
            [Table(columns=columns, rows=rows)],
        )
        return
    wanted = code.upper()
    if wanted not in sections:
        raise NotFound(f"unknown error code {code}", hint='list all codes with "iogate explain"')
    title, text = sections[wanted]
    if session.screen.output is Output.TEXT and is_capable_terminal(sys.stdout):
        from rich.markdown import Markdown

        console(sys.stdout).print(Markdown(f"## {wanted}: {title}\n\n{text}"))
        return
    session.screen.data(
        "explain", {"code": wanted, "title": title, "text": text}, [f"{wanted}: {title}\n\n{text}"]
    )
