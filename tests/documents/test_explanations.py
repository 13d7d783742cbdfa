"""Every code of documents is explained, and the examples of the explanations are correct."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import iogate
from iogate.documents import load_text

PACKAGE = Path(iogate.__file__).parent
SECTIONS = dict(
    re.findall(
        r"(?ms)^## (IOG\d{3}) [^\n]+\n(.*?)(?=^## |\Z)",
        (PACKAGE / "explanations.md").read_text(encoding="utf-8"),
    )
)
EXAMPLES = {
    code: blocks
    for code, section in SECTIONS.items()
    if (code[3] in "12" or code == "IOG503") and (blocks := re.findall(r"(?ms)^```yaml\n(.*?)^```", section))
}


def test_every_code_of_documents_is_explained() -> None:
    """Read from the sources: literal codes, and the last digits that models give."""
    text = "".join(file.read_text(encoding="utf-8") for file in (PACKAGE / "documents").rglob("*.py"))
    raised = set(re.findall(r"\"(IOG\d{3})\"", text))
    digits = {int(found) for found in re.findall(r"code=(\d+)\b", text)} | set(range(1, 7)) | {10}
    assert {*range(1, 12)} <= digits
    of_apis = {digit for digit in digits if digit >= 11}
    raised |= {f"IOG2{digit:02}" for digit in digits - of_apis} | {f"IOG1{digit:02}" for digit in digits}
    assert len(raised) > 35
    assert raised - set(SECTIONS) == set()


@pytest.mark.parametrize("code", EXAMPLES)
def test_only_the_first_example_has_the_problem(code: str) -> None:
    wrong, right = EXAMPLES[code]
    assert code in {problem.code for problem in load_text(wrong).problems}
    assert code not in {problem.code for problem in load_text(right).problems}
