"""`iogate doctor` tells how long the certificate of the setting `tls` is valid."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from iogate.cli.processes.certificate_check import DAY_S, check_certificate
from iogate.security.certificate_expiry import earliest_end_s
from iogate.settings import Settings
from tests import certificates

RENEW = "renew it: gateways use the new file within seconds, without a restart"


@pytest.mark.parametrize(
    ("days_left", "verdict", "said", "hint"),
    [
        (40, "ok", "expires in 40 days, at ", ""),
        (14, "ok", "expires in 14 days, at ", ""),
        (13, "warning", "expires in 13 days, at ", RENEW),
        (1, "warning", "expires in 1 day, at ", RENEW),
        (-1, "error", "has expired at ", RENEW),
    ],
)
def test_the_time_left_decides(tmp_path: Path, days_left: int, verdict: str, said: str, hint: str) -> None:
    cert, key = certificates.made(tmp_path)
    settings = dataclasses.replace(Settings(), tls={"cert": str(cert), "key": str(key)})
    now_s = earliest_end_s(cert.read_bytes()) - days_left * DAY_S - 1
    (found,) = check_certificate(settings, now_s=now_s)
    assert (found.about, found.verdict, found.hint) == ("tls", verdict, hint)
    assert found.message.startswith(f"{cert} {said}")


def test_a_file_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    absent = dataclasses.replace(Settings(), tls={"cert": str(tmp_path / "no.pem"), "key": "k"})
    (found,) = check_certificate(absent)
    assert found.message == f"cannot read {tmp_path}/no.pem: No such file or directory"
    (tmp_path / "no.pem").write_text("text")
    (found,) = check_certificate(absent)
    assert found.message == f"{tmp_path}/no.pem: no certificate in PEM"
    assert not list(check_certificate(Settings())), "without tls there is nothing to check"
