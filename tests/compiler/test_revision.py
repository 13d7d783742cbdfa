"""Equal files give an equal digest; a different meaning gives another."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iogate.compiler.compile import compile_documents
from iogate.compiler.revision import Bundle, decode, encode
from iogate.documents import Documents, load
from iogate.settings import Settings
from tests.compiler.projects import api, bundle, workflow, write

FILES = {
    "apis.d/a.yaml": api("a", auth='{user: ann, password: "123456"}'),
    "apis.d/b.yaml": api("b", auth='{token: "123456"}'),
    "apis.d/c.yaml": api("c", workflow="shop/other:1.0.0"),
    "workflows.d/order.yaml": workflow(),
    "workflows.d/newer.yaml": workflow(version="1.1.0"),
    "workflows.d/other.yaml": workflow("other"),
}


def of(documents: Documents, root: Path) -> Bundle:
    made = compile_documents(documents, Settings(), root=root).bundle
    assert made is not None
    return made


@settings(max_examples=15)
@given(st.permutations(sorted(FILES)))
def test_the_order_of_files_does_not_matter(order: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write(root, FILES)
        expected = of(load(root), root)
        shuffled = of(load(root, [root / name for name in order]), root)
    assert shuffled.revision.digest == expected.revision.digest
    assert encode(shuffled.revision) == encode(expected.revision)
    assert shuffled.programs == expected.programs


def test_comments_and_the_order_of_keys_do_not_matter(tmp_path: Path) -> None:
    first = bundle(tmp_path / "a", {"workflows.d/w.yaml": workflow()})
    second = bundle(
        tmp_path / "b",
        {
            "workflows.d/w.yaml": "# why\ndo: [{done: {set: {ok: true}}}]\n"
            "document: {version: 1.0.0, name: order, namespace: shop, dsl: 1.0.3}\n"
        },
    )
    assert first.revision.digest == second.revision.digest


def test_the_digest_of_an_api_changes_only_with_the_api(tmp_path: Path) -> None:
    first = bundle(tmp_path / "a", FILES).revision
    moved = dict(FILES)
    moved["apis.d/elsewhere/a.yml"] = moved.pop("apis.d/a.yaml")
    second = bundle(tmp_path / "b", moved).revision
    assert {api.id: api.digest for api in first.apis.values()} == {
        api.id: api.digest for api in second.apis.values()
    }
    third = bundle(tmp_path / "a", {"apis.d/b.yaml": api("b", auth="none")}).revision
    assert first.apis["a/submit"].digest == third.apis["a/submit"].digest
    assert first.apis["b/submit"].digest != third.apis["b/submit"].digest


def test_a_revision_survives_the_store(tmp_path: Path) -> None:
    revision = bundle(tmp_path, FILES).revision
    assert decode(encode(revision)) == revision


def test_no_literal_secret_is_in_a_bundle(tmp_path: Path) -> None:
    made = bundle(
        tmp_path, {**FILES, "apis.d/b.yaml": api("b", auth='{tokens: {x: "tok-s3cret", y: "t2-s3cret"}}')}
    )
    assert b"s3cret" not in encode(made.revision)


@pytest.mark.parametrize("record", ["errors", "all", "none"])
def test_what_is_recorded_is_part_of_the_revision_and_not_of_the_digest_of_the_api(
    tmp_path: Path, record: str
) -> None:
    """Gateways apply the parts of the digest; the default is absent, as in revisions of earlier releases."""
    files = {"workflows.d/order.yaml": workflow(), "apis.d/a.yaml": api("a")}
    plain = bundle(tmp_path / "plain", files).revision
    stated = bundle(
        tmp_path / "stated", {**files, "apis.d/a.yaml": api("a") + f"    record: {record}\n"}
    ).revision
    assert stated.apis["a/submit"].records == record
    assert stated.apis["a/submit"].digest == plain.apis["a/submit"].digest
    assert (stated.digest == plain.digest) == (record == "errors")
    assert (b'"record"' in encode(stated)) == (record != "errors")
    assert decode(encode(stated)) == stated
