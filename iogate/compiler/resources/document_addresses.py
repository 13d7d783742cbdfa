"""Addresses of documents that workflows name, at compile time; raw addresses of files on GitHub and GitLab.

Used by `document_sources`, `function_addresses`, the checks of calls, and the errors of calls; knows texts
only.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import SplitResult, urlsplit, urlunsplit

REMOTE: Final = re.compile(r"(?!file:)[A-Za-z][A-Za-z0-9+.-]*://")

_EXACT: Final = re.compile(r"[0-9a-f]{7,40}|v?\d+(?:\.\d+)+\S*|HEAD|refs")
"""Names of commits and of versions, as against names of branches."""

_START: Final = r'\$\{\s*"(?P<start>https?://[^/"\\]+/[^"\\]*)'
_MEMBER: Final = r"\.(?P<name>[A-Za-z_]\w*)"
_CONCATENATED: Final = re.compile(
    _START + rf'"\s*\+\s*\(?\s*{_MEMBER}(?:\s*\|\s*(?:tostring|@uri))?\s*\)?\s*'
    r'(?:\+\s*"(?P<end>[^"\\]*)"\s*)?\}'
)
_INTERPOLATED: Final = re.compile(_START + rf'\\\(\s*{_MEMBER}\s*\)(?P<end>[^"\\]*)"\s*\}}')


def is_computed(uri: str) -> bool:
    """Tell whether the address of a document contains an expression or template, resolved at run time."""
    return "${" in uri or "{" in uri


def hostname(url: str) -> str | None:
    """Return the host of the address of a document, behind which expressions may follow; None without one."""
    try:
        return urlsplit(url.strip()).hostname
    except ValueError:
        return None


def as_template(address: str) -> str:
    """Rewrite a document's address `${ "https://host/" + .item }` as an equal URI template, or return ""."""
    found = _CONCATENATED.fullmatch(address.strip()) or _INTERPOLATED.fullmatch(address.strip())
    return "" if found is None else f"{found['start']}{{{found['name']}}}{found['end'] or ''}"


def raw(url: str) -> str:
    """Return the raw address of a file on GitHub or GitLab for that of its page; others unchanged."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url  # whoever asks there is told
    segments = [segment for segment in parts.path.split("/") if segment]
    if parts.hostname in {"github.com", "www.github.com"} and len(segments) > 2:
        return _github(parts, segments)
    if "-" in segments and segments[segments.index("-") + 1 :][:1] in (["tree"], ["blob"]):
        kind = segments.index("-") + 1
        return _at(parts, parts.netloc, [*segments[:kind], "raw", *segments[kind + 1 :]])
    return url


def below(root: str, path: str) -> str:
    """Return the address of a document below a catalog's root, as a machine reads it."""
    if not REMOTE.match(root):
        return f"{root.rstrip('/')}/{path}"
    try:
        parts = urlsplit(root)
    except ValueError:
        return f"{root}/{path}"
    segments = [segment for segment in parts.path.split("/") if segment]
    if parts.hostname in {"github.com", "www.github.com"} and len(segments) == 2:
        segments += ["tree", "HEAD"]
    elif parts.hostname == "gitlab.com" and len(segments) >= 2 and "-" not in segments:
        segments += ["-", "tree", "HEAD"]
    return raw(_at(parts, parts.netloc, [*segments, *path.split("/")]))


def _github(parts: SplitResult, segments: list[str]) -> str:
    owner, repository, *rest = segments
    if rest[0] in {"tree", "blob", "raw"} and len(rest) > 1:
        reference = [rest[1]] if _EXACT.fullmatch(rest[1]) else ["refs", "heads", rest[1]]
        path = rest[2:]
    elif "@" in rest[-1]:
        # The standard's own example: https://github.com/myorg/functions/validateEmailAddress@v1.0.0
        name, _, version = rest[-1].rpartition("@")
        reference, path = [version], [*rest[:-1], name, "function.yaml"]
    else:
        return urlunsplit(parts)
    return _at(parts, "raw.githubusercontent.com", [owner, repository, *reference, *path])


def _at(parts: SplitResult, host: str, segments: list[str]) -> str:
    return urlunsplit((parts.scheme, host, "/" + "/".join(segments), parts.query, ""))
