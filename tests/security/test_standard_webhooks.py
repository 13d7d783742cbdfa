"""Signatures of Standard Webhooks are those of the standard's example, and of its reference library."""

from __future__ import annotations

import pytest

from iogate.security import standard_webhooks

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
BODY = b'{"test": 2432232314}'


def test_the_published_example_gives_its_signature() -> None:
    made = standard_webhooks.headers(standard_webhooks.key(SECRET), ID, 1614265330, BODY)
    assert made == {
        "webhook-id": ID,
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_a_secret_without_the_prefix_is_the_key_itself() -> None:
    assert standard_webhooks.key("péss") == "péss".encode()


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        ("", "the secret is empty"),
        ("whsec_", "the secret begins with whsec_, and what follows is not base64"),
        ("whsec_a!", "the secret begins with whsec_, and what follows is not base64"),
    ],
)
def test_an_unusable_secret_is_refused_without_being_quoted(secret: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        standard_webhooks.key(secret)
