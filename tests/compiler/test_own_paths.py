"""An API has the path that its author chose, and no two have the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iogate.compiler.compile import Compiled, compile_documents
from iogate.compiler.revision import decode, encode
from iogate.documents import load
from iogate.functions import Registry
from iogate.settings import Settings
from iogate.url_paths import api_path, is_plain, reserved_for
from tests.compiler.projects import write

WORKFLOW = "document: {dsl: 1.0.3, namespace: n, name: w, version: 1.0.0}\ndo: [{a: {set: {b: 1}}}]\n"


def project(root: Path, *methods: str) -> Compiled:
    files = {
        f"apis.d/m{number}.yaml": (
            f"module: m{number}\nauth: none\nmethods:\n  a: {{workflow: n/w, {method}}}\n"
        )
        for number, method in enumerate(methods)
    }
    write(root, {**files, "workflows.d/w.yaml": WORKFLOW})
    return compile_documents(load(root), Settings(), root=root, functions=Registry({}))


def test_a_path_is_part_of_the_revision(tmp_path: Path) -> None:
    bundle = project(tmp_path, "path: /hooks/a", "path: /b, mode: sync", "path: /c, mode: async", "").bundle
    assert bundle is not None
    apis = decode(encode(bundle.revision)).apis
    assert [api.own_path for api in apis.values()] == [
        ("/hooks/a", "async"),
        ("/b", "sync"),
        ("/c", "async"),
        None,
    ]


def test_the_digest_of_an_api_without_a_path_is_that_of_earlier_releases(tmp_path: Path) -> None:
    bundle = project(tmp_path, "").bundle
    assert bundle is not None
    encoded = encode(bundle.revision)
    assert b'"path"' not in encoded
    assert b'"mode"' not in encoded


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("path: /hooks/a", "path /hooks/a of m1/a is that of m0/a in apis.d/m0.yaml:4"),
        (
            "path: /Hooks/a",
            "path /Hooks/a of m1/a differs only in case from /hooks/a of m0/a in apis.d/m0.yaml:4",
        ),
    ],
)
def test_a_collision_names_both_places(tmp_path: Path, second: str, message: str) -> None:
    (problem,) = project(tmp_path, "path: /hooks/a", second).errors
    assert (problem.code, problem.path, problem.line) == ("IOG159", "apis.d/m1.yaml", 4)
    assert problem.message == message
    assert problem.hint == "give one of them another path"


@pytest.mark.parametrize(
    "path", ["/v1/api/shop/orders/submit", "/v1/api/x", "/v2/orders", "/hooks/a.b-c_d~e", "/healthy", "/a@b"]
)
def test_paths_that_an_api_may_have(path: str) -> None:
    assert is_plain(path)
    assert reserved_for(path) == ""


@pytest.mark.parametrize(
    "path",
    [
        *("/v1", "/v1/runs", "/v1/links/x", "/v1/operator", "/v1/api", "/health", "/health/live", "/metrics"),
        *("/openapi.json", "/docs", "/docs/x", "/console/login", "/mcp", "/.well-known/x"),
    ],
)
def test_paths_that_belong_to_iogate(path: str) -> None:
    assert reserved_for(path) == "iogate"


@given(st.from_regex(r"[a-z0-9]{1,5}/[a-z0-9]{1,5}", fullmatch=True), st.sampled_from(["async", "sync"]))
def test_the_paths_of_an_id_belong_to_its_api(api: str, mode: str) -> None:
    path = api_path(api, "sync" if mode == "sync" else "async")
    assert is_plain(path)
    assert reserved_for(path) == f"the API {api}"
