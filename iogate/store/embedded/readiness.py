"""Readiness of a starting server: it serves, loads its files, or does not answer.

Used by `server`. Invariant: a server that has reported to be loading has no timeout; a slow disk may delay
its answers.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, RedisError, ResponseError
from redis.retry import Retry

from iogate.errors import Unreachable

log = logging.getLogger(__name__)

LOADING_LOOK_S = 0.1
LOADING_TOLD_S = 5.0
FIRST_ASK_S = 1.0
LONGEST_ASK_S = 16.0


class StartAborted(Unreachable):
    """The caller aborted the start; the server that was started for it has ended."""


class Serving:
    """State of a server that executes commands."""


SERVING = Serving()


@dataclass(frozen=True, kw_only=True)
class Loading:
    """State of a server that reads its files."""

    percent: float
    left_s: int | None


def state(url: str, timeout_s: float = FIRST_ASK_S) -> Serving | Loading | None:
    """Return the readiness of a server; None if it does not answer in time."""
    try:
        with client(url, timeout_s) as plain:
            try:
                plain.ping()
            except BusyLoadingError:
                return _progress(plain.info("persistence"))
    except ResponseError:
        return SERVING  # for example with a full disk: it rejects only writes
    except (RedisError, OSError):
        return None
    return SERVING


def _progress(info: dict[str, Any]) -> Serving | Loading:
    if not info.get("loading"):
        return SERVING  # it finished between the two commands
    left_s = info.get("loading_eta_seconds")
    percent = float(info.get("loading_loaded_perc", 0))
    return Loading(percent=percent, left_s=int(left_s) if left_s is not None and percent else None)


class StartTimeout:
    """Deadline of a start, extended as long as the server reports that it loads."""

    def __init__(self, folder: Path, timeout_s: float, aborted: threading.Event) -> None:
        self._folder = folder
        self._timeout_s = timeout_s
        self._aborted = aborted
        self._began = time.monotonic()
        self._until = self._began + timeout_s
        self._tell_at = time.monotonic() + LOADING_TOLD_S / 5
        self._loads = False

    @property
    def over(self) -> bool:
        return time.monotonic() > self._until

    @property
    def ask_s(self) -> float:
        """Timeout of one probe of readiness in seconds; it grows, since a slow server answers rarely."""
        return min(max(time.monotonic() - self._began, FIRST_ASK_S), LONGEST_ASK_S)

    def start_over(self) -> None:
        """Reset the readiness of the server, because another one starts."""
        self._loads = False

    def check(self) -> None:
        """Raise StartAborted if the caller no longer waits for the server's readiness."""
        if self._aborted.is_set():
            raise StartAborted("the start of the store was aborted")

    def spend(self, state: Loading | Serving | None) -> None:
        """Wait a moment before the next probe of a server's readiness.

        Raises Unreachable if the server is silent for too long, StartAborted if the caller gave up.
        """
        if isinstance(state, Loading):
            self._loads = True
            self._until = time.monotonic() + self._timeout_s
            self._tell(state)
        self.check()
        # Silence of a server that was seen loading is no failure: a slow disk may hold it up.
        if self.over and not self._loads:
            raise silent(self._folder)
        self._aborted.wait(LOADING_LOOK_S if self._loads else 0.01)

    def _tell(self, loading: Loading) -> None:
        if time.monotonic() < self._tell_at:
            return
        self._tell_at = time.monotonic() + LOADING_TOLD_S
        left = "" if loading.left_s is None else f", about {loading.left_s} s left"
        log.info(
            "the store loads its files: %.0f %%%s",
            loading.percent,
            left,
            extra={"action": "store.loading", "percent": loading.percent, "left_s": loading.left_s},
        )


def socket_url(socket: Path) -> str:
    """Return the URL of a socket to probe; its path may hold spaces, `%`, `#` and `?`."""
    return f"unix://{quote(str(socket))}"


def client(url: str, timeout_s: float) -> redis.Redis:
    """Return a client that probes a server's readiness, without retries: its callers have a deadline."""
    once = Retry(NoBackoff(), 0)
    return redis.Redis.from_url(url, socket_timeout=timeout_s, decode_responses=True, retry=once)


def silent(folder: Path) -> Unreachable:
    """Return the error for a server that holds the lock of its folder but does not answer."""
    return Unreachable(
        f"the store in {folder} does not answer: it is starting, busy or suspended",
        code="IOG623",
        hint=f"try again; its log is {folder / 'server.log'}",
    )
