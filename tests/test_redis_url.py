"""The setting `redis_url`: servers and sentinels, and no password in any message."""

from __future__ import annotations

import pytest

from iogate import settings
from iogate.errors import Misused
from iogate.security.redaction_patterns import redact_url
from iogate.settings import redis_url

LONG = (
    "rediss+sentinel://app:p%40ss@s1:26380,s2,[::1]:26381/orders/3"
    "?sentinel_username=watch&sentinel_password=s3cr%26t&ssl_cert_reqs=none"
)


def test_a_url_of_sentinels_is_read() -> None:
    found = redis_url.sentinels(LONG)
    assert found is not None
    assert found.name == "orders"
    assert found.hosts == (("s1", 26380), ("s2", 26379), ("::1", 26381))
    assert (found.username, found.password, found.tls) == ("watch", "s3cr&t", True)
    assert found.server_url("10.0.0.1", 6379) == (
        "rediss://app:p%40ss@10.0.0.1:6379/?ssl_cert_reqs=none&db=3"
    )
    assert found.server_url("fe80::1", 6379).startswith("rediss://app:p%40ss@[fe80::1]:6379/")
    assert found.sentinel_url("s2", 26379) == "rediss://watch:s3cr%26t@s2:26379/?ssl_cert_reqs=none"
    assert str(found) == "orders of the sentinels s1:26380,s2:26379,[::1]:26381"


def test_passwords_are_known_and_masked() -> None:
    assert redis_url.passwords(LONG) == ["p%40ss", "p@ss", "s3cr&t", "s3cr%26t"]
    masked = redact_url(LONG)
    assert "app:[redacted]@s1" in masked
    assert "sentinel_password=[redacted]" in masked
    assert not any(secret in masked for secret in redis_url.passwords(LONG))
    assert redis_url.passwords("unix:///tmp/a@b:c/s") == []


def test_a_password_ends_at_the_last_at_sign() -> None:
    url = "redis://:p@SEKRET@127.0.0.1:7463/0"
    assert redact_url(url) == "redis://:[redacted]@127.0.0.1:7463/0"
    assert redis_url.passwords(url) == ["p@SEKRET"]
    assert redact_url(f"{url} refused mail@example.com") == (
        "redis://:[redacted]@127.0.0.1:7463/0 refused mail@example.com"
    )


def test_users_and_hosts_are_read() -> None:
    assert redis_url.username(LONG) == "app"
    assert redis_url.username("redis://:secret@h") == "default"
    assert redis_url.username("redis://gate@h") == "gate"
    assert redis_url.hosts("redis://h") == [("h", 6379)]
    assert redis_url.hosts("unix:///tmp/s") == []


@pytest.mark.parametrize(
    "url", ["redis+sentinel://h1,h2", "redis+sentinel:///orders", "redis+sentinel://h:x/o"]
)
def test_a_url_of_sentinels_that_lacks_something_is_refused(url: str) -> None:
    with pytest.raises(Misused, match="redis_url is not a Sentinel address") as caught:
        redis_url.sentinels(url)
    assert "with the NAME of `sentinel monitor`" in caught.value.hint


def test_settings_take_sentinels_and_durability() -> None:
    read = settings.read({"redis_url": LONG, "durability": "replicated", "replicas": 2})
    assert read.confirming == 2
    assert settings.read({"replicas": 2}).confirming == 0
