"""Literal credentials in text: well-known shapes, and what a command line passes as a secret.

Used by lint, which reports them, and by plans, which mask them. Pure. Invariant: a reference to a secret,
such as `$TOKEN` or `${ $secrets.token }`, is no credential.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from iogate.security.redaction_patterns import REDACTED, is_secret

_SHAPES: Final = (
    ("an AWS access key", r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    ("a GitHub token", r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{50,})\b"),
    ("a GitLab token", r"\bglpat-[A-Za-z0-9_-]{20,}"),
    ("a Slack token", r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}"),
    ("a Stripe key", r"\b[rs]k_live_[A-Za-z0-9]{16,}\b"),
    ("a Google API key", r"\bAIza[0-9A-Za-z_-]{35}"),
    ("a private key", r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"),
    ("a signed JWT", r"\beyJ[A-Za-z0-9_-]{10,2000}\.eyJ[A-Za-z0-9_-]{10,2000}\.[A-Za-z0-9_-]{16,2000}"),
    ("a password in a URL", r"(?<=://)[^\s/:@{}$<>\"']+:(?P<secret>[^\s/:@{}$<>\"'*]+)(?=@[A-Za-z0-9])"),
)
SHAPE: Final = re.compile("|".join(f"(?P<s{at}>{pattern})" for at, (_, pattern) in enumerate(_SHAPES)))
"""Pattern of a well-known credential; the group `secret` is the secret part, if that is not the whole."""

_PRIVATE_KEY: Final = re.compile(r"(-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----).*?(?=-----END|\Z)", re.DOTALL)
_WORD: Final = r"""(?![$<])(?:"(?!\$)[^"\n]*"|'[^'\n]*'|[^\s"';|&<>]+)"""
"""Argument of a command line that does not begin with a reference."""
_OPTION: Final = re.compile(rf"(?<!\S)--?(?P<name>[A-Za-z][\w-]*)(?P<separator>=|\s+)(?!-){_WORD}")
_USER: Final = re.compile(
    r"""(?<!\S)(?P<start>(?:-u|--user|--proxy-user)(?:=|\s*)(?:"(?P<double>)|'(?P<single>))?[^\s:"'$]*:)"""
    rf"""(?(double)(?!\$)[^"\n]+|(?(single)[^'\n]+|{_WORD}))"""
)
"""Credentials of `curl` and `wget`."""
_VARIABLE: Final = re.compile(rf"(?<![\w$])(?P<name>[A-Za-z_]\w*)=(?P<value>{_WORD})")
_SECRET_VARIABLE: Final = re.compile(
    r"(?i).*(?:passw(?:or)?d|passphrase|secret|token|api_?key|access_?key|private_?key|credentials?)(?:_\w*)?|.*_pwd"
)
_SCHEME: Final = re.compile(
    r"\b(?P<scheme>[Bb]earer|[Bb]asic)(?P<space>\s+)(?!\$)(?=[\w+/=.~-]*[A-Z\d=])[\w+/=.~-]{6,}"
)


def label_of(found: re.Match[str]) -> str:
    """Return the kind of credential that SHAPE has matched, for a sentence."""
    return next(label for at, (label, _) in enumerate(_SHAPES) if found[f"s{at}"] is not None)


def names_secret(name: str) -> bool:
    """Tell whether an option or a variable is named like a credential."""
    return is_secret(name) or _SECRET_VARIABLE.fullmatch(name.replace("-", "_")) is not None


def redact_credentials(text: str) -> str:
    """Return a text, such as a command, with `[redacted]` in place of each shape of a literal credential."""
    text = _PRIVATE_KEY.sub(lambda found: found[1] + REDACTED, text)
    text = SHAPE.sub(_shape, text)
    text = _OPTION.sub(_named(lambda found: found[0][: found.end("separator") - found.start()]), text)
    text = _USER.sub(lambda found: found["start"] + REDACTED, text)
    text = _VARIABLE.sub(_named(lambda found: f"{found['name']}="), text)
    return _SCHEME.sub(lambda found: found["scheme"] + found["space"] + REDACTED, text)


def _shape(found: re.Match[str]) -> str:
    if found[0].startswith("-----BEGIN"):
        return found[0]
    if found["secret"] is None:
        return REDACTED
    start = found.start("secret") - found.start()
    return found[0][:start] + REDACTED


def _named(head: Callable[[re.Match[str]], str]) -> Callable[[re.Match[str]], str]:
    """Return the replacement of a credential's shape: head and `[redacted]`, if it is named like a secret."""
    return lambda found: head(found) + REDACTED if names_secret(found["name"]) else found[0]
