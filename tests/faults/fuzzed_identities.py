"""Credentials of the campaign `fuzzed_credentials`: valid by construction, or broken in one way.

No code of the product decides whether a credential is valid.
"""

from __future__ import annotations

import base64
import hmac
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from iogate.auth.model import SignatureScheme
from iogate.security import secrets
from tests.faults.signatures import own
from tests.gateway import webhooks
from tests.gateway.authentication import tokens

Headers = list[tuple[str, str]]
Maker = Callable[[random.Random, bytes], Headers]


@dataclass(frozen=True, kw_only=True)
class Identity:
    """A credential, with its valid headers and with headers that are not."""

    name: str
    valid: Maker
    broken: Maker
    is_signature: bool = False
    """Whether it is valid only for a POST of its body, and gives no access to a run."""


def cased(name: str, chance: random.Random) -> str:
    """Return the name of a header in another letter case."""
    return chance.choice([name, name.lower(), name.upper(), name.title(), name.swapcase()])


JUNK = (
    "", " ", "null", "undefined", "true", "*", "%00", "'--", '" or ""="', "{}", "[]", "admin", "0", "-1",
    "\xff", "\xc3\xa4", "A" * 5_000, "$(id)", "${jndi:x}", "../../etc/passwd", "sha256:" + "0" * 64,
    "$argon2id$v=19$", ",", "Bearer", "Basic Og==", "None", "a\tb", "=?utf-8?q?x?=", "\\", "token",
)  # fmt: skip


def altered(text: str, chance: random.Random) -> str:
    """Return another text that looks like it."""
    at = chance.randrange(len(text))
    other = chance.choice([each for each in "aZ0_-" if each != text[at]])
    forms = [
        text[:at] + other + text[at + 1 :],
        text[:at] + text[at + 1 :],
        text + other,
        other + text,
        text[:at],
        text.swapcase(),
        text * 2,
        f'"{text}"',
        f"{text},{text}",
        f"{text} {text}",
        f"{text}%00",
        base64.b64encode(text.encode()).decode(),
        text.encode().hex(),
        "sha256:" + secrets.hash_token(text).removeprefix("sha256:"),
        "".join(f"%{ord(each):02x}" for each in text),
        chance.choice(JUNK),
    ]
    return chance.choice([each for each in forms if each.strip() != text])


def misplaced(text: str, chance: random.Random) -> Headers:
    """Return a token in a place where no token is read."""
    return [
        chance.choice(
            [
                ("x-token", text),
                ("x-api-key", text),
                ("cookie", f"token={text}"),
                ("proxy-authorization", f"Bearer {text}"),
                ("authorization", f"Token {text}"),
                ("authorization", text),
                ("authorization", f"Bearer{text}"),
                ("authorization", f"Bearer\t{text}"),
                ("authorization", f"Bearer: {text}"),
                ("authorization", f"Bearer, Bearer {text}"),
                ("authorization", f'Bearer token="{text}"'),
                ("authorization", f"Basic {text}"),
                ("authorization", f"Digest {text}"),
                ("tokens", text),
                ("token_", text),
                ("x-original-token", text),
                ("password", text),
            ]
        )
    ]


def token(name: str, text: str) -> Identity:
    """A token in one of its headers."""

    def valid(chance: random.Random, _body: bytes) -> Headers:
        scheme = chance.choice(["Bearer", "bearer", "BEARER"])
        plain = (cased("token", chance), text)
        bearer = (cased("authorization", chance), f"{scheme} {text}")
        return chance.choice([[plain], [bearer], [plain, bearer]])

    def broken(chance: random.Random, _body: bytes) -> Headers:
        if chance.random() < 0.3:
            return misplaced(text, chance)
        wrong = altered(text, chance)
        return [chance.choice([("token", wrong), ("authorization", f"Bearer {wrong}")])]

    return Identity(name=name, valid=valid, broken=broken)


