"""The access log: one line for each refused request, or for every request, as the setting `access_log` says.

Used by `app` and `exchange`. Invariants: no line contains a query string, a header, a
body or a long path segment, which may be a misplaced secret; lines about refused requests are
limited in number, so that a flood of requests does not fill the disk.
"""

from __future__ import annotations

import logging
import re
import time
from typing import TYPE_CHECKING, Any, Final, Literal

from iogate.logs import Throttle

if TYPE_CHECKING:
    from litestar.types import Send

    from iogate.gateway.http.request import Request

log = logging.getLogger(__name__)

Level = Literal["off", "errors", "all"]

CODE: Final = "iogate.code"
"""Key of the ASGI scope with the code of the error response, which a handler sets."""
OPERATOR: Final = "iogate.operator"
"""Key of the ASGI scope with the name of the operator."""
LONGEST: Final = 200
_LONG_SEGMENT = re.compile(r"[^/]{33,}")
_UNPRINTABLE = re.compile(r"[^!-~]")


class AccessLog:
    """Writer of the access log, at the level of the setting `access_log`."""

    def __init__(self, level: Level = "errors") -> None:
        self.all = level == "all"
        self.off = level == "off"
        self._throttle = Throttle()

    def note(
        self, request: Request, status: int, *, code: str = "", api: str = "", operator: str = ""
    ) -> None:
        """Log a response in the access log if the level includes it."""
        refused = status >= 400
        if self.off or not (refused or self.all):
            return
        if refused and not self._throttle.passes():
            return
        facts: dict[str, Any] = {"action": "call.refused" if refused else "call.served", "status": status}
        if code:
            facts["code"] = code
        if api:
            facts["api"] = api
        if operator:
            facts["operator"] = operator
        if request.address:
            facts["address"] = request.address
        facts["ms"] = round((time.perf_counter() - request.started_s) * 1000, 1)
        if refused and (left_out := self._throttle.left_out()):
            facts["left_out"] = left_out
        level = logging.WARNING if status >= 500 else logging.INFO
        log.log(level, "%s %s %d", request.method[:20], _path(request.raw_path), status, extra=facts)

    def logging_send(self, request: Request, send: Send) -> Send:
        """Return a `send` that also writes the response to the access log."""
        if self.off:
            return send

        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                scope = request.scope
                status, code, operator = message["status"], scope.get(CODE, ""), scope.get(OPERATOR, "")
                self.note(request, status, code=code, operator=operator)
            await send(message)

        return sending


def _path(raw: bytes) -> str:
    text = _UNPRINTABLE.sub("?", raw[:LONGEST].decode("latin-1"))
    return _LONG_SEGMENT.sub("…", text)
