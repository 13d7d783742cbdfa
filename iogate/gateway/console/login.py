"""Login with the token of an operator or with the link that `iogate up` prints, and logout.

Used by `console`. A login link shows a form, since programs that look ahead open links too, and the link
can be used once; the form makes the browser send a request of the console's own origin. Invariants: wrong
tokens count towards the limit of the address, as in the HTTP API; a login leads to pages of the console
only.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from iogate.gateway.authentication.authenticator import too_many_attempts
from iogate.gateway.console import rendering
from iogate.gateway.console.page import redirect
from iogate.gateway.console.requests import is_packed, query_of, read_form
from iogate.gateway.console.session import LONGEST_S
from iogate.gateway.http.cookies import set_cookie
from iogate.gateway.http.responses import STORE_DOWN, HTTPError, Response
from iogate.security.failure_limit import Busy
from iogate.store.operators.replies import Reply

if TYPE_CHECKING:
    from iogate.gateway.console.console import Console
    from iogate.gateway.http.request import Request
    from iogate.operators.operator_tokens import OperatorTokens
    from iogate.operators.roles import Operator

log = logging.getLogger(__name__)

HOME: Final = "/console"
_USED: Final = "This login link was used, or is too old. Log in with a token, or start iogate up again."
_TARGET: Final = re.compile(r"/console(?:[/?][!-~]*)?")
_LONGEST: Final = 2_000


def safe_target(text: str) -> str:
    """Return the page to open after a login if it is one of the console, else the overview."""
    is_safe = len(text) <= _LONGEST and _TARGET.fullmatch(text) and "\\" not in text
    return text if is_safe and not text.startswith(("/console/login", "/console/logout")) else HOME


class Login:
    """Login and logout of the console."""

    def __init__(self, console: Console) -> None:
        self._console = console

    async def show(self, request: Request) -> Response:
        """Show the login form; a browser with a session goes to its page."""
        query = query_of(request)
        once = next(iter(query.get("once", ())), "")
        target = safe_target(next(iter(query.get("next", ())), HOME))
        if self._console.operator(request) is not None:
            return redirect(target)
        if once and self._console.sessions.read_link(once, self._now_s) is None:
            return await self.page(request, status=410, problem=_USED)
        return await self.page(request, target=target, once=once)

    async def page(
        self, request: Request, *, status: int = 200, problem: str = "", target: str = HOME, once: str = ""
    ) -> Response:
        """Return the response with the login form."""
        values: dict[str, Any] = {
            "title": "Log in",
            "heading": "Log in to the console",
            "text": "" if once else "With the token of an operator.",
            "problem": problem,
            "next": "" if target == HOME else target,
            "once": once,
        }
        return await rendering.page("login.html", values, status=status, packed=is_packed(request))

    async def log_in(self, request: Request) -> Response:
        """Log in an operator. Raises HTTPError: a 429 after too many wrong tokens, or a 503."""
        form = await read_form(self._console.state.bodies, request)
        target = safe_target(form.get("next", HOME))
        if once := form.get("once"):
            operator = await self._use(once)
            if operator is None:
                return await self.page(request, status=410, problem=_USED, target=target)
        else:
            self._console.api.authentication.refresh()
            try:
                operator = self._access.authenticate(form.get("token", "").encode(), request.address)
            except Busy as busy:
                raise too_many_attempts(busy) from None
            if operator is None:
                return await self.page(request, status=401, problem="The token is invalid.", target=target)
        log.info(
            "operator %s logged in to the console",
            operator.name,
            extra={"action": "operator.login", "operator": operator.name, "address": request.address},
        )
        value = self._console.sessions.sign(
            operator.name, self._access.generation(operator.name), self._now_s
        )
        sessions = self._console.sessions
        started = self._cookie(request, sessions.cookie, value, LONGEST_S)
        return redirect(target, [started, *self._deleted(request, sessions.previous_cookies)])

    async def log_out(self, request: Request) -> Response:
        """Log out the operator: end the session of the browser, also one that an earlier key has signed."""
        sessions = self._console.sessions
        deleted = self._deleted(request, (sessions.cookie, *sessions.previous_cookies))
        return redirect("/console/login", deleted)

    async def _use(self, text: str) -> Operator | None:
        """Return the operator of a login link, once; None if it is invalid or was used.

        Raises HTTPError, the 503, without a store.
        """
        link = self._console.sessions.read_link(text, self._now_s)
        if link is None or self._access.generation(link.operator) != link.generation:
            return None
        if self._console.state.store is None:
            raise HTTPError(STORE_DOWN)
        async with self._console.state.reach() as store:
            if await store.replies.claim(link.operator, link.number, "login") is not None:
                return None
            await store.replies.keep(link.operator, link.number, Reply(fingerprint="login", status=303))
        return self._access.operator(link.operator)

    def _deleted(self, request: Request, names: Sequence[str]) -> list[tuple[bytes, bytes]]:
        return [self._cookie(request, name, "", 0) for name in names]

    def _cookie(self, request: Request, name: str, value: str, seconds: int) -> tuple[bytes, bytes]:
        secure = self._console.is_secure(request)
        return b"set-cookie", set_cookie(name, value, secure=secure, seconds=seconds)

    @property
    def _access(self) -> OperatorTokens:
        return self._console.api.authentication.access

    @property
    def _now_s(self) -> float:
        return self._console.state.clock.now_ms() / 1000
