"""Logging: text for a terminal, JSON lines otherwise, with secrets redacted.

Each process calls `set_up` once. The `extra` of a record has an `action` (`run.faulted`, `child.hung`), which
is stable for tools, and small facts. Invariant: no record contains a secret: texts registered with `hide` are
redacted in all output.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, Literal, TextIO

from iogate.security.control_characters import escape, escape_line
from iogate.security.redaction import Redactor

_PLAIN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""Attributes of all records; others come from `extra`."""

_redactor = Redactor()


def hide(forms: Iterable[str]) -> None:
    """Register texts to redact in all log output."""
    _redactor.add_forms(each for form in forms for each in (form, json.dumps(form, ensure_ascii=False)[1:-1]))


def scrub(text: str) -> str:
    """Return a text to log with registered secrets redacted."""
    return _redactor.text(text)


def split(text: str, at: int) -> tuple[str, str]:
    """Return the redacted text of a log before `at`, and the raw rest; a cut in a secret moves to its end."""
    return _redactor.split(text, at)


def _facts(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _PLAIN}


def _moment(record: logging.LogRecord) -> str:
    at = dt.datetime.fromtimestamp(record.created, tz=dt.UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class JsonFormatter(logging.Formatter):
    """Formatter that writes one JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _moment(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": scrub(record.getMessage()),
            **_facts(record),
        }
        if record.exc_info:
            line["traceback"] = scrub(self.formatException(record.exc_info))
        return escape(scrub(json.dumps(line, default=str, ensure_ascii=False)))


class TextFormatter(logging.Formatter):
    """Formatter that writes time, level and message, then the facts; further lines are indented.

    So no text of a caller can look like the beginning of a record.
    """

    def format(self, record: logging.LogRecord) -> str:
        at = dt.datetime.fromtimestamp(record.created, tz=dt.UTC).astimezone()
        facts = " ".join(escape_line(scrub(f"{name}={value}")) for name, value in _facts(record).items())
        line = f"{at:%H:%M:%S} {record.levelname.lower():7} {record.getMessage()}"
        if facts:
            line = f"{line}  {facts}"
        if record.exc_info:
            line = f"{line}\n{self.formatException(record.exc_info)}"
        return escape(scrub(line)).replace("\n", "\n  ")


class Throttle:
    """Rate limit for log lines of one kind: a burst, then a few per second."""

    def __init__(
        self, *, burst: int = 50, per_s: float = 5.0, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._burst, self._per_s, self._monotonic = float(burst), per_s, monotonic
        self._left, self._seen_s = float(burst), monotonic()
        self._left_out = 0

    def passes(self) -> bool:
        """Tell whether one more log line may be written; count it as left out if not."""
        now_s = self._monotonic()
        self._left = min(self._burst, self._left + (now_s - self._seen_s) * self._per_s)
        self._seen_s = now_s
        if self._left < 1:
            self._left_out += 1
            return False
        self._left -= 1
        return True

    def left_out(self) -> int:
        """Return the number of log lines left out since the last call of this method."""
        left_out, self._left_out = self._left_out, 0
        return left_out


def set_up(form: Literal["text", "json"] | None = None, *, stream: TextIO | None = None) -> None:
    """Write the log of this process to `stream`, standard error by default.

    Without a form, a terminal gets text and any other stream JSON.
    """
    stream = stream or sys.stderr
    if form is None:
        form = "text" if stream.isatty() else "json"
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TextFormatter() if form == "text" else JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("iogate").setLevel(logging.INFO)
