"""Signatures are HMACs of the parts that a template names; no header is an error of its reader."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iogate.auth.model import SignatureAuth, SignatureFormat, SignatureScheme, StoredAuth
from iogate.auth.signature_schemes import SCHEMES, HeaderReader, Signer, key_of, parts_of
from tests.examples import examples

algorithms = st.sampled_from(["sha256", "sha1", "sha512"])
encodings = st.sampled_from(["hex", "base64"])
FORMATS = [
    *(format_ for scheme in SCHEMES.values() for format_ in scheme.formats),
    SignatureFormat(header="X", encoding="base64", algorithm="sha512"),
    SignatureFormat(header="X", prefix=",;", timestamp="X", timestamp_prefix="t"),
]


@settings(max_examples=examples(150))
@given(st.binary(min_size=1, max_size=200), st.binary(max_size=300), algorithms, encodings)
def test_a_signature_is_the_hmac_of_its_template(
    key: bytes, body: bytes, algorithm: Any, encoding: Any
) -> None:
    format_ = SignatureFormat(
        header="X", algorithm=algorithm, encoding=encoding, signed="v0:{timestamp}:{id}{body}."
    )
    made = Signer(format_, key).signature({"timestamp": b"17", "id": b"i", "body": body})
    digest = hmac.new(key, b"v0:17:i" + body + b".", getattr(hashlib, algorithm)).digest()
    text = digest.hex().encode() if encoding == "hex" else base64.b64encode(digest)
    assert made == text.rstrip(b"=")
    reader = HeaderReader(format_)
    written = [text, text.upper()] if encoding == "hex" else [text, base64.urlsafe_b64encode(digest)]
    for each in (*written, b"x, " + text + b" ;y", text.rstrip(b"=")):
        assert reader.signatures(each) == [made]


@settings(max_examples=examples(150))
@given(
    st.one_of(
        st.binary(max_size=200),
        st.text("tvh=1,0; \tsha256é", max_size=80).map(lambda text: text.encode("latin-1")),
    )
)
def test_no_header_is_an_error_of_the_reader(header: bytes) -> None:
    for format_ in FORMATS:
        reader = HeaderReader(format_)
        assert all(isinstance(each, bytes) for each in reader.signatures(header))
        moment = reader.moment(header)
        assert moment is None or int(moment) >= 0


@pytest.mark.parametrize(
    ("header", "moment"),
    [
        (b"t=12,v1=a", b"12"),
        (b"v1=a, t=12", b"12"),
        (b"t=12,t=13", None),
        (b"t=-1", None),
        (b"t=", None),
        (b"12", None),
        (b"t=" + b"9" * 16, None),
        (b"t=1.5", None),
    ],
)
def test_a_time_is_one_whole_number(header: bytes, moment: bytes | None) -> None:
    assert HeaderReader(SCHEMES["stripe"].formats[0]).moment(header) == moment


def test_a_template_has_literal_texts_and_parts() -> None:
    assert parts_of("v0:{timestamp}:{body}") == ((b"v0:", "timestamp"), (b":", "body"), (b"", ""))
    assert parts_of("é") == (("é".encode(), ""),)
    for wrong in ("{time}", "{", "}", "{body}}", "{{body}}", "{Body}"):
        with pytest.raises(ValueError, match=r"."):
            parts_of(wrong)


@pytest.mark.parametrize("secret", ["whsec_AAECAw==", "whsec_AAECAw", "AAECAw==", " whsec_AAECAw==\n"])
def test_a_secret_of_standard_webhooks_is_base64(secret: str) -> None:
    assert key_of("standard-webhooks", secret) == bytes(range(4))
    assert key_of("stripe", secret) == secret.encode()


@pytest.mark.parametrize("secret", ["whsec_", "", "whsec_%", "whsec_AAECAw==x", "whsec_A", "é"])
def test_another_text_is_no_secret_of_standard_webhooks(secret: str) -> None:
    with pytest.raises(ValueError, match="is no secret of Standard Webhooks"):
        key_of("standard-webhooks", secret)


def test_a_stored_signature_is_read_again() -> None:
    assert {*SCHEMES, "hmac"} == set(get_args(SignatureScheme))
    for form in (
        SignatureAuth[Any](scheme="github", secrets=(), caller="github"),
        SignatureAuth[Any](scheme="hmac", secrets=(), caller="x", declared=FORMATS[-1], tolerance_s=1.5),
    ):
        assert msgspec.json.decode(msgspec.json.encode(form), type=StoredAuth) == form
