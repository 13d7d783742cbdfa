"""Options and arguments that several commands share, and parsers of their values."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from iogate.cli import completion, last_run
from iogate.errors import Misused, NotFound
from iogate.messages import did_you_mean

PathsArgument = Annotated[
    list[Path] | None,
    typer.Argument(metavar="PATHS", help="Files or folders; default: apis.d and workflows.d."),
]
ExitCodeOption = Annotated[bool, typer.Option("--exit-code", help="Exit with 2 if there are changes.")]
InputOption = Annotated[
    str | None,
    typer.Option("--input", metavar="JSON|@FILE|-", help="Input as JSON, from a file, or from stdin."),
]
HeaderOption = Annotated[
    list[str] | None,
    typer.Option("--header", "-H", metavar="NAME:VALUE", help="Additional request header, such as a token."),
]
JwtKeyOption = Annotated[
    Path | None,
    typer.Option(
        "--jwt-key",
        metavar="FILE",
        help="Private key, in PEM or as a JWK, that signs a JWT for an API with jwt.",
    ),
]
EndpointOption = Annotated[
    list[str] | None,
    typer.Option(
        "--endpoint", metavar="FROM=TO", help="Send calls for a URL prefix to another one; may be repeated."
    ),
]
RevisionArgument = Annotated[
    int | None,
    typer.Argument(
        metavar="N",
        min=1,
        help="Number of the revision; default: the live one.",
        autocompletion=completion.revisions,
        show_default=False,
    ),
]
UidArgument = Annotated[
    str,
    typer.Argument(
        metavar="UID",
        help="Id of the run; @last is the last one that this terminal has started.",
        autocompletion=completion.uids,
        callback=last_run.resolve,
    ),
]
WatchOption = Annotated[bool, typer.Option("--watch", help="Print the result again every 2 s, until Ctrl-C.")]
ApiFilter = Annotated[
    str | None,
    typer.Option(
        "--api", metavar="MODULE/METHOD", help="Only runs of this API.", autocompletion=completion.apis
    ),
]
StatusFilter = Annotated[
    str | None, typer.Option("--status", metavar="STATUS", help="Only runs in this status.")
]
SinceFilter = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="WHEN",
        help="Only runs accepted after this time: 1h (ago), 2d, or a date and time.",
    ),
]
OperationOption = Annotated[
    str | None,
    typer.Option("--id", metavar="ID", help="Id of an earlier attempt of this command, to repeat it safely."),
]
UntilFilter = Annotated[
    str | None,
    typer.Option(
        "--until", metavar="WHEN", help="Only runs accepted before this time: 1h (ago), or a date and time."
    ),
]

_PREFIX = r"https?://[^\s/?#=]+[^\s?#=]*"


def read_input(text: str | None) -> Any:
    """Return the value of `--input`, an empty object without it; raise as `read_json` does."""
    return {} if text is None else read_json(text, "--input", """--input '{"name": "Ada"}'""")


def read_json(text: str, option: str, example: str) -> Any:
    """Parse the value of an option: JSON, @FILE, or - for stdin; `example` is shown in a hint.

    Raises:
        NotFound: the file does not exist.
        Misused: the file cannot be read, or the text is not JSON in UTF-8.
    """
    where, data = option, text.encode("utf-8", "surrogateescape")
    if text == "-":
        where, data = "stdin", sys.stdin.buffer.read()
    elif text.startswith("@"):
        where = text[1:]
        try:
            data = Path(where).read_bytes()
        except FileNotFoundError:
            raise NotFound(f"{option} @{where}: no such file") from None
        except OSError as error:
            raise Misused(f"{option} @{where}: cannot be read: {error}") from None
    from iogate import json_values

    try:
        data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Misused(
            f"{where}: not UTF-8: byte 0x{data[error.start]:02x} at offset {error.start}, in line {line}",
            hint="convert it to UTF-8, for example with `iconv -f LATIN1 -t UTF-8`",
        ) from None
    try:
        return json_values.parse(data)
    except ValueError as error:
        hint = "" if where != option else f"give JSON, for example {example}, or @FILE, or -"
        raise Misused(f"{where}: not JSON: {error}", hint=hint) from None


def parse_seconds(text: str | None, option: str) -> float | None:
    """Parse a duration such as 30, 30s, 5m or PT5M into seconds; None stays None.

    Raises:
        Misused: the text is not a positive duration without months.
    """
    from iogate.timing.durations import InvalidDuration, parse_duration

    if text is None:
        return None
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        duration = parse_duration(text)
    except InvalidDuration as error:
        raise Misused(f"{option} {text}: {error}") from None
    if duration.months or duration.milliseconds <= 0:
        raise Misused(f"{option} {text}: expected a duration such as 30s, 5m or 2d, without months")
    return duration.milliseconds / 1000


def parse_rate(text: str | None, option: str) -> float | None:
    """Parse a rate such as 50/s or 100/m into a number per second; None stays None.

    Raises:
        Misused: the text is not a rate above zero.
    """
    from iogate.value_types import scalar_types

    if text is None:
        return None
    rate = scalar_types.parse_rate(text)
    if rate is None:
        raise Misused(f"{option} {text}: expected {scalar_types.RATE_FORMS}")
    return rate


def parse_moment_ms(text: str | None, option: str) -> int | None:
    """Parse a date and time, or a duration before now, into epoch milliseconds; None stays None.

    Raises:
        Misused: the text is neither.
    """
    from iogate.timing.moments import parse_moment

    if text is None:
        return None
    try:
        return parse_moment(text).at_ms(int(time.time() * 1000))
    except ValueError as error:
        raise Misused(f"{option} {text}: expected {error}") from None


def parse_statuses(text: str | None) -> tuple[str, ...]:
    """Parse the value of the option `--status`, separated by commas; empty without the option.

    Raises:
        Misused: a status is unknown.
    """
    from iogate.store.keys import STATUSES

    wanted = tuple(text.split(",")) if text is not None else ()
    for each in wanted:
        if each not in STATUSES:
            expected = f"expected one of {', '.join(STATUSES)}"
            raise Misused(f"--status {each}: {expected}{did_you_mean(each, STATUSES)}")
    return wanted


def parse_endpoints(texts: list[str] | None) -> dict[str, str]:
    """Parse the values of `--endpoint FROM=TO`, which extend the setting `endpoints`.

    Raises:
        Misused: a value is not a pair of URL prefixes.
    """
    found: dict[str, str] = {}
    for text in texts or ():
        parts = re.fullmatch(rf"({_PREFIX})=({_PREFIX})", text)
        if parts is None:
            raise Misused(
                "--endpoint: expected FROM=TO, two URL prefixes that begin with http:// or https://",
                hint="for example --endpoint https://api.example.com=http://localhost:8080",
            )
        found[parts[1]] = parts[2]
    return found


def parse_pair(text: str, option: str, separator: str) -> tuple[str, str]:
    """Split the value of an option, `NAME:VALUE` or `NAME=VALUE`.

    Raises:
        Misused: the text has no separator or no name.
    """
    name, found, value = text.partition(separator)
    if not found or not name.strip():
        raise Misused(f"{option}: expected NAME{separator}VALUE")  # without the text, which may be a secret
    return name.strip(), value.strip()
