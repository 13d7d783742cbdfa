"""Frame of an HTML page: a complete document, with the headers that confine it.

Used by each route that shows a page. Invariants: a page works without a script and loads nothing; no other
site can show it in a frame; following a link from it tells no other site its address, which may be a secret.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from typing import Final

from iogate.gateway.http.responses import Response
from iogate.gateway.pages.markup import Content, element, markup
from iogate.gateway.pages.style import CSS

CONTENT_TYPE: Final = b"text/html; charset=utf-8"
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(CSS.encode()).digest())
POLICY: Final = (
    b"default-src 'none'; style-src 'sha256-" + _STYLE_HASH + b"'; form-action 'self'; "
    b"base-uri 'none'; frame-ancestors 'none'"
)
"""No script, image, font, frame or connection; the style sheet by its hash; forms to the gateway only."""
SECURITY: Final = (
    (b"content-security-policy", POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-robots-tag", b"noindex, nofollow"),
)


def page(
    title: str,
    *content: Content,
    narrow: bool = False,
    status: int = 200,
    headers: Iterable[tuple[bytes, bytes]] = (),
) -> Response:
    """Return the response with an HTML page in the common frame; `content` is that of its `main`.

    `narrow` is for a form or a message. `headers` are sent in addition to `Cache-Control: no-store` and
    `SECURITY`.
    """
    return Response(
        status, document(title, *content, narrow=narrow), [*SECURITY, *headers], content_type=CONTENT_TYPE
    )


def document(title: str, *content: Content, narrow: bool = False) -> bytes:
    """Return the HTML document of a page, encoded: its frame, head, style and `main`."""
    main = element("main", *content, class_="narrow" if narrow else None)
    head = markup(
        [
            element("meta", charset="utf-8"),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("title", title),
        ]
    )
    # The style sheet is a constant of this package; its hash in POLICY is that of exactly this text.
    text = (
        f'<!doctype html>\n<html lang="en"><head>{head}<style>{CSS}</style></head>'
        f"<body>{main}</body></html>\n"
    )
    return text.encode()