def user(name: str, login: str, password: str) -> Identity:
    """A user and a password, in their headers or as Basic."""

    def basic(text: str) -> str:
        return "Basic " + base64.b64encode(text.encode()).decode()

    def valid(chance: random.Random, _body: bytes) -> Headers:
        plain = [(cased("user", chance), login), (cased("password", chance), password)]
        ambient = [(cased("authorization", chance), basic(f"{login}:{password}"))]
        return chance.choice([plain, ambient, plain + ambient])

    def broken(chance: random.Random, _body: bytes) -> Headers:
        wrong = altered(password, chance)
        other = chance.choice([altered(login, chance), login.upper(), login + ":", "", "eve"])
        encoded = base64.b64encode(f"{login}:{password}".encode()).decode()
        return chance.choice(
            [
                [("user", login), ("password", wrong)],
                [("user", other), ("password", password)],
                [("user", login)],
                [("password", password)],
                [("user", password), ("password", login)],
                [("user", f"{login}:{password}"), ("password", "")],
                [("authorization", basic(f"{login}:{wrong}"))],
                [("authorization", basic(f"{other}:{password}"))],
                [("authorization", basic(login))],
                [("authorization", basic(f"{login}:{password}\n"))],
                [("authorization", basic(f"{login}:{password}:"))],
                [("authorization", basic(f" {login}:{password}"))],
                [("authorization", basic(f"{login}\0:{password}"))],
                [("authorization", f"Basic {encoded[::-1]}")],
                [("authorization", f"Bearer {encoded}")],
                [("authorization", f"Basic {login}:{password}")],
                [("token", f"{login}:{password}")],
                [("x-user", login), ("x-password", password)],
                [("username", login), ("password", password)],
            ]
        )

    return Identity(name=name, valid=valid, broken=broken)


def _jose(header: Mapping[str, Any], claims: Mapping[str, Any], signature: bytes) -> str:
    return f"{tokens.part(dict(header))}.{tokens.part(dict(claims))}.{tokens.part(signature)}"


def forged(algorithm: str, key: Any, audience: str) -> list[str]:
    """Return tokens that no issuer has signed, or that are not valid for the audience."""
    pem = tokens.public_pem("p256", 1)
    good = tokens.token(algorithm, key=key, aud=audience)
    head, payload, signature = good.split(".")
    claims = tokens.claims(aud=audience)
    found = [
        tokens.token(algorithm, key=key, aud=audience, **change)
        for change in (
            {"iss": "https://evil.example"},
            {"iss": None},
            {"exp": time.time() - 3_600},
            {"nbf": time.time() + 36_000},
        )
    ]
    others: list[Any] = ["https://other.test", [], None]
    found += [tokens.token(algorithm, key=key, aud=other) for other in others]
    for name in ("none", "None", "nOnE", "", "HS256", "ES384", "RS256", "dir"):
        found.append(_jose({"alg": name, "typ": "JWT"}, claims, b""))
        found.append(_jose({"alg": name}, claims, b"\0" * 64))
    for guess in (pem.encode(), pem.strip().encode(), b"", b"secret", pem.replace("\n", "").encode()):
        for extra in ({}, {"kid": "../../../dev/null"}, {"kid": ""}):
            first = f"{tokens.part({'alg': 'HS256', **extra})}.{tokens.part(claims)}"
            found.append(f"{first}.{tokens.part(hmac.digest(guess, first.encode(), 'sha256'))}")
    attacker = tokens.private_key("p256", 9)
    public = tokens.jwk("p256", 9)
    named: list[dict[str, Any]] = [{}, {"jwk": public}, {"jku": "https://evil.example/keys"}, {"kid": "1"}]
    found += [tokens.token("ES256", key=attacker, header=each, aud=audience) for each in named]
    found.append(f"{head}.{tokens.part({**claims, 'sub': 'root'})}.{signature}")
    found += [f"{head}.{payload}.", f"{head}.{payload}", f"{head}..{signature}", f".{payload}.{signature}"]
    found += [
        f"{good}.{signature}",
        f"{head}.{payload}.{'A' * 86}",
        f"{good[:-8]}{'A' * 8}",
        good[:-8],
        good.lower(),
    ]
    found += ["e30.e30.e30", "eyJ.eyJ.eyJ", "e30.W10.AA", "e" * 8_000 + ".e.e", "e30." + "A" * 20_000 + ".AA"]
    return [each for each in found if each != good]


