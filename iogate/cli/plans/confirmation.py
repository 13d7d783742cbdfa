"""Confirmation of a plan: a question on a terminal, `--yes` elsewhere.

Used by the commands that publish. Invariant: without a terminal and without `--yes`, nothing is changed.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

import typer

from iogate.cli.render import Output, Screen, write_stderr
from iogate.errors import Misused, Refused

UNCONFIRMED = "IOG702"


def confirm(screen: Screen, lines: Sequence[str], question: str, *, yes: bool) -> None:
    """Show a plan and ask for confirmation.

    With machine output the plan goes to stderr, because the result goes to stdout.

    Raises:
        Misused: there is no terminal, and `yes` is false.
        Refused: the answer is no.
    """
    if screen.output is Output.TEXT:
        for line in lines:
            screen.show(line)
    elif not yes:
        write_stderr("\n".join(lines))
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise Misused(
            "this changes the live revision, and there is no terminal to confirm it",
            code=UNCONFIRMED,
            hint="review the plan, and add --yes",
        )
    # The event loop of a command only notes a first Ctrl-C, and the question would go on waiting.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        confirmed = typer.confirm(question, default=False, err=True)
    finally:
        signal.signal(signal.SIGINT, before)
    if not confirmed:
        raise Refused("not confirmed: nothing was changed", code=UNCONFIRMED)
