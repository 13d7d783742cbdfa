"""Options of a store's URL are those of redis-py, which is imported only for a query."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from redis.connection import parse_url

from iogate.store.connection.socket import options_of

part = st.text("abc%4/:@.-_[]1#;é ", max_size=8)
URLS = st.builds("{}://{}".format, st.sampled_from(["redis", "rediss", "unix", "http"]), part)


def parsed(url: str) -> dict[str, object] | None:
    """Return the options that redis-py finds, without its own classes; None for an error."""
    try:
        found: dict[str, object] = parse_url(url)  # type: ignore[no-untyped-call] # redis-py's own
    except ValueError:
        return None
    found.pop("connection_class", None)
    return found


@given(url=URLS)
@example("redis://")
@example("redis://user:p%40ss@[::1]:6380/3")
@example("rediss://:secret@store.example.com/x")
@example("unix:///run/re%20dis.sock")
@example("unix://user:pw@/redis.sock?db=2")
@example("redis://host?db=x")
@example("redis://host:99999")
def test_options_are_those_of_redis_py(url: str) -> None:
    wanted = parsed(url)
    if wanted is None:
        with pytest.raises(ValueError):  # noqa: PT011 - of either parser
            options_of(url)
    else:
        assert options_of(url) == wanted


def test_a_url_without_a_query_imports_no_redis_py() -> None:
    code = (
        "import sys; from iogate.store.connection.socket import options_of; "
        "options_of('rediss://u:p@host:1/2'); assert 'redis' not in sys.modules; "
        "options_of('redis://host?db=1'); assert 'redis' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
