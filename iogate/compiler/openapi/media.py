"""Media types of an operation: which to send, which to ask for. Used by `document` and `version2`."""

from __future__ import annotations

from collections.abc import Iterable


def preferred(media: Iterable[str]) -> str:
    """Choose the media type of an OpenAPI request body: the one that carries JSON values best."""
    offered = [str(each) for each in media]

    def rank(name: str) -> int:
        kind = name.partition(";")[0].strip().lower()
        ranks = ("application/json", "application/x-www-form-urlencoded", "multipart/form-data")
        if kind in ranks:
            return 2 * ranks.index(kind)
        if kind.endswith("+json"):
            return 1
        return 6 if kind.startswith("text/") else 7

    chosen = min(offered, key=rank)
    return "application/json" if chosen in {"*/*", "application/*"} else chosen


def is_form(media: str) -> bool:
    return media.partition(";")[0].strip().lower() in {
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    }


def accepted(produced: list[str]) -> str:
    """Return the media types that an OpenAPI call accepts: JSON alone if it is offered."""
    for media in produced:
        kind = media.partition(";")[0].strip().lower()
        if kind == "application/json" or kind.endswith("+json"):
            return media
    return ", ".join(produced) or "*/*"
