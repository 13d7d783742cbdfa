"""Stored data of a run, in memory."""

from __future__ import annotations

from iogate.engine.state.run_state import State
from iogate.store.state_codec import Codec, Delta


class StoredRun:
    """What a store would hold of a run."""

    def __init__(self) -> None:
        self.head = b""
        self.frames: dict[str, bytes] = {}
        self.values: dict[str, bytes] = {}

    def apply(self, delta: Delta) -> None:
        self.head = delta.head or self.head
        self.frames |= delta.frames
        self.values |= delta.values
        for key in delta.frames_gone:
            del self.frames[key]
        for digest in delta.values_gone:
            del self.values[digest]

    def load(self) -> State:
        return Codec().load(self.head, self.frames, self.values)
