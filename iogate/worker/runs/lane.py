"""A queue in which APIs take turns: a herd of one API's runs delays no other API's.

Used by `scheduler` and `committer`. Invariant: what one API appended leaves in the order in which it was
appended.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Lane(Generic[Item]):
    """Items by API; the next one is of the API that has waited longest for its turn."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Item]] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def append(self, api: str, item: Item) -> None:
        waiting = self._waiting.get(api)
        if waiting is None:
            self._waiting[api] = deque((item,))
        else:
            waiting.append(item)

    def popleft(self) -> Item:
        """Return the next item; raises StopIteration if there is none."""
        api = next(iter(self._waiting))
        waiting = self._waiting.pop(api)
        item = waiting.popleft()
        if waiting:
            self._waiting[api] = waiting
        return item
