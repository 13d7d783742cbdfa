"""Cookies of a browser: reading of those in a request, and the header that sets one. Used by the console."""

from __future__ import annotations


def cookies_of(header: str) -> dict[str, str]:
    """Return the cookies in a `Cookie` header; the first value of a repeated name counts."""
    found: dict[str, str] = {}
    for each in header.split(";"):
        name, equals, value = each.strip().partition("=")
        if equals:
            found.setdefault(name, value)
    return found


def set_cookie(
    name: str, value: str, *, secure: bool, seconds: int | None = None, path: str = "/console"
) -> bytes:
    """Return the header that sets a cookie of the console; `seconds` 0 deletes it."""
    parts = [f"{name}={value}", f"Path={path}", "HttpOnly", "SameSite=Strict"]
    if seconds is not None:
        parts.append(f"Max-Age={seconds}")
    if secure:
        parts.append("Secure")
    return "; ".join(parts).encode("ascii")
