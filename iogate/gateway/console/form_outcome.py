"""Outcome of a form for the page that is shown next, in a cookie that lives for seconds.

A reload, a bookmark or a link shows no outcome, since none is in the URL. Used by `page`, which sets the
cookie, and by `console`, which shows its content. Invariants: the cookie reaches only the page that the form
leads to; it carries no text that a page shows as its own, only names, and the fields that the operator has
filled in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlsplit

import msgspec

from iogate.gateway.http.cookies import set_cookie
from iogate.security import base64url

SECONDS: Final = 10
"""Time in which the page of a run that loads again when the run ends shows the outcome again."""
KEPT: Final = ("from", "on", "ttl", "hold", "prune")
"""Fields of forms that are filled in again when the reason is missing."""
_LONGEST: Final = 500
_FORM: Final = re.compile(r"[a-z0-9-]{1,60}", re.ASCII)


class FormOutcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Content of the cookie; empty: there is no outcome."""

    done: str = ""
    """Name of the notice."""
    form: str = ""
    """Id of the field for the reason in the form that had none."""
    fields: dict[str, str] = {}
    """Other fields of that form."""


NONE: Final = FormOutcome()
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(FormOutcome).decode


def without_reason(form: Mapping[str, str]) -> FormOutcome:
    """Return the outcome of a form that was sent without a reason."""
    name = form.get("form", "")
    return FormOutcome(
        form=name if _FORM.fullmatch(name) else "",
        fields={each: form[each][:_LONGEST] for each in KEPT if form.get(each)},
    )


def header(cookie: str, url: str, outcome: FormOutcome, *, secure: bool) -> tuple[bytes, bytes]:
    """Return the header that gives an outcome to the page at `url`; NONE deletes it."""
    value = "" if outcome == NONE else base64url.encode(_encode(outcome))
    path = quote(urlsplit(url).path, safe="/:%@!$&'()*+,=~")
    seconds = 0 if outcome == NONE else SECONDS
    return b"set-cookie", set_cookie(cookie, value, secure=secure, seconds=seconds, path=path)


def read(text: str) -> FormOutcome:
    """Return the outcome of a form from its cookie; NONE for a text that is none."""
    try:
        return _decode(base64url.decode(text)) if text else NONE
    except (ValueError, msgspec.MsgspecError):
        return NONE
