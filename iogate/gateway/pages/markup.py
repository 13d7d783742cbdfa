"""HTML elements from Python values, with all text escaped.

Used by each page of the gateway. Invariant: `element` inserts nothing verbatim except `Markup` that it has
made itself, so that no text from a document or a caller becomes an element, an attribute or a script.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from iogate.security.control_characters import escape


class Markup(str):
    """HTML that is complete and escaped. Only this module makes it."""

    __slots__ = ()


Content: TypeAlias = "str | int | Iterable[Content] | None"
"""Content of an element: text, markup, or any number of both; None is nothing."""
Attribute: TypeAlias = str | int | bool | None

_NAME: Final = re.compile(r"[a-z][a-z0-9]*")
_ATTRIBUTE: Final = re.compile(r"[a-z][a-z-]*")
_VOID: Final = frozenset({"br", "hr", "input", "link", "meta"})
_URLS: Final = frozenset({"action", "href", "src", "formaction"})
_SCHEMES: Final = frozenset({"", "http", "https", "mailto"})
_REFUSED: Final = frozenset({"script", "style", "iframe", "object", "embed", "base"})
"""Elements whose content browsers do not read as escaped text, or that load or redirect."""


def element(name: str, /, *content: Content, **attributes: Attribute) -> Markup:
    """Return one HTML element as markup.

    An attribute is named as in HTML, with `_` for `-` and an optional `_` at the end (`class_`). True gives
    an attribute without a value, False and None give none. Raises ValueError for a name that a page must not
    have (scripts, styles, event handlers), for content of an element without content, and for a URL with a
    scheme that could execute.
    """
    if not _NAME.fullmatch(name) or name in _REFUSED:
        raise ValueError(f"a page has no element {name!r}")
    opening = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        if content:
            raise ValueError(f"the element {name} has no content")
        return Markup(f"<{name}{opening}>")
    return Markup(f"<{name}{opening}>{markup(content)}</{name}>")


def markup(content: Content) -> Markup:
    r"""Return content as markup: text is escaped, with control characters shown as `\u001b`."""
    if content is None:
        return Markup()
    if isinstance(content, Markup):
        return content
    if isinstance(content, str | int):
        return Markup(html.escape(escape(str(content))))
    return Markup("".join(map(markup, content)))


def _attribute(key: str, value: Attribute) -> str:
    name = key.removesuffix("_").replace("_", "-")
    if not _ATTRIBUTE.fullmatch(name) or name.startswith("on") or name in ("style", "srcdoc"):
        raise ValueError(f"a page has no attribute {name!r}")
    if value is None or value is False:
        return ""
    if value is True:
        return f" {name}"
    text = str(value)
    if name in _URLS and not _is_harmless(text):
        raise ValueError(f"a page has no URL of this kind in {name}")
    return f' {name}="{html.escape(escape(text))}"'


def _is_harmless(url: str) -> bool:
    """Tell whether a URL in markup is relative, or one that a browser only opens."""
    try:
        return urlsplit(url).scheme in _SCHEMES and not url[:1].isspace() and url.isprintable()
    except ValueError:
        return False
