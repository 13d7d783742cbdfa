"""Pages of links: the form, the receipt, and why a link cannot be used.

Used by `link_handler`. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from iogate.gateway.links import link_form
from iogate.gateway.pages.markup import Content, Markup, element
from iogate.gateway.pages.page import page

if TYPE_CHECKING:
    from iogate.gateway.http.responses import ErrorResponse, Response
    from iogate.gateway.links.link_definitions import Definition
    from iogate.gateway.links.link_form import Field
    from iogate.gateway.validation.schema import Fault


def form_page(
    link: Definition,
    description: str,
    expires_s: int,
    *,
    sent: Mapping[str, str] | None = None,
    faults: Sequence[Fault] = (),
) -> Response:
    """Return the page of a link with its form; with faults, of data that were sent, it is a 400.

    `sent` are the texts of the fields that were sent.
    """
    until = datetime.fromtimestamp(expires_s, UTC).strftime("%d %B %Y, %H:%M UTC").lstrip("0")
    return page(
        link.title,
        element("h1", link.title),
        _paragraphs(description),
        _summary(faults),
        element(
            "form",
            [_labelled(field, sent, faults) for field in link_form.fields(link.form)],
            element("button", "Confirm", type="submit"),
            method="post",
        ),
        element("p", f"This link can be used once, until {until}.", class_="soft"),
        narrow=True,
        status=400 if faults else 200,
    )


def receipt(link: Definition) -> Response:
    """Return the page after the use of a link."""
    return page(
        link.title,
        element("h1", link.title),
        element("p", "Your answer was received. You can close this page.", class_="good"),
        narrow=True,
        status=202,
    )


def refusal(error: ErrorResponse) -> Response:
    """Return the page of a link for an error."""
    headers = [header for header in error.headers if header[0] in (b"allow", b"retry-after", b"connection")]
    return page(
        error.message,
        element("h1", error.message),
        narrow=True,
        status=error.status,
        headers=headers,
    )


def _paragraphs(text: str) -> Iterator[Markup]:
    for paragraph in text.strip().split("\n\n"):
        if paragraph.strip():
            lines: list[Content] = []
            for line in paragraph.strip().splitlines():
                lines += [element("br"), line] if lines else [line]
            yield element("p", lines)


def _summary(faults: Sequence[Fault]) -> Content:
    if not faults:
        return None
    listed = [element("li", f"{fault.field or 'The answer'}: {fault.message}") for fault in faults]
    return [element("p", "The answer is incomplete or invalid:", class_="bad"), element("ul", listed)]


def _labelled(field: Field, sent: Mapping[str, str] | None, faults: Sequence[Fault]) -> list[Content]:
    invalid = any(fault.field == field.name for fault in faults)
    value = field.default if sent is None else sent.get(field.name, "")
    known: dict[str, Any] = {
        "id": f"field-{field.name}",
        "name": field.name,
        "aria_invalid": "true" if invalid else None,
    }
    hint = element("p", field.hint, class_="soft") if field.hint else None
    if field.kind == "flag":
        box = element("input", type="checkbox", value="true", checked=value == "true", **known)
        return [element("label", box, field.label, for_=known["id"]), hint]
    known["required"] = field.required
    return [element("label", field.label, for_=known["id"]), hint, _control(field, value, known)]


def _control(field: Field, value: str, known: Mapping[str, Any]) -> Markup:
    match field.kind:
        case "choice":
            choices = [
                element("option", text, value=each, selected=each == value) for each, text in field.choices
            ]
            return element("select", element("option", "", value=""), choices, **known)
        case "lines" | "json":
            # The first line break after the tag would be lost.
            return element("textarea", f"\n{value}", rows=6, maxlength=field.longest, **known)
        case "integer" | "number":
            step = "1" if field.kind == "integer" else "any"
            return element(
                "input", type="number", step=step, min=field.lowest, max=field.highest, value=value, **known
            )
        case _:
            return element("input", type=field.input, maxlength=field.longest, value=value, **known)
