"""Real Redis servers for every suite.

`redis_servers` holds one throw-away server per kind: the bundled Valkey, and each other one on PATH. A test
that only needs a store takes `store` (empty, on the bundled server); a test of the store itself takes
`each_store` and runs on all of them.
"""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager

import pytest
from hypothesis import HealthCheck, settings

from iogate.store.connection import pubsub
from iogate.store.connection.connection import Connection
from iogate.store.embedded import binaries as servers
from iogate.store.embedded import server as embedded
from iogate.store.embedded.server import EmbeddedServer, temporary_server
from iogate.store.store import Store
from tests import patience
from tests.examples import examples
from tests.keys import RING

# No property is about time, and machines that run tests are busy.
settings.register_profile(
    "iogate", max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("iogate")


def _kinds() -> dict[str, servers.Server]:
    """Return the servers of this machine by name, the bundled one first."""
    found = [servers.inspect(binary) for binary in servers.candidates()]
    return {f"{server.kind}-{server.version}": server for server in found if server is not None}


@pytest.fixture(scope="session", autouse=True)
def _own_folders_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Logins and last runs of the person who runs the tests are neither read nor written."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
            patch.setenv(name, str(tmp_path_factory.mktemp(name.lower())))
        yield


@pytest.fixture(autouse=True)
def _patient_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let calls of a test wait for a store that a busy machine keeps waiting.

    A test of these limits sets them itself.
    """
    for module, name in (*patience.OF_STORE, (pubsub, "CONNECT_S")):
        monkeypatch.setattr(module, name, patience.PATIENT_S)
    keywords = Connection.__init__.__kwdefaults__
    assert keywords is not None
    monkeypatch.setitem(keywords, "timeout_s", patience.PATIENT_S)
    monkeypatch.setattr(embedded._living, "__defaults__", (patience.PATIENT_S,))


@pytest.fixture
def no_old_garbage() -> Iterator[None]:
    """Let no collection of all objects of earlier tests take processor time of this one."""
    gc.freeze()
    yield
    gc.unfreeze()


LONG = ("tests/faults/", "tests/worker/test_parent.py", "tests/store/test_model.py", "tests/deploy/")
"""Places of tests that take longest: started first, so that the end of the suite waits for none of them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move the longest tests to the front."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))


KINDS = _kinds()
Servers = dict[str, EmbeddedServer]


@pytest.fixture(scope="session")
def redis_servers() -> Iterator[dict[str, EmbeddedServer]]:
    """Started when first asked for, one of each kind."""
    with ExitStack() as stack:
        yield _Lazily(stack)


class _Lazily(dict[str, EmbeddedServer]):
    def __init__(self, stack: ExitStack) -> None:
        super().__init__()
        self._stack = stack

    def __missing__(self, kind: str) -> EmbeddedServer:
        started = self[kind] = self._stack.enter_context(temporary_server(KINDS[kind]))
        return started


@pytest.fixture
def redis_server(redis_servers: dict[str, EmbeddedServer]) -> EmbeddedServer:
    """Return the bundled server, or the first of this machine."""
    return redis_servers[next(iter(KINDS))]


@pytest.fixture
def redis_url(redis_server: EmbeddedServer) -> str:
    return redis_server.url


@pytest.fixture(params=list(KINDS))
def each_redis(request: pytest.FixtureRequest, redis_servers: dict[str, EmbeddedServer]) -> EmbeddedServer:
    """Each server of this machine in turn."""
    found: EmbeddedServer = redis_servers[request.param]
    return found


@asynccontextmanager
async def opened_store(url: str) -> AsyncIterator[Store]:
    """Open an empty store on a server."""
    # Not `open_store`: an earlier test may have left what that refuses.
    opened = Store(url, client_name="test", keyring=RING)
    await opened.call("FLUSHALL")
    yield opened
    await opened.close()


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Store]:
    """An empty store."""
    async with opened_store(redis_url) as opened:
        yield opened


@pytest.fixture
async def each_store(each_redis: EmbeddedServer) -> AsyncIterator[Store]:
    """An empty store on each server in turn."""
    async with opened_store(each_redis.url) as opened:
        yield opened
