"""Functions that conformance cases call."""

from __future__ import annotations

import iogate


@iogate.function("greet", version="1.0.0")
def greet(name: str, times: int = 1) -> str:
    return " ".join([f"Hello {name}"] * times)


@iogate.function("greet", version="2.0.0")
async def greet_politely(name: str) -> dict[str, str]:
    return {"greeting": f"Good day, {name}"}


@iogate.function("whoami", version="1.0.0")
def whoami(ctx: iogate.Context) -> dict[str, str | int]:
    return {"key": ctx.idempotency_key, "run": ctx.run_id, "attempt": ctx.attempt}


@iogate.function("refuse", version="1.0.0")
def refuse(reason: str) -> None:
    raise iogate.WorkflowError("https://errors.example/refused", status=422, title="Refused", detail=reason)


@iogate.function("explode", version="1.0.0")
def explode() -> None:
    raise ZeroDivisionError("with a secret")
