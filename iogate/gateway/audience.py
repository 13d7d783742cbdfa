"""Audience of one port of a gateway: callers, operators, or both.

Chosen by `__main__` from the setting `console_port`, read by `app` and the modules that make routes.
Invariant: on a port of callers, no route,
message or description shows that there are operators.
"""

from __future__ import annotations

import enum


class Audience(enum.Enum):
    """Audience of a port of the gateway: callers, operators, or both."""

    ALL = "all"
    CALLERS = "callers"
    OPERATORS = "operators"

    @property
    def has_callers(self) -> bool:
        """Tell whether the port serves calls, events, links and runs of callers."""
        return self is not Audience.OPERATORS

    @property
    def has_operators(self) -> bool:
        """Tell whether the port serves the console and the HTTP API of operators, if there are operators."""
        return self is not Audience.CALLERS
