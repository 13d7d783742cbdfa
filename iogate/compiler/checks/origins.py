"""Check of the origins of fetched documents: permissions of functions, and unsafe addresses.

Called by `compile` for documents of the project, and by `resources` for functions that it fetched. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import unquote, urlsplit

from iogate.compiler.checked_definition import Definition
from iogate.compiler.checks.processes import kind_of as process_kind
from iogate.compiler.diagnostics import CheckContext, problem_at
from iogate.compiler.resources.document_addresses import below, is_computed, raw
from iogate.compiler.tasks import Emit, Listen, Task, Unresolved
from iogate.documents.problems import Problem
from iogate.json_pointer import Pointer
from iogate.messages import quoted

NOT_NAMED: Final = "IOG324"
PLAIN_HTTP: Final = "IOG518"
UNPINNED: Final = "IOG519"

_LOOPBACK = re.compile(r"localhost|127(\.[0-9]{1,3}){3}|::1")
_REFERENCE = (
    # Where a forge has the branch, tag or commit in the path of a file's bytes.
    re.compile(r"https?://raw\.githubusercontent\.com/[^/]+/[^/]+/(?P<ref>refs/(?:heads|tags)/[^/]+|[^/]+)/"),
    re.compile(r"https?://[^/]+/.+?/-/raw/(?P<ref>[^/?]+)/"),
)
_PINNED = re.compile(r"[0-9a-f]{7,64}|refs/tags/.*|v?[0-9]+(\.[0-9]+)*([-+.][0-9A-Za-z.-]+)?")


def check(definition: Definition, context: CheckContext) -> Iterator[Problem]:
    """Warn of origins where documents can be changed on the way, or change by themselves."""
    del context
    document = definition.document
    for pointer, uri in _addresses(definition):
        try:
            parts = urlsplit(uri)
        except ValueError:
            continue  # whatever fetches it says so
        if parts.scheme == "http" and not _LOOPBACK.fullmatch(parts.hostname or ""):
            yield problem_at(
                document,
                pointer,
                PLAIN_HTTP,
                f"{uri} is fetched without encryption: anybody on the way can change what it says",
                severity="warning",
                hint="use https://",
            )
        read = below(uri, "x") if pointer[:2] == ("use", "catalogs") else raw(uri)
        ref = next((found["ref"] for each in _REFERENCE if (found := each.match(read))), None)
        if ref is not None and not _PINNED.fullmatch(ref):
            yield problem_at(
                document,
                pointer,
                UNPINNED,
                f"{uri} follows the branch {quoted(ref.removeprefix('refs/heads/'))}: each push changes it",
                severity="warning",
                hint="name a tag or a commit in place of the branch",
            )


def _addresses(definition: Definition) -> Iterator[tuple[Pointer, str]]:
    """Yield literal URLs of the origins of documents that become part of the revision."""
    for resource in definition.index.resources:
        uri = resource.element.uri
        if uri.startswith(("http://", "https://")) and not is_computed(uri):
            yield (*resource.pointer, "endpoint"), uri
    for task in definition.index.tasks:
        if isinstance(task.body, Unresolved) and task.body.call.startswith(("http://", "https://")):
            yield (*task.location, "call"), task.body.call


def unpermitted(function: Definition, url: str, origins: Sequence[str]) -> Iterator[Problem]:
    """Report each task of a fetched function that needs an origin with its URL, if no origin names it.

    Such a task starts a process or a workflow, or takes part in the events of all workflows of the store.
    """
    if is_named(url, origins):
        return
    for task in function.index.tasks:
        if action := _action(task):
            yield problem_at(
                function.document,
                (*task.location, task.kind),
                NOT_NAMED,
                f"an external function {action}, and the setting function_origins does not name {url}",
                hint="read the function; if you trust who keeps it, "
                "add the start of its URL to function_origins",
            )


def _action(task: Task) -> str:
    """Return the action of a fetched function's task that its origin must be permitted, or ""."""
    match task.body:
        case Emit():
            return "emits an event"
        case Listen():
            return "listens for events"
        case _:
            return f"runs a {kind}" if (kind := process_kind(task)) else ""


def is_named(url: str, origins: Sequence[str]) -> bool:
    """Tell whether one of the origins, as the setting `function_origins` has them, names a URL."""
    return any(is_below(url, each) for origin in origins for each in (origin, _read_from(origin)))


def _read_from(origin: str) -> str:
    """Return where the files of an owner, a repository or a folder on GitHub or GitLab are read from."""
    parts = urlsplit(origin)
    if parts.hostname in {"github.com", "www.github.com"} and parts.path.strip("/").count("/") < 2:
        return f"https://raw.githubusercontent.com{parts.path}"
    return raw(origin)


def is_below(url: str, prefix: str) -> bool:
    """Tell whether a URL is that of an origin or continues it at the border of a path segment."""
    ours, theirs = urlsplit(prefix), urlsplit(url)
    if (ours.scheme, ours.netloc.lower()) != (theirs.scheme, theirs.netloc.lower()):
        return False
    path = unquote(theirs.path)
    if any(segment in {".", ".."} for segment in re.split(r"[/\\]", path)):
        return False  # a server may read such a path as another one
    base = unquote(ours.path).rstrip("/")
    return path == base or path.startswith(base + "/")
