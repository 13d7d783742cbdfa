"""A JWT is accepted if its issuer signed it for this API and it has not expired; nothing gives a 500."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from pathlib import Path
from typing import Any

import jwt as pyjwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iogate.auth.jwt_form import ASYMMETRIC, SYMMETRIC
from iogate.auth.model import AnyAuth, EnvSecret, FileSecret, JwtAuth, NoAuth, StoredSecret
from iogate.gateway.authentication import jwt_keys
from iogate.gateway.authentication.authenticator import Authenticator
from iogate.gateway.authentication.forms.form import InvalidCredentials, MissingCredentials
from iogate.gateway.authentication.forms.jwts import Jwts
from iogate.gateway.authentication.key_sets import MAX_TOKEN, KeySet
from iogate.gateway.http.responses import HTTPError
from iogate.security.failure_limit import FAILURES
from iogate.security.password_hashing import Hashing
from tests.gateway.authentication.tokens import (
    AUDIENCE,
    ISSUER,
    KINDS,
    SECRET,
    claims,
    jwk,
    key_set,
    part,
    private_key,
    private_pem,
    public_pem,
    token,
)
from tests.gateway.driver import TOKEN, USER, request

Jwt = JwtAuth[StoredSecret]
INVALID = 401, "Token is invalid"


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", SECRET)


def form(tmp_path: Path, kind: str = "p256", **more: Any) -> Jwt:
    """A form with the public key of a kind in a file; with `secret`, the shared secret instead."""
    if kind == "secret":
        return JwtAuth(secret=(EnvSecret(name="SECRET"),), **{"issuer": ISSUER} | more)
    file = tmp_path / f"{kind}.pem"
    if not file.exists():
        file.write_text(public_pem(kind))
    return JwtAuth(key=(FileSecret(path=str(file)),), **{"issuer": ISSUER} | more)


def check(auth: Any, bearer: str, *, hashing: Hashing | None = None, address: str = "") -> Any:
    """Return the identity, or status and message of the refusal."""
    return ask(Authenticator(auth, hashing=hashing), bearer, address=address)


def ask(authenticator: Authenticator, bearer: str, *, address: str = "") -> Any:
    sent = request((b"authorization", b"Bearer " + bearer.encode("latin-1")))
    sent.address = address
    try:
        return asyncio.run(authenticator.identify(sent))
    except HTTPError as refused:
        return refused.response.status, refused.response.message


@pytest.mark.parametrize("algorithm", [*ASYMMETRIC, *SYMMETRIC])
def test_a_token_signed_by_each_algorithm_is_accepted(algorithm: str, tmp_path: Path) -> None:
    kind = KINDS.get(algorithm, "secret")
    assert check(form(tmp_path, kind), token(algorithm)) == ("JWT", "ada")
    assert check(form(tmp_path, kind, algorithms=(algorithm,)), token(algorithm)) == ("JWT", "ada")
    other = next(each for each in (*ASYMMETRIC, *SYMMETRIC) if KINDS.get(each, "secret") != kind)
    assert check(form(tmp_path, kind), token(other)) == INVALID


def test_only_the_declared_algorithms_are_accepted(tmp_path: Path) -> None:
    auth = form(tmp_path, "rsa", algorithms=("RS256", "PS512"))
    found = [check(auth, token(each)) for each in ("RS256", "PS512", "RS384", "PS256")]
    assert found == [("JWT", "ada"), ("JWT", "ada"), INVALID, INVALID]


@pytest.mark.parametrize(
    "name", ["none", "None", "nOnE", "", "HS256", "hs256", "ES256K", "EdDSA ", 5, None, []]
)
def test_a_token_that_is_not_signed_is_refused(name: Any, tmp_path: Path) -> None:
    unsigned = f"{part({'alg': name, 'typ': 'JWT'})}.{part(claims())}"
    for signature in ("", part(b"x")):
        assert check(form(tmp_path), f"{unsigned}.{signature}") == INVALID
        assert check(form(tmp_path, "secret"), f"{unsigned}.{signature}") == INVALID


def test_a_token_signed_with_a_public_key_as_secret_is_refused(tmp_path: Path) -> None:
    """The confusion of algorithms: HS256 with the text of the public key, which everyone knows."""
    import hashlib
    import hmac

    for key in (public_pem("rsa"), public_pem("rsa").strip()):
        head = f"{part({'alg': 'HS256'})}.{part(claims())}"
        signature = part(hmac.digest(key.encode(), head.encode(), hashlib.sha256))
        assert check(form(tmp_path, "rsa"), f"{head}.{signature}") == INVALID


def test_a_key_in_the_token_itself_has_no_effect(tmp_path: Path) -> None:
    own = jwk("p256", 1)
    for header in ({"jwk": own}, {"jku": "https://evil.test"}, {"x5u": "https://evil.test"}, {"kid": "x"}):
        forged = token(key=private_key("p256", 1), header=header)
        assert check(form(tmp_path), forged) == INVALID


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, ("JWT", "ada")),
        ({"exp": None}, INVALID),
        ({"exp": "soon"}, INVALID),
        ({"exp": True}, INVALID),
        ({"exp": 10**400}, ("JWT", "ada")),
        ({"exp": -30}, ("JWT", "ada")),
        ({"exp": -61}, (401, "Token has expired")),
        ({"nbf": 59}, ("JWT", "ada")),
        ({"nbf": 120}, (401, "Token is not valid yet")),
        ({"nbf": "x"}, INVALID),
        ({"nbf": None, "iat": None}, ("JWT", "ada")),
        ({"iat": 120}, (401, "Token is not valid yet")),
        ({"iss": "https://other.test"}, INVALID),
        ({"iss": None}, INVALID),
        ({"iss": [ISSUER]}, INVALID),
        ({"aud": "other"}, INVALID),
        ({"aud": None}, INVALID),
        ({"aud": ["other", AUDIENCE]}, ("JWT", "ada")),
        ({"aud": []}, INVALID),
        ({"aud": {AUDIENCE: 1}}, INVALID),
        ({"sub": None}, INVALID),
        ({"sub": ""}, INVALID),
        ({"sub": "a b"}, INVALID),
        ({"sub": "a\nb"}, INVALID),
        ({"sub": "x" * 129}, INVALID),
        ({"sub": 7}, ("JWT", "7")),
        ({"sub": True}, INVALID),
        ({"sub": "system:serviceaccount:shop:robot"}, ("JWT", "system:serviceaccount:shop:robot")),
        ({"sub": "auth0|Zoë"}, ("JWT", "auth0|Zoë")),
    ],
    ids=str,
)
def test_each_claim_is_checked(changed: dict[str, Any], expected: Any, tmp_path: Path) -> None:
    now = time.time()
    given_: dict[str, Any] = {
        name: now + value
        if name in ("exp", "nbf", "iat") and type(value) is int and abs(value) < 1000
        else value
        for name, value in changed.items()
    }
    assert check(form(tmp_path, audience=(AUDIENCE, "second")), token(**given_)) == expected


@pytest.mark.parametrize(
    ("wanted", "given_", "accepted"),
    [
        ({"tenant": "acme"}, {"tenant": "acme"}, True),
        ({"tenant": "acme"}, {"tenant": ["other", "acme"]}, True),
        ({"tenant": ["acme", "bolt"]}, {"tenant": "bolt"}, True),
        ({"tenant": ["acme", "bolt"]}, {"tenant": ["x", "bolt"]}, True),
        ({"tenant": ["acme", "bolt"]}, {"tenant": "acm"}, False),
        ({"tenant": "acme"}, {}, False),
        ({"admin": True}, {"admin": True}, True),
        ({"admin": True}, {"admin": 1}, False),
        ({"admin": True}, {"admin": "true"}, False),
        ({"level": 3}, {"level": 3.0}, True),
        ({"/realm_access/roles": "ops"}, {"realm_access": {"roles": ["dev", "ops"]}}, True),
        ({"/realm_access/roles": "ops"}, {"realm_access": {"roles": ["dev"]}}, False),
        ({"/realm_access/roles": "ops"}, {"realm_access": ["ops"]}, False),
        ({"/a~1b/c": "x"}, {"a/b": {"c": "x"}}, True),
        ({"https://x.test/role": "ops"}, {"https://x.test/role": "ops"}, True),
        ({"a": "x", "b": "y"}, {"a": "x", "b": "z"}, False),
    ],
)
def test_claims_must_have_their_values(
    wanted: dict[str, Any], given_: dict[str, Any], tmp_path: Path, *, accepted: bool
) -> None:
    found = check(form(tmp_path, claims=wanted), token(**given_))
    assert found == (("JWT", "ada") if accepted else INVALID)


@pytest.mark.parametrize(
    ("given_", "accepted"),
    [
        ({"scope": "a b c"}, True),
        ({"scope": "b a"}, True),
        ({"scp": ["a", "b"]}, True),
        ({"scp": "a b"}, True),
        ({"scope": "a", "scp": ["b"]}, True),
        ({"scope": ["a", "b"]}, True),
        ({"scope": "a"}, False),
        ({"scope": "ab"}, False),
        ({}, False),
        ({"scope": {"a": 1, "b": 1}}, False),
    ],
)
def test_a_token_needs_all_scopes(given_: dict[str, Any], tmp_path: Path, *, accepted: bool) -> None:
    found = check(form(tmp_path, scopes=("a", "b")), token(**given_))
    assert found == (("JWT", "ada") if accepted else (403, "Token lacks the scope a b"))


def test_another_claim_names_the_caller(tmp_path: Path) -> None:
    sent = token(client_id="robot", act={"sub": "deep"})
    assert check(form(tmp_path, caller="client_id"), sent) == ("JWT", "robot")
    assert check(form(tmp_path, caller="/act/sub"), sent) == ("JWT", "deep")
    assert check(form(tmp_path, caller="missing"), sent) == INVALID


def test_without_issuer_and_audience_any_are_accepted(tmp_path: Path) -> None:
    auth = form(tmp_path, issuer=None)
    assert check(auth, token(iss=None, aud=None)) == ("JWT", "ada")
    assert check(auth, token(iss="x", aud=["y"])) == ("JWT", "ada")


def test_the_challenge_names_the_reason(tmp_path: Path) -> None:
    def challenge(auth: Any, *headers: tuple[bytes, bytes]) -> list[str]:
        with pytest.raises((InvalidCredentials, MissingCredentials)) as raised:
            asyncio.run(Authenticator(auth).identify(request(*headers)))
        return [
            value.decode() for name, value in raised.value.response.headers if name == b"www-authenticate"
        ]

    def bearer(text: str) -> tuple[bytes, bytes]:
        return b"authorization", b"Bearer " + text.encode()

    auth = form(tmp_path, scopes=("a", "b"))
    basic = 'Basic realm="iogate", charset="UTF-8"'
    assert challenge(auth) == ['Bearer realm="iogate"']
    assert challenge(auth, bearer("a.b.c")) == [
        'Bearer realm="iogate", error="invalid_token", '
        'error_description="The token is malformed, or its signature is not valid"'
    ]
    assert challenge(auth, bearer(token(exp=1))) == [
        'Bearer realm="iogate", error="invalid_token", error_description="The token has expired"'
    ]
    assert challenge(auth, bearer(token())) == [
        'Bearer realm="iogate", error="insufficient_scope", '
        'error_description="The token lacks a required scope", scope="a b"'
    ]
    assert challenge(AnyAuth(any=(auth, USER)), bearer(token(exp=1))) == [
        'Bearer realm="iogate", error="invalid_token", error_description="The token has expired"',
        basic,
    ]
    assert challenge(AnyAuth(any=(auth, USER))) == ['Bearer realm="iogate"', basic]


def test_a_token_of_three_parts_goes_to_jwt_and_another_one_to_token(tmp_path: Path) -> None:
    auth = AnyAuth(any=(TOKEN, form(tmp_path)))
    assert check(auth, "123456") == ("Token", "token")
    assert check(auth, token()) == ("JWT", f"jwt:{ISSUER}#ada")
    assert check(auth, token(exp=1)) == (401, "Token has expired")
    assert check(auth, "wrong") == INVALID
    assert check(AnyAuth(any=(NoAuth(), form(tmp_path))), token(exp=1)) == ("", "")


def test_the_tokens_of_two_issuers_are_accepted(tmp_path: Path) -> None:
    auth = AnyAuth(any=(form(tmp_path), form(tmp_path, "rsa", issuer="https://second.test", scopes=("a",))))
    authenticator = Authenticator(auth)
    for _ in range(2):
        assert ask(authenticator, token()) == ("JWT", f"jwt:{ISSUER}#ada")
        second = ask(authenticator, token("RS256", iss="https://second.test", scope="a"))
        assert second == ("JWT", "jwt:https://second.test#ada")
        assert ask(authenticator, token("RS256")) == INVALID, "the key of one, the name of the other"
        assert ask(authenticator, token("RS256", iss="https://second.test"))[0] == 403


def test_the_header_token_is_read_too(tmp_path: Path) -> None:
    sent = request((b"token", token().encode()))
    assert asyncio.run(Authenticator(form(tmp_path)).identify(sent)) == ("JWT", "ada")
    assert {b"token", b"authorization"} <= Authenticator(form(tmp_path)).stripped


def test_a_token_is_verified_once_and_accepted_until_it_expires(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def counted(*arguments: Any) -> Any:
        calls.append(arguments)
        return verified(*arguments)

    verified = jwt_keys.verified_payload
    monkeypatch.setattr("iogate.gateway.authentication.key_sets.verified_payload", counted)
    now = [time.time()]
    authenticator = Authenticator(form(tmp_path, leeway_s=5.0))
    (jwts,) = authenticator.forms
    assert isinstance(jwts, Jwts)
    jwts._verifiers[0]._now_s = lambda: now[0]
    sent = token(exp=now[0] + 10, iat=now[0])
    for _ in range(3):
        assert ask(authenticator, sent) == ("JWT", "ada")
    assert len(calls) == 1
    now[0] += 14.9
    assert ask(authenticator, sent) == ("JWT", "ada")
    now[0] += 0.2
    assert ask(authenticator, sent) == (401, "Token has expired")
    keys = jwts._verifiers[0]._keys
    assert not keys._verified, "an expired token is forgotten"


def test_the_memory_for_verified_tokens_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iogate.gateway.authentication.key_sets.REMEMBERED", 5)
    keys = KeySet(keys=[jwt_keys.read_secret(SECRET)])
    sent = [token("HS256", sub=str(number)).encode() for number in range(9)]
    for each in sent:
        assert asyncio.run(keys.verify(each, frozenset(SYMMETRIC))) is not None
    assert [keys.remembered(each) is not None for each in sent] == [False] * 4 + [True] * 5
    assert not any(each in str(keys._verified.keys()).encode() for each in sent)


def test_wrong_tokens_are_limited_for_each_address(tmp_path: Path) -> None:
    hashing = Hashing(monotonic=lambda: 0.0)
    authenticator = Authenticator(form(tmp_path, scopes=("a",)), hashing=hashing)
    forged = token(key=private_key("p256", 1))
    good, expired, narrow = token(scope="a"), token(exp=1), token()
    for _ in range(2 * FAILURES):
        # Whoever shows a token of the issuer does not guess.
        assert ask(authenticator, expired, address="192.0.2.1") == (401, "Token has expired")
        assert ask(authenticator, narrow, address="192.0.2.1")[0] == 403
    for _ in range(FAILURES):
        assert ask(authenticator, forged, address="192.0.2.1") == INVALID
    assert ask(authenticator, forged, address="192.0.2.1")[0] == 429
    assert ask(authenticator, good, address="192.0.2.1")[0] == 429, "not yet verified"
    assert ask(authenticator, good, address="192.0.2.2") == ("JWT", "ada")
    assert ask(authenticator, good, address="192.0.2.1") == ("JWT", "ada"), "a known token is never refused"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "secret file key does not exist"),
        ("nonsense", "key of jwt is not a public key in PEM, a JWK or a JWK Set"),
        ("{", "key of jwt is not valid JSON: "),
        ('{"keys": 5}', "key of jwt has no public key for signatures that iogate knows"),
        (private_pem("p256"), "key of jwt has a private key; give the public key"),
        (
            json.dumps({**jwk("p256"), "d": "x"}),
            "key of jwt has a private or shared key; give the public key",
        ),
        (json.dumps({"kty": "oct", "k": "x" * 99}), "key of jwt has a private or shared key"),
        (public_pem("rsa1024"), "key of jwt is no key for JWTs, which are RSA of 2048 to 8192 bits"),
        (public_pem("k256"), "key of jwt is no key for JWTs"),
        (
            public_pem("rsa"),
            "key of jwt verifies PS256, PS384, PS512, RS256, RS384, RS512, and algorithms has",
        ),
    ],
)
def test_a_key_that_cannot_be_used_is_named_and_the_api_answers_503(
    content: str | None, reason: str, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_text(content)
    auth: Jwt = JwtAuth(key=(FileSecret(path="key"),), issuer=ISSUER, algorithms=("ES256",))
    authenticator = Authenticator(auth, root=tmp_path)
    (message,) = authenticator.unset
    assert message.startswith(reason)
    assert ask(authenticator, token()) == (
        503,
        "The keys that verify tokens are not available on this gateway",
    )
    assert ask(authenticator, "")[0] == 401


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("short", "secret of jwt has 5 bytes, and a shared secret needs at least 32"),
        (public_pem("rsa"), "secret of jwt is a public key, a certificate or a JWK, not a shared secret"),
    ],
)
def test_a_secret_that_cannot_be_used_is_named(
    text: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", text)
    assert Authenticator(form(tmp_path, "secret")).unset == (reason,)


def test_a_short_secret_verifies_short_algorithms_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", SECRET[:40])
    assert check(form(tmp_path, "secret"), token("HS256", key=SECRET[:40])) == ("JWT", "ada")
    (message,) = Authenticator(form(tmp_path, "secret", algorithms=("HS512",))).unset
    assert message == "secret of jwt verifies HS256, and algorithms has HS512"


def test_either_of_two_keys_verifies_during_a_rotation(tmp_path: Path) -> None:
    for number in (0, 1):
        (tmp_path / f"{number}.pem").write_text(public_pem("p256", number))
    auth: Jwt = JwtAuth(key=(FileSecret(path="0.pem"), FileSecret(path="1.pem")), issuer=ISSUER)
    authenticator = Authenticator(auth, root=tmp_path)
    assert [ask(authenticator, token(key=private_key("p256", number)))[0] for number in (0, 1, 2)] == [
        "JWT",
        "JWT",
        401,
    ]
    (tmp_path / "0.pem").unlink()
    assert authenticator.has_changed()
    renewed = authenticator.renewed()
    assert renewed.unset == ()
    assert [ask(renewed, token(key=private_key("p256", number)))[0] for number in (0, 1)] == [401, "JWT"]


@pytest.mark.parametrize("kind", ["rsa", "p256", "p384", "p521", "ed25519"])
def test_a_key_file_is_a_jwk_or_a_key_set_too(kind: str, tmp_path: Path) -> None:
    algorithm = next(each for each, of in KINDS.items() if of == kind)
    for content in (json.dumps(jwk(kind)), key_set(jwk(kind), {"kty": "new"}).decode()):
        (tmp_path / "key").write_text(content)
        auth: Jwt = JwtAuth(key=(FileSecret(path="key"),), issuer=ISSUER)
        found = ask(Authenticator(auth, root=tmp_path), token(algorithm))
        assert found == ("JWT", "ada")


def test_without_the_library_status_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "jwt", None)
    authenticator = Authenticator(form(tmp_path))
    assert authenticator.unset == ('JWTs need the extra jwt of iogate: pip install "iogate[jwt]"',)
    assert ask(authenticator, token_made_before)[0] == 503


token_made_before = token(exp=time.time() + 86_400)  # a suite takes minutes

TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
HEADS = st.fixed_dictionaries(
    {"alg": st.sampled_from(["ES256", "RS256", "HS256", "none", "EdDSA"]) | JSON},
    optional={"kid": JSON, "crit": JSON, "b64": JSON, "typ": JSON, "jwk": JSON, "zip": JSON},
)
RAW = st.binary(max_size=60)


@given(
    st.one_of(
        TEXT,
        st.builds("{}.{}.{}".format, TEXT, TEXT, TEXT),
        st.builds(lambda head, body, end: f"{part(head)}.{part(body)}.{part(end)}", HEADS, JSON, RAW),
        st.builds(lambda head, body, end: f"{part(head)}.{part(body)}.{part(end)}", RAW, RAW, RAW),
        st.builds(lambda at, by: _flipped(token_made_before, at, by), st.integers(0), st.integers(1, 60)),
        st.builds(lambda levels: f"{part(b'[' * levels)}.e30.e30", st.integers(1, 9000)),
        st.builds(lambda size: "eyJ" + "A" * size + ".e30.e30", st.integers(MAX_TOKEN - 9, MAX_TOKEN + 9)),
    )
)
def test_no_malformed_token_is_accepted_or_breaks_the_check(bearer: str) -> None:
    for authenticator in _ALL:
        found = ask(authenticator, bearer)
        assert found in (INVALID, (401, "Token is required"))


def _flipped(text: str, at: int, by: int) -> str:
    """Replace one character by another one of base64url."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    at %= len(text)
    if text[at] == ".":
        return text[:at] + text[at + 1 :]
    return text[:at] + letters[(letters.index(text[at]) + by) % 64] + text[at + 1 :]


