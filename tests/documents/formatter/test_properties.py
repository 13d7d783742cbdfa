"""Properties of the canonical form over random texts, and over all documents of the project."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from iogate.compiler.compile import compile_documents
from iogate.documents import load_text
from iogate.documents.formatter.canonical import canonical_text
from iogate.documents.formatter.file_formatter import Formatted, format_bytes
from iogate.documents.formatter.lexer import Lexer
from iogate.documents.loader import detect_family
from iogate.documents.yaml.reader import Reading, read_bytes
from iogate.settings import Settings
from tests.documents.corpus import EXAMPLES, needs_standard
from tests.documents.formatter.generated import COMMENTS, documents
from tests.examples import examples

ROOT = Path(__file__).resolve().parents[3]
FILES = sorted(
    path
    for folder in ("apis.d", "workflows.d", "tests/documents/golden/ok", "tests/compiler/golden")
    for path in (ROOT / folder).rglob("*.yaml")
)
YAML_BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DOCUMENTS = {
    f"{page.name}:{number}": found[1]
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    for number, found in enumerate(YAML_BLOCK.finditer(page.read_text(encoding="utf-8")))
}


def comments(text: str) -> Counter[str]:
    return Counter(comment.text for comment in Lexer(text).comments)


def check(raw: bytes) -> Formatted:
    """Format, and check everything that has to hold of a file that can be read."""
    before = read_bytes(raw, "a.yaml")
    made = format_bytes(raw, "iogate.yaml")
    assert made.text is not None
    after = read_bytes(made.text.encode(), "a.yaml")
    assert not after.problems
    assert repr_of(after) == repr_of(before)
    assert comments(made.text) == comments(before.source.text)
    again = format_bytes(made.text.encode(), "iogate.yaml")
    assert again.text == made.text
    assert not again.changed
    lines = made.text.split("\n")
    assert lines.pop() == ""
    assert "\r" not in made.text
    return made


def repr_of(reading: Reading) -> str:
    """The value with its types, in one order of keys."""

    def ordered(value: object) -> object:
        if isinstance(value, dict):
            return sorted((key, ordered(inner)) for key, inner in value.items())
        return [ordered(inner) for inner in value] if isinstance(value, list) else value

    return repr(ordered(reading.data))


@given(text=documents())
@settings(max_examples=examples(600), deadline=None, suppress_health_check=list(HealthCheck))
def test_the_form_of_random_texts_is_stable_and_keeps_value_and_comments(text: str) -> None:
    reading = read_bytes(text.encode(), "a.yaml")
    assume(not reading.problems and isinstance(reading.data, dict))
    event("changed" if check(text.encode()).changed else "canonical")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_form_of_documents_is_stable_and_keeps_value_and_comments(path: Path) -> None:
    raw = path.read_bytes()
    if read_bytes(raw, path.name).problems:
        assert format_bytes(raw, path.name).text is None
    else:
        check(raw)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_form_of_examples_in_the_documentation_keeps_them(name: str) -> None:
    raw = DOCUMENTS[name].encode()
    reading = read_bytes(raw, name)
    if not reading.problems and isinstance(reading.data, dict):
        check(raw)


@needs_standard
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_form_of_the_examples_of_the_standard_keeps_them(path: Path) -> None:
    check(path.read_bytes())


def digest(text: str) -> str | None:
    """Digest of the compiled document; None if it does not compile alone."""
    bundle = compile_documents(
        load_text(text), Settings(allow_run=("shell", "script", "container")), root=ROOT, partial=True
    ).bundle
    return None if bundle is None else bundle.revision.digest


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_digest_stays(path: Path) -> None:
    made = format_bytes(path.read_bytes(), path.name)
    if made.text is not None:
        assert digest(made.text) == digest(made.reading.source.text)


SAMPLES = [path for path in FILES if path.parts[-2] in {"apis.d", "workflows.d"}]


@given(path=st.sampled_from(SAMPLES), data=st.data())
@settings(max_examples=examples(60), deadline=None)
def test_comments_anywhere_stay_and_do_not_change_the_digest(path: Path, data: st.DataObject) -> None:
    lines = path.read_text(encoding="utf-8").split("\n")
    for _ in range(data.draw(st.integers(0, 6))):
        at = data.draw(st.integers(0, len(lines)))
        indent = " " * data.draw(st.integers(0, 10))
        lines.insert(at, data.draw(st.sampled_from(["", indent + data.draw(COMMENTS)])))
    text = "\n".join(lines)
    reading = read_bytes(text.encode(), "a.yaml")
    assume(not reading.problems)
    made = canonical_text(reading, detect_family(reading.data))
    assert comments(made) == comments(text)
    assert digest(made) == digest(text)
    again = read_bytes(made.encode(), "a.yaml")
    assert canonical_text(again, detect_family(again.data)) == made


def shuffled(value: Any, random: Random) -> Any:
    """The same value with the keys of all its mappings in a random order."""
    if isinstance(value, list):
        return [shuffled(item, random) for item in value]
    if isinstance(value, dict):
        keys = random.sample(list(value), len(value))
        return {key: shuffled(value[key], random) for key in keys}
    return value


@given(path=st.sampled_from(SAMPLES), random=st.randoms())
@settings(max_examples=examples(60), deadline=None)
def test_keys_in_any_order_get_their_order_and_the_digest_stays(path: Path, random: Random) -> None:
    original = path.read_bytes()
    data = read_bytes(original, "a.yaml").data
    text = json.dumps(shuffled(data, random), ensure_ascii=random.random() < 0.5)
    made = format_bytes(text.encode(), "a.yaml")
    assert made.text is not None
    assert digest(made.text) == digest(original.decode())
    again = read_bytes(made.text.encode(), "a.yaml").data
    assert list(again) == list(data)
