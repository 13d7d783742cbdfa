"""Data in a request for a one-time link, validated by the JSON Schema of the link.

Used by `validator` on the event loop and by `validation_process`. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from iogate.gateway.http import decoding
from iogate.gateway.http.responses import invalid
from iogate.gateway.links import link_form
from iogate.gateway.validation.schema import IN_PROCESS, Describing, Fault, Schema

_encode = msgspec.json.Encoder().encode


class LinkData(msgspec.Struct, frozen=True, kw_only=True, tag="link"):
    """Data for a link, as JSON, with their errors."""

    json: bytes
    faults: list[Fault]
    shown: dict[str, str]
    """Text of each field of the form that is shown again; empty without errors."""


def read(
    content: bytes,
    content_type: bytes,
    form: Mapping[str, Any] | None,
    schema: Schema | None,
    *,
    describing: Describing = IN_PROCESS,
) -> LinkData:
    """Return the data in the body of a request for a link with this form, which `schema` validates.

    Raises HTTPError, a 400 or 415 for a body that cannot be decoded, and Undescribed as `Schema.faults` does.
    """
    data = _data(content, content_type, form)
    faults = [] if schema is None else schema.faults(data, size=len(content), describing=describing)
    shown: dict[str, str] = {}
    if faults and isinstance(data, dict):
        shown = {field.name: link_form.shown(field, data) for field in link_form.fields(form)}
    return LinkData(json=_encode(data), faults=faults, shown=shown)


def _data(content: bytes, content_type: bytes, form: Mapping[str, Any] | None) -> Any:
    """Return the data for a link as a JSON value. Raises HTTPError: a 400 or 415."""
    found = decoding.body(content, content_type)
    media = content_type.partition(b";")[0].strip().lower()
    sent_as_json = content.lstrip()[:1] in (b"{", b"[") or media.endswith((b"/json", b"+json"))
    if form is None:
        if sent_as_json and found != {}:
            raise invalid("This link takes no data: send an empty body, or {}")
        return {}
    return found if sent_as_json or not isinstance(found, dict) else link_form.read(form, found)
