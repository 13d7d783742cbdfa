"""Variables that an expression can name with `$`, looked up only when it names them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


class Arguments(Protocol):
    """Values by name, without the `$`, and the time of `now`."""

    @property
    def now_ms(self) -> int: ...

    def __contains__(self, name: object, /) -> bool: ...

    def __getitem__(self, name: str, /) -> Any: ...

    def redact(self, text: str) -> str:
        """Return the text of an error without the secrets among the arguments of the expression."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """Arguments with given values."""

    now_ms: int = 0
    values: Mapping[str, Any] = field(default_factory=dict)

    def __contains__(self, name: object) -> bool:
        return name in self.values

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def redact(self, text: str) -> str:
        """Return the text unchanged: no secret is among these arguments of an expression."""
        return text
