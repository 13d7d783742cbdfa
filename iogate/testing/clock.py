"""Fake clock, advanced by a test or by a run that only waits."""

from __future__ import annotations

from datetime import UTC, datetime


class FakeClock:
    """Clock for the engine, in milliseconds since 1970."""

    def __init__(self, at: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self.now_ms = int(at.timestamp() * 1000)

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self.now_ms / 1000, tz=UTC)

    def advance(self, seconds: float) -> None:
        """Advance the clock."""
        self.now_ms += round(seconds * 1000)

    def move_to(self, now_ms: int) -> None:
        """Advance the clock to a time; a time in the past has no effect."""
        self.now_ms = max(self.now_ms, now_ms)
