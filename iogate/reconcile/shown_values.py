"""Values of documents as a plan shows them: short, and without anything that may be secret.

Used by everything that shows a difference. Pure. Invariants: no hash and no value with the name of a secret
is shown; a reference to a secret is shown, since it names only the place of the secret.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, Final

from iogate import json_values
from iogate.compiler.revision import resource_digest, resource_name
from iogate.json_pointer import Pointer
from iogate.messages import printable, shorten
from iogate.reconcile.json_diff import ABSENT
from iogate.security.credential_shapes import names_secret, redact_credentials
from iogate.security.redaction_patterns import REDACTED, is_secret, redact_query, redact_text, redact_url

MAX_TEXT: Final = 60
"""Characters of a value in a line of text."""


def shown(path: Pointer, value: Any) -> Any:
    """Return the value at a path as a plan shows it, with `[redacted]` in place of possible secrets."""
    if value is ABSENT:
        return None
    if path[:1] == ("auth",):
        return _auth(path, value)
    if path[:2] in (("use", "secrets"), ("callback", "secret")):  # names and places
        return value
    if path == ("callback",) and isinstance(value, Mapping):
        return {name: shown((*path, name), member) for name, member in value.items()}
    if any(isinstance(step, str) and is_secret(step) for step in path) and value not in (None, ""):
        return REDACTED
    if path[-2:-1] == ("environment",) and names_secret(str(path[-1])) and _is_literal(value):
        return REDACTED
    return _redacted(value)


def shown_definition(value: Any) -> Any:
    """Return the definition of a workflow with `[redacted]` in place of literal secrets.

    References, expressions, names of secrets and schemas stay as they are.
    """
    match value:
        case Mapping():
            return {
                name: REDACTED if _is_literal_secret(name, item) else shown_definition(item)
                for name, item in value.items()
            }
        case list() | tuple():
            previous = (None, *value)
            return [
                REDACTED if _is_secret_option(before) and _is_literal(item) else shown_definition(item)
                for before, item in zip(previous, value, strict=False)
            ]
        case str():
            return redact_credentials(redact_url(value))
        case _:
            return value


def as_text(value: Any) -> str:
    """Return a shown value as one short line."""
    if value is None:
        return "none"
    text = value if isinstance(value, str) else json_values.to_json(value)
    return printable(shorten(" ".join(text.split()), MAX_TEXT))


def as_texts(before: Any, after: Any) -> tuple[str, str]:
    """Return two different shown values as short lines, different if that is possible without a secret."""
    texts = as_text(before), as_text(after)
    if texts[0] != texts[1] or before == after:
        return texts
    first, second = json_values.to_json(before), json_values.to_json(after)
    same = (one == other for one, other in zip(first, second, strict=False))
    start = sum(itertools.takewhile(bool, same))
    if start > MAX_TEXT // 2:
        first, second = ("…" + text[start - MAX_TEXT // 4 :] for text in (first, second))
    return printable(shorten(first, MAX_TEXT)), printable(shorten(second, MAX_TEXT))


def _is_literal_secret(name: str, value: Any) -> bool:
    """Tell whether a member to show has the name of a secret and a value that is no reference."""
    if isinstance(value, str):
        return bool(value) and "$" not in value and names_secret(name)
    return isinstance(value, int | float) and not isinstance(value, bool) and names_secret(name)


def _is_literal(value: Any) -> bool:
    """Tell whether a value to show is a text without a reference."""
    return isinstance(value, str) and bool(value) and not value.lstrip().startswith("$")


def _is_secret_option(value: Any) -> bool:
    """Tell whether an argument to show is an option with a secret as its value, the next argument."""
    return isinstance(value, str) and value.startswith("-") and names_secret(value.lstrip("-"))


def _redacted(value: Any, *, is_environment: bool = False) -> Any:
    match value:
        case Mapping():
            return {
                name: REDACTED
                if item not in (None, "")
                and (is_secret(name) or (is_environment and names_secret(name) and _is_literal(item)))
                else _redacted(item, is_environment=name == "environment")
                for name, item in value.items()
            }
        case list() | tuple():
            previous = (None, *value)
            return [
                REDACTED if _is_secret_option(before) and _is_literal(item) else _redacted(item)
                for before, item in zip(previous, value, strict=False)
            ]
        case str():
            return _text(value)
        case _:
            return value


def _text(text: str) -> str:
    digest = resource_digest(text)
    if digest is not None:
        return f"{resource_name(text)} ({digest[:8]})"
    address, question, query = text.partition("?")
    if question and "://" in address:
        text = f"{address}?{redact_query(query)}"
    return redact_credentials(redact_text(redact_url(text)))


def _auth(path: Pointer, value: Any) -> Any:
    """Return a part of `auth` to show, without hashes."""
    if "hash" in path[1:]:
        return REDACTED
    match value:
        case Mapping():
            return {name: _auth((*path, name), item) for name, item in value.items()}
        case list() | tuple():
            return [_auth(path, item) for item in value]
        case _:
            return value
