"""A clock that stands still until a test, or a run that only waits, moves it."""

from __future__ import annotations

from datetime import UTC, datetime


class FakeClock:
    """Milliseconds since 1970, as the engine is told them."""

    def __init__(self, at: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self.now_ms = int(at.timestamp() * 1000)

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self.now_ms / 1000, tz=UTC)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now_ms += round(seconds * 1000)

    def move_to(self, now_ms: int) -> None:
        """Let time pass up to a moment; one that is past already changes nothing."""
        self.now_ms = max(self.now_ms, now_ms)
