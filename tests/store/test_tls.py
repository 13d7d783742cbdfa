"""Store behind TLS: the certificate is verified."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from iogate.store.store import StoreUnavailable, open_store
from tests import certificates
from tests.conftest import KINDS
from tests.keys import RING
from tests.ports import free_port
from tests.store.builders import accepted, publish, until


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Return address and certificate of a server that accepts only TLS."""
    certificate, key = certificates.made(tmp_path)
    port = free_port()
    own = ["--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-auth-clients", "no"]
    for each in KINDS.values():
        server = subprocess.Popen(
            [each.path, "--port", "0", "--tls-port", str(port), *own, "--save", "", "--dir", str(tmp_path)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 20
        while server.poll() is None and time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
        if server.poll() is None:
            break
    else:
        pytest.skip("no server of this machine was built with TLS")
    yield f"rediss://localhost:{port}/1", certificate
    server.kill()
    server.wait()


async def test_all_operations_work_behind_tls(tls: tuple[str, Path]) -> None:
    url, certificate = tls
    store = await open_store(f"{url}?ssl_ca_certs={certificate}", keyring=RING)
    await publish(store)
    uid = await accepted(store.intake())
    _, wired = store.leases.doorbell("w")
    async with wired:
        await accepted(store.intake())

    async def taken() -> bool:
        return uid in {claim.uid for claim in (await store.leases.take("w", 9)).claims}

    await until(taken)
    assert b"db1" in await store.call("INFO", "keyspace")
    await store.close()


async def test_an_unknown_certificate_is_not_trusted(tls: tuple[str, Path]) -> None:
    with pytest.raises(StoreUnavailable, match="certificate verify failed"):
        await open_store(tls[0], keyring=RING)