def jwt(name: str, algorithm: str, key: Any, audience: str) -> Identity:
    """JWTs of an issuer."""
    good = [
        tokens.token(algorithm, key=key, aud=aud, sub=sub, exp=time.time() + 7_200)
        for sub in ("ada", "bob", "carl")
        for aud in (audience, ["https://x.test", audience])
    ]
    bad = forged(algorithm, key, audience)

    def valid(chance: random.Random, _body: bytes) -> Headers:
        return [(cased("authorization", chance), f"Bearer {chance.choice(good)}")]

    def broken(chance: random.Random, _body: bytes) -> Headers:
        text = chance.choice(bad)
        return chance.choice(
            [[("authorization", f"Bearer {text}")], [("token", text)], misplaced(good[0], chance)]
        )

    return Identity(name=name, valid=valid, broken=broken)


Sign = Callable[..., dict[str, str]]
SCHEMES: dict[SignatureScheme, tuple[Sign, str, str]] = {
    "github": (webhooks.github, "X-Hub-Signature-256", "github secret one"),
    "standard-webhooks": (
        webhooks.standard,
        "webhook-signature",
        "whsec_" + base64.b64encode(b"s" * 24).decode(),
    ),
    "stripe": (webhooks.stripe, "Stripe-Signature", "whsec_stripe"),
    "slack": (webhooks.slack, "X-Slack-Signature", "slack secret"),
    "meta": (webhooks.meta, "X-Hub-Signature-256", "meta secret"),
    "hmac": (own, "X-Sig", "own secret"),
}
TIMED = ("standard-webhooks", "stripe", "slack", "hmac")


def signature(name: str, scheme: SignatureScheme, secret: str) -> Identity:
    """Signatures of a scheme over the body."""
    sign, header, _ = SCHEMES[scheme]
    other = "whsec_" + base64.b64encode(b"t" * 24).decode() if scheme == "standard-webhooks" else "another"

    def valid(chance: random.Random, body: bytes) -> Headers:
        named: dict[str, Any] = {}
        if scheme in {"github", "standard-webhooks", "hmac"}:
            named["delivery"] = f"{chance.getrandbits(64):x}"
        if scheme == "github" and chance.random() < 0.05:
            named["event"] = "ping"
        return list(sign(body, secret, **named).items())

    def broken(chance: random.Random, body: bytes) -> Headers:
        headers = sign(body, secret)
        value = headers[header]
        match chance.choice(["flipped", "short", "secret", "body", "junk", "absent", "time", "twice"]):
            case "flipped":
                at = chance.randrange(len(value) - 30, len(value) - 4)
                headers[header] = value[:at] + ("0" if value[at] != "0" else "1") + value[at + 1 :]
            case "short":
                headers[header] = value[: chance.randrange(len(value) - 3)]
            case "secret":
                headers = sign(body, other)
            case "body":
                headers = sign(body + b" ", secret)
            case "junk":
                headers[header] = chance.choice(JUNK)
            case "time" if scheme in TIMED:
                headers = sign(body, secret, at=webhooks.now() + chance.choice([-10_000, -400, 400, 10_000]))
            case "twice":
                return [*headers.items(), (header, value)]
            case _:
                del headers[header]
        return list(headers.items())

    return Identity(name=name, valid=valid, broken=broken, is_signature=True)
