"""A certificate of localhost's own, for servers that speak TLS in tests."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

_OPENSSL = shutil.which("openssl")


def made(folder: Path, days: int = 2) -> tuple[Path, Path]:
    """Certificate for some days and key, in files of the folder; skips where nothing makes them."""
    if _OPENSSL is None:
        pytest.skip("needs openssl to make a certificate")
    certificate, key = folder / "c.pem", folder / "k.pem"
    make = [
        _OPENSSL,
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=localhost",
        "-days",
        str(days),
    ]
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*make, *names], check=True, capture_output=True)
    return certificate, key
