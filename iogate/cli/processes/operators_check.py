"""Check of the setting `operators` for `iogate doctor`: roles, missing tokens, and the lack of TLS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from iogate.cli.processes.doctor_finding import Finding
from iogate.settings.urls import is_loopback

if TYPE_CHECKING:
    from iogate.settings import Settings


def check_operators(settings: Settings) -> Iterator[Finding]:
    """Check the setting `operators`: report each one, missing tokens in this shell, and the lack of TLS."""
    if not settings.operators:
        return
    from iogate.operators.operator_tokens import OperatorTokens
    from iogate.settings.operators import declared

    access = OperatorTokens(declared(settings.operators), root=Path.cwd())
    named = ", ".join(f"{name} ({given['role']})" for name, given in sorted(settings.operators.items()))
    yield Finding(about="operators", verdict="ok", message=named)
    for name, reason in sorted({**access.closed, **access.spare}.items()):
        hint = "a gateway started from this shell shuts this operator out"
        if name in access.spare:
            hint = "the other token of this operator works"
        yield Finding(
            about="operators", verdict="warning", message=f"{name}: {_in_this_shell(reason)}", hint=hint
        )
    has_tls = settings.tls is not None or (settings.public_url or "").startswith("https://")
    if not has_tls and not is_loopback(settings.host):
        yield Finding(
            about="operators",
            verdict="warning",
            message=f"the gateway listens on {settings.host} without TLS, and operators send tokens to it",
            hint="set tls, or public_url to the https:// URL of the proxy before the gateway",
        )


def _in_this_shell(reason: str) -> str:
    """Return why an operator's token is unusable; say "in this shell" if a variable is unset.

    Running processes may have the variable.
    """
    return f"{reason} in this shell" if reason.startswith("environment variable") else reason
