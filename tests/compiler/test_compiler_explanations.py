"""Every code that this area tells has a section, and every section of its ranges a code."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import iogate

ROOT = Path(iogate.__file__).parent
OURS = ("compiler", "reconcile", "secrets.py", "functions.py")
ELSEWHERE = {"IOG502", "IOG503"}
"""Lint that documents do on their own."""


def codes_told() -> set[str]:
    files = [
        file
        for name in OURS
        for file in ([ROOT / name] if name.endswith(".py") else (ROOT / name).rglob("*.py"))
    ]
    return {code for file in files for code in re.findall(r'"(IOG\d{3})"', file.read_text(encoding="utf-8"))}


def test_codes_and_sections_agree() -> None:
    text = resources.files("iogate").joinpath("explanations.md").read_text(encoding="utf-8")
    sections = re.findall(r"(?m)^## +(IOG\d{3})", text)
    assert codes_told() <= set(sections)
    assert {code for code in sections if code[3] in "345"} <= codes_told() | ELSEWHERE
    assert len(sections) == len(set(sections)), "a code is explained twice"
