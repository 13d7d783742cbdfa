"""End of the validity of X.509 certificates (RFC 5280, section 4.1.2.5), without a library for certificates.

Used by gateways for their metrics, and by `doctor`. Pure.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_VERSION, _UTC_TIME, _GENERALIZED_TIME = 0xA0, 0x17, 0x18
_FORMATS: Final = {_UTC_TIME: "%y%m%d%H%M%SZ", _GENERALIZED_TIME: "%Y%m%d%H%M%SZ"}
_FIRST_CENTURY: Final = 50
"""Two digits of a year from here on are of the 20th century."""


def earliest_end_s(pem: bytes) -> float:
    """Return the Unix time of the first expiry among the certificates in a file.

    Raises ValueError if there is none, or one that cannot be read.
    """
    found = [_end_s(ssl.PEM_cert_to_DER_cert(each.decode("ascii"))) for each in _PEM.findall(pem)]
    if not found:
        raise ValueError("no certificate in PEM")
    return min(found)


def _end_s(der: bytes) -> float:
    try:
        ((_, certificate),) = _elements(der)
        _, signed = next(_elements(certificate))
        fields = [field for field in _elements(signed) if field[0] != _VERSION]
        _, validity = fields[3]  # after serial number, algorithm and issuer
        _, (tag, text) = _elements(validity)
        moment = datetime.strptime(text.decode("ascii"), _FORMATS[tag]).replace(tzinfo=UTC)
    except (ValueError, LookupError, StopIteration) as error:
        raise ValueError("not a certificate") from error
    if tag == _UTC_TIME:
        year = moment.year % 100
        moment = moment.replace(year=year + (1900 if year >= _FIRST_CENTURY else 2000))
    return moment.timestamp()


def _elements(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and content of each element of a DER sequence, to find the expiry of a certificate."""
    at = 0
    while at < len(der):
        tag, length = der[at], der[at + 1]
        at += 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(der[at : at + size], "big")
            at += size
        if at + length > len(der):
            raise ValueError("an element is cut off")
        yield tag, der[at : at + length]
        at += length
