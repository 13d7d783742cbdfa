"""Temporary operator for the console of `iogate up` on loopback, without the setting `operators`.

Used by `parent_process`. Invariants: it exists only on loopback, without the setting `operators` and without
a proxy in front; its token is known to nobody, so that the printed login link is the only way in, once; it
ends with the command.
"""

from __future__ import annotations

import getpass
import re
import secrets
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from iogate.settings.urls import is_loopback

if TYPE_CHECKING:
    from iogate.settings import Settings

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}")
NAME: Final = "local"


def add_operator(settings: Settings) -> Settings:
    """Return the settings with a local operator, unless they name operators or others could connect."""
    is_open = settings.public_url is not None or bool(settings.trusted_proxies)
    if settings.operators or is_open or not is_loopback(settings.host):
        return settings
    from iogate.security.secrets import hash_token

    token = {"hash": hash_token(secrets.token_urlsafe(32))}
    return replace(settings, operators={_user(): {"token": token, "role": "admin"}})


def login_note(settings: Settings, url: str) -> str | None:
    """Return the line with the URL that opens the console at `url` once, for the operator of `add_operator`.

    None without a key to sign it with.
    """
    from iogate.gateway.console.session import LOGIN_S, Sessions
    from iogate.operators.operator_tokens import OperatorTokens
    from iogate.settings.operators import declared
    from iogate.store.integrity import trust

    key = trust.link_key(settings)
    if key is None:
        return None
    (name,) = settings.operators
    generation = OperatorTokens(declared(settings.operators)).generation(name)
    link = Sessions(key).sign_link(name, generation, time.time())
    limit = f"this link opens it once, within {LOGIN_S // 60} minutes"
    return f"console   {url}/console/login?once={link}\n          ({limit})"


def _user() -> str:
    """Return the name of the user of this process, if it can be the name of an operator."""
    try:
        found = getpass.getuser()
    except (OSError, KeyError):
        return NAME
    return found if _NAME.fullmatch(found) else NAME
