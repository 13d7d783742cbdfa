"""Templates of the console, and the headers that confine each page.

Used by every route of the console. Invariants: each value that a template inserts is escaped, with control
characters made visible, and a name that a template does not know is an error; no browser stores a page,
runs a script that is not a file of the console, sends a request to another origin, or shows a page in a
frame.
"""

from __future__ import annotations

import asyncio
import functools
import gzip
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from iogate.gateway.console import formatting, timeline
from iogate.gateway.console.static_files import static_files
from iogate.gateway.http.responses import Response
from iogate.security.control_characters import escape
from iogate.version import __version__

if TYPE_CHECKING:
    import jinja2

FOLDER: Final = Path(__file__).parent / "templates"
CONTENT_TYPE: Final = b"text/html; charset=utf-8"
POLICY: Final = (
    b"default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    b"form-action 'self'; frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; "
    b"trusted-types 'none'"
)
SECURITY: Final = (
    (b"content-security-policy", POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    # With no-referrer, browsers would send forms with `Origin: null`, also to their own origin.
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=()"),
    (b"x-robots-tag", b"noindex, nofollow"),
    (b"vary", b"Cookie, Accept-Encoding"),
)
GZIP: Final = (b"content-encoding", b"gzip")
_LEAST_PACKED: Final = 1_000


@functools.cache
def environment() -> jinja2.Environment:
    """Return the Jinja environment of all templates of the console."""
    import jinja2  # noqa: PLC0415 - gateways whose console nobody opens start without it

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        finalize=_visible,
    )
    made.globals |= {"static": static_files().urls, "release": __version__, "anchor": timeline.anchor}
    made.filters |= {
        name: getattr(formatting, name)
        for name in ("exact", "clock", "ago", "duration", "between", "count", "size", "json_text")
    }
    return made


def _visible(value: Any) -> Any:
    """Return a value as a console template inserts it: nothing for None, control characters escaped."""
    if value is None:
        return ""
    return escape(value) if type(value) is str else value


def render(template: str, values: Mapping[str, Any]) -> str:
    """Render a template of the console. Raises UndefinedError of Jinja for a name that `values` lack."""
    return environment().get_template(template).render(values)


async def page(
    template: str,
    values: Mapping[str, Any],
    *,
    status: int = 200,
    headers: Iterable[tuple[bytes, bytes]] = (),
    packed: bool = False,
) -> Response:
    """Render a template in a thread, and return the response with the page, compressed if `packed`.

    A page of a large run takes tens of milliseconds, so a thread renders it, and calls do not wait.
    """
    return await asyncio.to_thread(respond, template, values, status=status, headers=headers, packed=packed)


def respond(
    template: str,
    values: Mapping[str, Any],
    *,
    status: int = 200,
    headers: Iterable[tuple[bytes, bytes]] = (),
    packed: bool = False,
) -> Response:
    """Render a template at once, and return the response with the small page, as `page` does."""
    content = render(template, values).encode("utf-8", "replace")
    if packed and len(content) >= _LEAST_PACKED:
        content, headers = gzip.compress(content, 5, mtime=0), (*headers, GZIP)
    return Response(status, content, (*SECURITY, *headers), content_type=CONTENT_TYPE)
