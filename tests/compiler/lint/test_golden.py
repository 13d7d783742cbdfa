"""Each project of `golden/` gives exactly the findings in its `problems.out`, caret and all.

To accept new ones, run with the environment variable IOGATE_GOLDEN=write, then read the difference.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

import iogate
from iogate.documents import render_all
from iogate.settings.lint_rules import LINT_RULES
from tests.compiler.lint.projects import codes, findings

GOLDEN = Path(__file__).parent / "golden"
EXPLANATIONS = (Path(iogate.__file__).parent / "explanations.md").read_text(encoding="utf-8")
ADDED = [f"IOG{number}" for number in (*range(523, 532), 551, 552, 557)]
USED = """\
document: {dsl: 1.0.3, namespace: shop, name: fulfil, version: 1.0.0}
do:
  - notify: {call: http, with: {method: post, endpoint: https://mail.example.com/}}
"""


@pytest.mark.parametrize("name", sorted(each.name for each in GOLDEN.iterdir()))
def test_a_project_gives_exactly_its_findings(name: str) -> None:
    problems, sources = findings(GOLDEN / name)
    found, expected = render_all(problems, sources), GOLDEN / name / "problems.out"
    if os.environ.get("IOGATE_GOLDEN") == "write":
        expected.write_text(found, encoding="utf-8")
    assert found == expected.read_text(encoding="utf-8")


@pytest.mark.parametrize("code", ADDED)
def test_only_the_first_example_of_an_explanation_has_the_finding(code: str, tmp_path: Path) -> None:
    (section,) = re.findall(rf"(?ms)^## {code} [^\n]+\n(.*?)(?=^## |\Z)", EXPLANATIONS)
    wrong, right = re.findall(r"(?ms)^```yaml\n(.*?)^```", section)
    for number, (text, expected) in enumerate(((wrong, True), (right, False))):
        root = tmp_path / str(number)
        for folder in ("apis.d", "workflows.d"):
            (root / folder).mkdir(parents=True)
        is_api = text.startswith("module:")
        (root / ("apis.d" if is_api else "workflows.d") / "it.yaml").write_text(text)
        if is_api:
            (root / "workflows.d/fulfil.yaml").write_text(USED)
        assert (code in codes(root, {"host": "0.0.0.0"})) is expected, text


def test_every_rule_has_a_section() -> None:
    assert set(LINT_RULES) == set(re.findall(r"(?m)^## (IOG5\d\d) ", EXPLANATIONS))
