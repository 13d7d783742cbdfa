"""Files of a project, made of a published revision, which plan as no change.

Called by the command `export`. Pure. Invariants: every path stays in the folder; a secret appears as in the
revision, as a reference or a hash; what a revision does not keep is named.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final

import msgspec

from iogate.compiler.resources.document_addresses import REMOTE, is_computed
from iogate.compiler.revision import Api, Bundle, resource_digest, resource_name
from iogate.compiler.variables import KEY as RESOLVED
from iogate.compiler.variables import embedded
from iogate.errors import Refused
from iogate.json_pointer import join
from iogate.reconcile.document_form import api_form

UNSAFE = "IOG714"
_FOLDERS: Final = ("apis.d", "workflows.d")
_SUFFIXES: Final = (".yaml", ".yml")
_OWN: Final = re.compile(r"/\.git(/|$)|^/(\.iogate(/|$)|iogate(\.[^/]*)?\.(yaml|lock)$)", re.IGNORECASE)
"""Paths of the repository and of the settings, whose content decides about what is executed."""
_DEFAULTS: Final[Mapping[str, Any]] = {
    "verbs": ["POST"],
    "input": {"from": "body"},
    "retention": "7d",
    "protect": False,
    "tags": [],
    "metadata": {},
}


@dataclass(kw_only=True)
class Exported:
    """Exported files of a project by path, with the list of missing parts."""

    documents: dict[str, Any] = field(default_factory=dict)
    """Documents, as JSON values."""
    contents: dict[str, bytes] = field(default_factory=dict)
    """Scripts and other files, as they were."""
    variables: dict[str, Any] = field(default_factory=dict)
    """Values of `$runtime.vars` that workflows read; part of the settings."""
    missing: list[str] = field(default_factory=list)
    """Files that documents name and a revision does not keep, as messages."""


def export(bundle: Bundle) -> Exported:
    """Export a revision: return its files, with the paths that its documents had.

    Raises Refused if a path leads out of the folder.
    """
    found = Exported()
    for name, workflow in sorted(bundle.revision.workflows.items()):
        _add_workflow(found, bundle, name, workflow.source)
    _add_apis(found, bundle)
    return found


def _add_workflow(found: Exported, bundle: Bundle, name: str, source: str) -> None:
    program = msgspec.json.decode(bundle.programs[bundle.revision.workflows[name].program])
    path = source if _is_free(found, source) else f"workflows.d/{name.replace(':', '-')}.yaml"
    definition = {key: value for key, value in program.items() if key != RESOLVED}
    found.documents[path] = _restored(found, bundle, definition, path)
    found.variables.update(embedded(program))
    references = program.get(RESOLVED, {})
    for uri in references.get("documents", {}).values():
        _restored(found, bundle, uri, path)
    for address, function in references.get("functions", {}).items():
        if not REMOTE.match(address):
            inside = _inside(address)
            found.documents[inside] = _restored(found, bundle, function, inside)
    for place, endpoint in _openapi_documents(definition, ()):
        where = posixpath.normpath(posixpath.join(posixpath.dirname(path), endpoint.removeprefix("file:")))
        if where not in found.contents:
            found.missing.append(f"{where}, which {name} names at {place}")


def _restored(found: Exported, bundle: Bundle, value: Any, path: str) -> Any:
    """Return a part of an exported document with its author's addresses; keep the files behind them."""
    match value:
        case dict():
            return {name: _restored(found, bundle, item, path) for name, item in value.items()}
        case list():
            return [_restored(found, bundle, item, path) for item in value]
        case str() if (name := resource_name(value)) is not None:
            if REMOTE.match(name):
                return name
            digest = resource_digest(value)
            found.contents[_inside(name)] = bundle.contents[digest or ""]
            return posixpath.relpath(name, posixpath.dirname(path) or ".")
        case _:
            return value


def _openapi_documents(value: Any, at: tuple[str | int, ...]) -> Iterator[tuple[str, str]]:
    """Yield place and address of each OpenAPI document to export; only its operations are kept."""
    match value:
        case {"call": "openapi", "with": {"document": {"endpoint": endpoint}}}:
            uri = endpoint.get("uri") if isinstance(endpoint, Mapping) else endpoint
            if isinstance(uri, str) and not REMOTE.match(uri) and not is_computed(uri):
                yield join((*at, "with", "document", "endpoint")), uri
        case dict():
            for name, item in value.items():
                yield from _openapi_documents(item, (*at, name))
        case list():
            for number, item in enumerate(value):
                yield from _openapi_documents(item, (*at, number))


def _add_apis(found: Exported, bundle: Bundle) -> None:
    files: dict[tuple[str, str], dict[str, Any]] = {}
    """Methods by source and module."""
    for _, api in sorted(bundle.revision.apis.items()):
        module, _, method = api.id.partition("/")
        files.setdefault((api.source, module), {})[method] = _method(bundle, api)
    for (source, module), methods in files.items():
        path = source if _is_free(found, source) else f"apis.d/{module}.yaml"
        if path in found.documents:
            path = f"apis.d/{module}-{len(found.documents)}.yaml"
        found.documents[path] = {"module": module, "methods": methods}


def _method(bundle: Bundle, api: Api) -> dict[str, Any]:
    """Return a method to export, without defaults and without the input schema of its workflow."""
    form = api_form(api)
    workflow = bundle.revision.workflows.get(api.workflow)
    if workflow is not None:
        program = msgspec.json.decode(bundle.programs[workflow.program])
        inherited = ((program.get("input") or {}).get("schema") or {}).get("document")
        if inherited is not None and inherited == api.input_schema:
            form["input"].pop("schema")
    default = api_form(Api(id=api.id, workflow=api.workflow, program="", auth=api.auth))
    for name in ("limits", "idempotency"):
        form[name] = {key: value for key, value in form[name].items() if value != default[name].get(key)}
        if not form[name]:
            del form[name]
    if api.idempotency.key_pointer is not None and api.idempotency.header is not None:
        form["idempotency"]["header"] = api.idempotency.header  # beside a pointer it has no default
    return {name: value for name, value in form.items() if value != _DEFAULTS.get(name, _ALWAYS)}


_ALWAYS: Final = object()
"""Not equal to any value."""


def _is_free(found: Exported, source: str) -> bool:
    """Tell whether an exported path can be that of another document."""
    path = PurePosixPath(source)
    return (
        source not in found.documents
        and path.parts[:1] in {(folder,) for folder in _FOLDERS}
        and ".." not in path.parts
        and path.suffix in _SUFFIXES
        and "\0" not in source
    )


def _inside(name: str) -> str:
    """Return the path of an exported file, within the project.

    Raises Refused if it leads out of the project, or git or iogate would read it as their own.
    """
    path = PurePosixPath(posixpath.normpath(name))
    if _OWN.search(f"/{path}") is not None:
        raise Refused(
            f"the revision names the file {name[:200]!r}, which is no file of a workflow", code=UNSAFE
        )
    if path.is_absolute() or path.parts[:1] in {("..",), ()} or "\0" in name:
        raise Refused(
            f"the revision names the file {name[:200]!r}, which is outside of the project", code=UNSAFE
        )
    return str(path)
