"""Every official example that uses nothing but what is executed runs; a server stands in for the outside."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from iogate.compiler.features import FEATURES
from iogate.documents.yaml.reader import read_bytes
from tests.conformance.remote import serving
from tests.conformance.running import judge, load
from tests.documents.corpus import EXAMPLES, data_of, needs_standard

pytestmark = needs_standard

TABLE = Path(__file__).parent / "examples.yaml"


def expectations() -> Mapping[str, Mapping[str, Any]]:
    reading = read_bytes(TABLE.read_bytes(), TABLE.name)
    assert not reading.problems, reading.problems
    found: Mapping[str, Mapping[str, Any]] = reading.data
    return found


EXPECTED = expectations()


async def _run(file: Path, said: Mapping[str, Any], root: Path) -> tuple[str, ...] | str:
    """What is not as said; or the compiler's own words, where it refuses the example."""
    copy = Path(shutil.copy(file, root))
    others = [root / f"{name}.yaml" for name in said.get("others", {})]
    for other in others:
        other.write_text(json.dumps(said["others"][other.stem]), encoding="utf-8")
    async with serving(said.get("site")) as remote:
        # In a thread: what workflows name by URL is fetched meanwhile, from this loop's server.
        made = await asyncio.to_thread(load, copy, root, remote.endpoints, said.get("secrets"), others)
        if isinstance(made, str):
            return made
        document = data_of(file)["document"]
        workflow = f"{document['namespace']}/{document['name']}"
        asked = len(remote.seen)
        outcome = await made.run(
            workflow, said.get("given", {}), offline=False, events=said.get("events", ())
        )
        del remote.seen[:asked]
    return tuple(f"{each} ({outcome.error})" for each in judge(said, outcome, remote))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
async def test_an_example_has_its_expected_result(file: Path, tmp_path: Path) -> None:
    wrong = await _run(file, EXPECTED.get(file.stem, {}), tmp_path)
    if isinstance(wrong, str):
        codes = set(re.findall(r"IOG\d+", wrong))
        assert codes <= {feature.code for feature in FEATURES}, wrong
        assert file.stem not in EXPECTED
        pytest.skip("it uses what is not executed yet: " + ", ".join(sorted(codes)))
    assert file.stem in EXPECTED, "examples.yaml does not say what comes of it"
    assert wrong == ()


async def test_the_first_example_ends_at_its_condition(tmp_path: Path) -> None:
    (file,) = [each for each in EXAMPLES if each.stem == "conditional-task"]
    said = {"given": {"customer": {"age": 17}}, "fails": {"title": "Access Forbidden"}, "requests": 0}
    assert await _run(file, said, tmp_path) == ()
