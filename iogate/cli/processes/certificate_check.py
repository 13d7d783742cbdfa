"""Check of `iogate doctor`: how long the certificate of the setting `tls` is valid."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from iogate.cli.processes.doctor_finding import Finding
from iogate.messages import counted

if TYPE_CHECKING:
    from iogate.settings import Settings

DAY_S: Final = 86_400
WARNED_DAYS: Final = 14


def check_certificate(settings: Settings, *, now_s: float | None = None) -> Iterator[Finding]:
    """Check how long the certificate of the setting `tls` is valid, if this machine has its file."""
    from iogate.security.certificate_expiry import earliest_end_s

    if not settings.tls:
        return
    path = Path(settings.tls["cert"])
    try:
        end_s = earliest_end_s(path.read_bytes())
    except OSError as error:
        yield Finding(
            about="tls",
            verdict="error",
            message=f"cannot read {path}: {error.strerror}",
            hint="name a file that the user of the gateway can read, in the setting tls",
        )
        return
    except ValueError as error:
        yield Finding(about="tls", verdict="error", message=f"{path}: {error}", hint="write it in PEM")
        return
    left_s = end_s - (time.time() if now_s is None else now_s)
    moment = datetime.fromtimestamp(end_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
    renew = "renew it: gateways use the new file within seconds, without a restart"
    if left_s <= 0:
        yield Finding(about="tls", verdict="error", message=f"{path} has expired at {moment}", hint=renew)
        return
    days = int(left_s // DAY_S)
    yield Finding(
        about="tls",
        verdict="warning" if days < WARNED_DAYS else "ok",
        message=f"{path} expires in {counted(days, 'day')}, at {moment}",
        hint=renew if days < WARNED_DAYS else "",
    )
