"""The end of the validity of certificates is read as openssl reads it."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iogate.security.certificate_expiry import earliest_end_s
from tests import certificates


def test_the_first_end_of_a_chain_is_that_of_openssl(tmp_path: Path) -> None:
    file, _ = certificates.made(tmp_path)
    ran = subprocess.run(
        ["openssl", "x509", "-enddate", "-noout", "-in", str(file)],
        capture_output=True,
        text=True,
        check=True,
    )
    end = datetime.strptime(ran.stdout.strip().partition("=")[2], "%b %d %H:%M:%S %Y %Z").replace(tzinfo=UTC)
    assert earliest_end_s(file.read_bytes()) == end.timestamp()
    later = tmp_path / "later.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += [
        "-subj",
        "/CN=later",
        "-days",
        "20000",
        "-keyout",
        str(tmp_path / "l.key"),
        "-out",
        str(later),
    ]
    subprocess.run(command, check=True, capture_output=True)
    assert earliest_end_s(later.read_bytes()) > datetime(2080, 1, 1, tzinfo=UTC).timestamp(), "after 2050"
    assert earliest_end_s(later.read_bytes() + file.read_bytes()) == end.timestamp()


@given(st.binary(max_size=200))
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="certificate"):
        earliest_end_s(data)


def test_a_damaged_certificate_is_refused(tmp_path: Path) -> None:
    file, _ = certificates.made(tmp_path)
    lines = file.read_bytes().splitlines(keepends=True)
    with pytest.raises(ValueError, match="not a certificate"):
        earliest_end_s(b"".join([*lines[:3], lines[-1]]))
