"""Pages show any text as text, run nothing, and load nothing."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iogate.gateway.pages.markup import element, markup
from iogate.gateway.pages.page import document, page

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' autofocus onfocus='alert(1)",
    "</title><script>alert(1)</script>",
    "</main></body><base href=//evil.example>",
    "&lt;script&gt;",
    "\u202egnp.exe",
]


class Reading(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@given(st.text() | st.sampled_from(HOSTILE), st.text() | st.sampled_from(HOSTILE))
def test_any_text_stays_text(text: str, value: str) -> None:
    reading = Reading(element("p", text, element("b", text), title=value))
    assert [name for name, _ in reading.elements] == ["p", "b"]
    assert reading.elements[1][1] == {}
    assert set(reading.elements[0][1]) == {"title"}
    if text.isascii() and text.isprintable():
        assert reading.text == text * 2


def test_content_may_be_nested_and_absent() -> None:
    made = element("ul", [element("li", str(each)) for each in range(2)], None, 3)
    assert made == "<ul><li>0</li><li>1</li>3</ul>"
    assert markup(["a", None, ["<b>"]]) == "a&lt;b&gt;"


def test_attributes_are_named_as_in_html() -> None:
    made = element("input", type="text", name="a", required=True, disabled=False, value=None, aria_label="x")
    assert made == '<input type="text" name="a" required aria-label="x">'
    assert element("label", "x", for_="a", class_="b") == '<label for="a" class="b">x</label>'


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("script", {}),
        ("style", {}),
        ("iframe", {}),
        ("p", {"onclick": "x"}),
        ("p", {"style": "x"}),
        ("a b", {}),
        ("a", {"href": "javascript:alert(1)"}),
        ("a", {"href": " javascript:alert(1)"}),
        ("a", {"href": "java\nscript:alert(1)"}),
        ("a", {"href": "data:text/html,x"}),
        ("form", {"action": "javascript:x"}),
    ],
)
def test_nothing_that_could_execute_is_made(name: str, attributes: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="a page has no"):
        element(name, **attributes)


def test_urls_that_a_browser_opens_are_allowed() -> None:
    for url in ("/v1/runs/1?sig=x", "#a", "https://example.com/", "mailto:a@example.com", "?a=1"):
        assert url in element("a", "x", href=url)


def test_a_page_is_complete_and_confined() -> None:
    response = page("a <title>", element("h1", "hello"), status=410, headers=[(b"x-more", b"1")])
    headers = dict(response.headers)
    assert response.status == 410
    assert headers[b"content-type"] == b"text/html; charset=utf-8"
    assert headers[b"cache-control"] == b"no-store"
    assert headers[b"content-length"] == str(len(response.content)).encode()
    assert headers[b"x-more"] == b"1"
    assert headers[b"referrer-policy"] == b"no-referrer"
    assert headers[b"x-content-type-options"] == b"nosniff"
    text = response.content.decode()
    assert text.startswith("<!doctype html>")
    assert "<title>a &lt;title&gt;</title>" in text
    assert "<main><h1>hello</h1></main>" in text


def test_the_policy_allows_exactly_the_style_of_the_page() -> None:
    response = page("x", "y")
    policy = dict(response.headers)[b"content-security-policy"].decode()
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "script" not in policy
    (style,) = re.findall(r"<style>(.*?)</style>", response.content.decode(), re.DOTALL)
    hashed = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"'sha256-{hashed}'" in policy


def test_a_page_loads_nothing() -> None:
    text = document("x", element("p", "y"), narrow=True).decode()
    assert not re.search(r"url\(|@import|\bsrc=|https?:", text)
    assert '<main class="narrow">' in text
