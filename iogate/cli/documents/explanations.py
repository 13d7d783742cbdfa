"""Explanations of error codes, for `iogate explain` and the completion of its argument."""

from __future__ import annotations

import re
from importlib import resources


def load_explanations() -> dict[str, tuple[str, str]]:
    """Return title and text of each error code, sorted by code."""
    text = resources.files("iogate").joinpath("explanations.md").read_text(encoding="utf-8")
    parts = re.split(r"(?m)^## +(IOG\d{3})[ :—-]*(.*)$", text)
    found = zip(parts[1::3], parts[2::3], parts[3::3], strict=True)
    return dict(sorted((code, (title.strip(), body.strip())) for code, title, body in found))
