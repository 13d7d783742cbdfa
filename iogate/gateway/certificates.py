"""Certificate and key of the gateway's own TLS: read, checked, and watched for their replacement.

Used by `__main__`, `http_server` and the commands that start gateways. The server ends its process if it
cannot use a file, so it gets copies of what was checked, in memory. Invariants: it only gets a pair that a
trial in another process has used; no message contains a part of the key.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from iogate.errors import Misused
from iogate.security import certificate_expiry

TRIAL_S: Final = 30.0
KINDS: Final = "RSA of 2048 to 4096 bits, ECDSA with P-256 or P-384, or Ed25519"
Signature = tuple[tuple[int, int, int], ...]
"""Inode, size and time of change of each file that exists."""


class Unusable(Misused):
    """The certificate and key of the setting `tls` cannot be used."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Contents of a certificate file, with its chain, and of the file of its key."""

    cert: bytes
    key: bytes = field(repr=False)


class Certificates:
    """The two files of the setting `tls`."""

    def __init__(self, tls: Mapping[str, Any]) -> None:
        self.cert, self.key = Path(tls["cert"]), Path(tls["key"])
        self.expires_s: float | None = None
        """Unix time at which the first one of the certificates in use expires."""
        self.seen: Signature = ()
        """Signature of the files at the last look."""
        self._used: Signature = ()

    def load(self) -> Pair:
        """Return the gateway's certificate and key after checks.

        Raises Unusable without a pair that fits, and OSError if the system cannot check it now.
        """
        found = self.seen = self._signature()
        pair = Pair(cert=_read(self.cert, "cert"), key=_read(self.key, "key"))
        self._used = found
        with as_files(pair) as (cert, key):
            self._check(cert, key)
            _try(cert, key, self.cert)
        return pair

    def note_use(self, pair: Pair) -> None:
        """Note that the servers use a certificate, for `expires_s`."""
        with contextlib.suppress(ValueError):
            self.expires_s = certificate_expiry.earliest_end_s(pair.cert)

    def try_again(self) -> None:
        """Let `have_changed` report the certificate's files at the next look, although they are as before."""
        self._used = ()

    def have_changed(self) -> bool:
        """Tell whether the certificate's files were replaced since `load` read them, not since the last look.

        Tools replace one file after the other.
        """
        now = self._signature()
        settled, self.seen = now == self.seen, now
        return settled and now != self._used

    def _signature(self) -> Signature:
        found = []
        for path in (self.cert, self.key):
            with contextlib.suppress(OSError):
                state = path.stat()
                found.append((state.st_ino, state.st_size, state.st_mtime_ns))
        return tuple(found)

    def _check(self, cert: str, key: str) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(cert, key, password=_refuse_passphrase)
        except _Encrypted:
            raise Unusable(
                f"tls.key: {self.key} is encrypted", hint="write the key without a passphrase, mode 0600"
            ) from None
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                raise Unusable(
                    f"tls.key: {self.key} is not the key of the first certificate in {self.cert}",
                    hint="put the certificate of the gateway first, then its chain",
                ) from None
            raise Unusable(
                f"tls: {self.cert} and {self.key} are not a certificate and its key in PEM",
                hint="cert has BEGIN CERTIFICATE, key has BEGIN PRIVATE KEY",
            ) from None


class _Encrypted(Exception):
    """A key has a passphrase."""


def _refuse_passphrase() -> str:
    raise _Encrypted


def _read(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Unusable(
            f"tls.{name}: cannot read {path}: {error.strerror}",
            hint="name a file that the user of the gateway can read",
        ) from None


@contextmanager
def as_files(pair: Pair) -> Iterator[tuple[str, str]]:
    """Yield paths with a certificate and its key, which nobody else can change: in memory where possible."""
    if hasattr(os, "memfd_create"):
        with contextlib.ExitStack() as opened:
            numbers = []
            for content in (pair.cert, pair.key):
                number = os.memfd_create("tls", 0)
                opened.callback(os.close, number)
                os.write(number, content)
                numbers.append(number)
            yield f"/proc/self/fd/{numbers[0]}", f"/proc/self/fd/{numbers[1]}"
        return
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("cert", "key")]
        for path, content in zip(paths, (pair.cert, pair.key), strict=True):
            path.touch(mode=0o600)
            path.write_bytes(content)
        yield str(paths[0]), str(paths[1])


def _try(cert: str, key: str, shown: Path) -> None:
    """Try the gateway's certificate in a server in a process of its own, which an unusable file ends.

    Raises Unusable, and OSError if the process cannot start, or not in time.
    """
    numbers = [int(path.rpartition("/")[2]) for path in (cert, key) if path.startswith("/proc/self/fd/")]
    command = [sys.executable, "-m", "iogate.gateway.certificates", cert, key]
    try:
        ran = subprocess.run(  # noqa: S603 - our own module
            command, pass_fds=numbers, capture_output=True, timeout=TRIAL_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"a server with it did not start within {TRIAL_S:g} s") from None
    if ran.returncode:
        raise Unusable(
            f"tls: the server cannot use {shown} with its key", hint=f"use a key of a supported kind: {KINDS}"
        )


async def _serve_once(cert: str, key: str) -> None:
    """Try a certificate: start and drop a server with it; an unusable one ends the process."""
    from iogate.gateway.http_server import trial_server  # noqa: PLC0415 - only in the trial's own process

    await trial_server(cert, key)


if __name__ == "__main__":
    asyncio.run(_serve_once(*sys.argv[1:3]))
    os._exit(0)