class _Static:
    """Authenticators with keys of their own."""

    @staticmethod
    def of(*keys: jwt_keys.VerificationKey, symmetric: bool = False) -> Authenticator:
        authenticator = Authenticator(JwtAuth(issuer=ISSUER, jwks="https://issuer.test/keys"))
        (jwts,) = authenticator.forms
        assert isinstance(jwts, Jwts)
        (verifier,) = jwts._verifiers
        verifier._keys = KeySet(keys=keys)
        if symmetric:
            verifier._algorithms = frozenset(SYMMETRIC)
        return authenticator


_ALL = [
    _Static.of(*jwt_keys.read_public_keys(public_pem("p256")), *jwt_keys.read_public_keys(public_pem("rsa"))),
    _Static.of(jwt_keys.read_secret(SECRET), symmetric=True),
]


def test_the_check_of_malformed_tokens_accepts_the_token_that_it_changes() -> None:
    assert ask(_ALL[0], token_made_before) == ("JWT", "ada")


def test_tokens_of_the_standard_are_read() -> None:
    """RFC 7515, appendix A.1: the HS256 example, which expired in 2011."""
    example = (
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leG"
        "FtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    )
    key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
    material = base64.urlsafe_b64decode(key + "==")
    found = jwt_keys.verified_payload(
        example.encode(),
        jwt_keys.VerificationKey(thumbprint=b"", algorithms=frozenset({"HS256"}), material=material),
        "HS256",
    )
    assert found is not None
    assert json.loads(found)["iss"] == "joe"


def test_a_real_client_library_makes_accepted_tokens(tmp_path: Path) -> None:
    sent = pyjwt.encode(
        claims(), private_key("rsa"), algorithm="RS256", headers={"kid": "a", "typ": "at+jwt"}
    )
    assert check(form(tmp_path, "rsa"), sent) == ("JWT", "ada")
