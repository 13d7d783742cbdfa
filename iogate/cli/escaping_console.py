"""A Rich console that escapes control characters of the texts that it renders.

Used only by `iogate.cli.render`; a separate module since importing Rich is slow. Control codes that Rich
itself emits, such as colours and cursor movements, are segments of another kind and are kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.segment import Segment

from iogate.security.control_characters import escape


class EscapingConsole(Console):
    """Rich console that escapes all rendered text."""

    def render(self, renderable: Any, options: Any = None) -> Iterable[Segment]:
        """Yield the segments that the console renders, with their text escaped."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=escape(segment.text))
