"""Pages of the documentation as the tests of it read them: sections, tables, links."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]

_HEADING = re.compile(r"^(#{1,4}) (.+)$")
_RULE = re.compile(r"\|[ :-]+\|[ |:-]*$")
_NAME = re.compile(r"`([^`]+)`")


def text(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def sections(page: Path) -> dict[str, str]:
    """Heading to the text below it, up to the next heading of any level; fences hide headings."""
    found: dict[str, list[str]] = {}
    current: list[str] = []
    fenced = False
    for line in page.read_text(encoding="utf-8").splitlines():
        fenced ^= line.startswith("```")
        heading = None if fenced else _HEADING.match(line)
        if heading is not None:
            assert heading[2] not in found, f"{page.name}: two sections are called {heading[2]!r}"
            current = found.setdefault(heading[2], [])
        else:
            current.append(line)
    return {heading: "\n".join(lines) for heading, lines in found.items()}


def rows(section: str) -> list[list[str]]:
    """Cells of the rows of all tables in a text, without their heads."""
    lines = [line for line in section.splitlines() if line.startswith("|")]
    below = [*lines[1:], ""]
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
        for line, following in zip(lines, below, strict=False)
        if not _RULE.match(line) and not _RULE.match(following)
    ]


def names(cell: str) -> list[str]:
    """What stands between backticks."""
    return _NAME.findall(cell)


def anchor(heading: str) -> str:
    """As code hosts make it of a heading."""
    kept = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower())
    return kept.replace(" ", "-")
