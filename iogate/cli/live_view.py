"""Results that are read and printed again until Ctrl-C, for `--watch` of `runs list` and `status`.

On a terminal each result replaces the one before; elsewhere it is printed after an empty line if it differs.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final

from iogate.cli.render import (
    Output,
    Screen,
    Table,
    console,
    is_capable_terminal,
    plain_table,
    result_stream,
    write_stdout,
)
from iogate.errors import Misused, NotFound, Unreachable

if TYPE_CHECKING:
    from typing import NoReturn

INTERVAL_S: Final = 2.0


def check(screen: Screen) -> None:
    """Check that a watched result is text. Raises Misused if JSON or YAML is chosen."""
    if screen.output is not Output.TEXT or screen.selection is not None:
        raise Misused("--watch prints text; it cannot be combined with -o, --json and --jq")


async def watch(screen: Screen, read: Callable[[], Awaitable[Sequence[Table | str]]]) -> NoReturn:
    """Print the result of `read` for `--watch` again and again; its error if the system is out of reach.

    It also prints the error of a name that became unknown, such as that of a workflow whose last run was
    deleted. Raises NotFound or Misused for a name that is unknown from the start.
    """
    shown: str | None = None
    has_read = False
    while True:
        try:
            parts = await read()
            has_read = True
        except Unreachable as error:
            parts = [error.message]
        except (NotFound, Misused) as error:
            if not has_read:
                raise
            parts = [error.message]
        if is_capable_terminal(sys.stdout):
            console(result_stream()).clear()
            for part in parts:
                screen.show(part)
        else:
            text = "\n".join(plain_table(part) if isinstance(part, Table) else part for part in parts)
            if text != shown:
                write_stdout(text if shown is None else f"\n{text}")
            shown = text
        await asyncio.sleep(INTERVAL_S)
