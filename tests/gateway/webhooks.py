"""Senders of webhooks: each signs a body by the published algorithm, without code of the product."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time

SECRET = "It's a Secret to Everybody"
WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def digest(secret: str | bytes, text: bytes, algorithm: str = "sha256") -> bytes:
    key = secret.encode() if isinstance(secret, str) else secret
    return hmac.new(key, text, getattr(hashlib, algorithm)).digest()


def now() -> int:
    return int(time.time())


def github(body: bytes, secret: str = SECRET, delivery: str = "d-1", event: str = "push") -> dict[str, str]:
    return {
        "X-Hub-Signature-256": "sha256=" + digest(secret, body).hex(),
        "X-GitHub-Delivery": delivery,
        "X-GitHub-Event": event,
        "Content-Type": "application/json",
    }


def standard(
    body: bytes, secret: str = WHSEC, delivery: str = "msg_1", at: int | None = None, word: str = "webhook"
) -> dict[str, str]:
    moment = str(now() if at is None else at)
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signature = base64.b64encode(digest(key, f"{delivery}.{moment}.".encode() + body)).decode()
    return {
        f"{word}-id": delivery,
        f"{word}-timestamp": moment,
        f"{word}-signature": f"v1,{signature}",
        "content-type": "application/json",
    }


def stripe(body: bytes, secret: str = SECRET, at: int | None = None) -> dict[str, str]:
    moment = str(now() if at is None else at)
    return {"Stripe-Signature": f"t={moment},v1={digest(secret, moment.encode() + b'.' + body).hex()}"}


def slack(body: bytes, secret: str = SECRET, at: int | None = None) -> dict[str, str]:
    moment = str(now() if at is None else at)
    signature = digest(secret, b"v0:" + moment.encode() + b":" + body).hex()
    return {"X-Slack-Request-Timestamp": moment, "X-Slack-Signature": f"v0={signature}"}


def meta(body: bytes, secret: str = SECRET) -> dict[str, str]:
    return {"X-Hub-Signature-256": "sha256=" + digest(secret, body).hex()}
