"""The matrix of conformance: every row of the standard's tables, and what proves it or why nothing does.

`python -m tests.conformance.matrix` prints the page docs/reference/conformance.md, `--write` writes it. A row
is proven by the conformance cases whose workflow uses it and that say what comes of it; the page names up to
three: those that speak of it, else the one that says the least besides.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from iogate.compiler.features import FEATURES
from iogate.documents.yaml.reader import read_bytes
from tests.conformance.running import CASES, read_cases
from tests.conformance.walking import Feature, features, table, used

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "conformance.md"
PROOFS = Path(__file__).parent / "proofs.yaml"

NAMED = 3
"""Proofs of a row that the page names."""

HEAD = """# Conformance to the Open Workflow DSL 1.0

This page lists every row of the tables in the reference of the standard, with the conformance cases or
other tests that prove it. A case is named by its file and its property. **Y** means that iogate executes
the row as the standard says. Any other row has a reason, or the code with which `validate` and `apply`
refuse it.

Keys of iogate in `metadata` have no meaning in the standard. One of them changes what a row says: a loop with
[`parallel`](workflows.md#parallel-loops) gives the list of the outputs of its iterations.

`python -m tests.conformance.matrix --write` generates this page, and a test compares it with the cases.
"""


@cache
def proven() -> Mapping[Feature, tuple[str, ...]]:
    """By feature, the cases that speak of it, else the one that has the least besides."""
    ranked: dict[Feature, list[tuple[bool, int, str]]] = {}
    for path in sorted(CASES.glob("*.yaml")):
        for case in read_cases(path.name):
            if "refused" in case.result:
                continue
            workflows = [case.workflow, *case.others.values()]
            found = frozenset().union(*(used(each, case.result) for each in workflows))
            for feature in found:
                words = f"{_link(path.stem, path)}: {case.property}"
                mine = (not _speaks(case.property, feature), len(found), words)
                ranked.setdefault(feature, []).append(mine)
    return {feature: _named(sorted(cases)) for feature, cases in ranked.items()}


def _named(cases: list[tuple[bool, int, str]]) -> tuple[str, ...]:
    speaking = [words for silent, _, words in cases if not silent]
    return tuple(dict.fromkeys(speaking or [words for _, _, words in cases[:1]]))[:NAMED]


def _speaks(says: str, feature: Feature) -> bool:
    """Tell whether a case's own words speak of the feature."""
    row, _, value = feature[1].partition(" = ")
    return re.search(rf"(?<!\w){re.escape(value or row.rpartition('.')[2])}(?!\w)", says) is not None


@cache
def elsewhere() -> Mapping[str, Mapping[str, str]]:
    """What `proofs.yaml` says."""
    reading = read_bytes(PROOFS.read_bytes(), PROOFS.name)
    assert not reading.problems, reading.problems
    found: Mapping[str, Mapping[str, str]] = reading.data
    return found


def proof(feature: Feature) -> tuple[bool, str]:
    """Whether the row is executed, and the words of the page; no words where there are none."""
    section, row = feature
    nearest = (f"{section}: {row}", f"{section}: {row.partition(' = ')[0]}", section)
    said = next((elsewhere()[key] for key in nearest if key in elsewhere()), None)
    if feature in proven() and not (said or {}).get("code"):
        return True, "; ".join(proven()[feature])
    if said is None:
        return False, ""
    if "code" in said:
        return False, f"not executed: `{said['code']}`"
    return ("test" in said, _test(said["test"]) if "test" in said else said["why"])


def _test(test: str) -> str:
    file, _, name = test.partition("::")
    words = name.removeprefix("test_").replace("_", " ")
    return f"{_link(Path(file).stem.removeprefix('test_'), ROOT / file)}: {words}"


def _link(words: str, file: Path) -> str:
    return f"[{words}](../../{file.relative_to(ROOT).as_posix()})"


def page() -> str:
    """The whole page."""
    verdicts = [proof(feature)[0] for feature in features()]
    count = sum(len(read_cases(path.name)) for path in CASES.glob("*.yaml"))
    sums = f"\n{sum(verdicts)} of {len(verdicts)} rows are **Y**. There are {count} cases.\n"
    return "".join([HEAD, sums, *_sections()])


def _sections() -> Iterator[str]:
    section = ""
    for feature in features():
        if feature[0] != section:
            section = feature[0]
            yield f"\n## {section}\n\n| property | | proved by |\n|---|---|---|\n"
        executed, words = proof(feature)
        words = words.replace("|", "\\|")
        yield f"| {_code(feature[1])} | {'Y' if executed else ''} | {words or '**none**'} |\n"


def _code(row: str) -> str:
    return f"`{row}`"


def faults() -> list[str]:
    """What is wrong with the table and its proofs, one sentence each."""
    known = {f"{section}: {row}" for section, row in features()} | set(table())
    codes = {feature.code for feature in FEATURES}
    found = [
        f"{section}, {row}: no case proves it" for section, row in features() if not proof((section, row))[1]
    ]
    for key, said in elsewhere().items():
        if key not in known:
            found.append(f"proofs.yaml: {key} is in no table")
        if "code" in said and said["code"] not in codes:
            found.append(
                f"proofs.yaml: {key} is refused no more, {said['code']} is no feature of the compiler"
            )
        if "test" in said and not _exists(said["test"]):
            found.append(f"proofs.yaml: {key} names no test: {said['test']}")
    return found


def _exists(test: str) -> bool:
    file, _, name = test.partition("::")
    path = ROOT / file
    if not path.is_file():
        return False
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return name in {
        node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def lacking(reference: str) -> list[str]:
    """Rows of the reference's text that the table lacks."""
    known = {(section, row) for section, row in features()}
    found = []
    for section, row in rows(reference):
        if (section, row) not in known:
            found.append(f"{section}: {row}")
    return found


def rows(reference: str) -> Iterator[Feature]:
    """The rows of every table of properties in a Markdown text; of a table of arguments, its ticks."""
    titles: tuple[str, ...] = ()
    section, fenced = "", False
    for line in reference.splitlines():
        fenced ^= line.startswith("```")
        if fenced:
            continue
        heading = re.match(r"#+ (.*)", line)
        if heading and heading[1].strip() not in {"Properties", "Examples"}:
            section = heading[1].strip()
        if not line.startswith("|"):
            titles = ()
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not titles:
            titles = tuple(cells)
        elif titles[0] == "Runtime Expression":
            ticked = [title for title, cell in zip(titles, cells, strict=True) if cell == "✔"]
            yield from ((cells[0], title.strip("`$")) for title in ticked)
        elif titles[0] != "Language" and not re.fullmatch(r"[:\- ]+", cells[0]):
            name = re.sub(r"^\[.*/errors/(\w+)\].*$", r"\1", cells[0])
            yield section, re.sub(r"</?pre>", "", name).strip('`"')


def main(arguments: list[str]) -> None:
    if "--write" in arguments:
        PAGE.write_text(page(), encoding="utf-8")
    else:
        sys.stdout.write(page())


if __name__ == "__main__":
    main(sys.argv[1:])
