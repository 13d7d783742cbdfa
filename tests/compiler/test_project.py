"""What only shows over several documents: references, doubles, inheritance, authentication."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from iogate.auth.model import AnyAuth, EnvSecret, FileSecret, HashedSecret, NoAuth, TokenAuth, UserAuth
from iogate.compiler.compile import compile_documents
from iogate.compiler.diagnostics import Purpose
from iogate.documents import load
from iogate.security import secrets
from iogate.settings import Settings
from tests.compiler.projects import api, bundle, compiled, told, workflow, write

PATHS = {"apis.d/orders.yaml": api(), "workflows.d/order.yaml": workflow()}


def test_an_api_is_complete_in_the_revision(tmp_path: Path) -> None:
    made = bundle(
        tmp_path,
        {
            **PATHS,
            "apis.d/orders.yaml": """\
module: orders
auth: {token: {env: ORDERS_TOKEN}}
verbs: [POST, GET]
limits: {body: 2MiB, rate: 50/s}
timeout: 5m
tags: [billing]
metadata: {owner: a, region: eu}
methods:
  submit:
    description: Take an order
    workflow: shop/order
    enabled: true
    limits: {rate: 10/s, running: 3}
    metadata: {owner: b}
    input: {from: request, schema: {type: object}}
    protect: true
    retention: 1h
""",
        },
    )
    found = made.revision.apis["orders/submit"]
    assert found.verbs == ("GET", "POST")
    assert found.auth == TokenAuth(tokens={"token": (EnvSecret(name="ORDERS_TOKEN"),)})
    assert (found.limits.body, found.limits.rate, found.limits.queued, found.limits.running) == (
        2 * 1024 * 1024,
        10.0,
        10_000,
        3,
    )
    assert (found.timeout_s, found.retention_s, found.protect, found.enabled) == (300.0, 3600.0, True, True)
    assert (found.tags, found.metadata) == (("billing",), {"owner": "b", "region": "eu"})
    assert (found.input_from, found.input_schema) == ("request", {"type": "object"})
    assert (found.idempotency.header, found.idempotency.ttl_s) == ("Idempotency-Key", 86_400.0)
    assert found.workflow == "shop/order:1.0.0"
    assert json.loads(made.programs[found.program])["document"]["name"] == "order"
    assert found.source == "apis.d/orders.yaml"


def test_without_a_version_the_highest_release_is_meant(tmp_path: Path) -> None:
    versions = ("1.9.0", "1.10.0", "2.0.0-rc.1", "0.1.0")
    made = bundle(
        tmp_path,
        {
            **{f"workflows.d/{version}.yaml": workflow(version=version) for version in versions},
            "apis.d/a.yaml": api("a"),
            "apis.d/b.yaml": api("b", workflow="shop/order:1.9.0"),
        },
    )
    assert made.revision.apis["a/submit"].workflow == "shop/order:2.0.0-rc.1"
    assert made.revision.apis["b/submit"].workflow == "shop/order:1.9.0"
    assert set(made.revision.workflows) == {f"shop/order:{version}" for version in versions}


@pytest.mark.parametrize(
    ("reference", "expected", "hint"),
    [
        ("shop/ordr", 'no workflow "shop/ordr"', 'did you mean "shop/order"?'),
        ("store/order", 'no workflow "store/order"', 'did you mean "shop/order"?'),
        (
            "shop/order:2.0.0",
            'workflow "shop/order" has no version "2.0.0"; it has 1.0.0',
            'did you mean "shop/order:1.0.0"?',
        ),
        ("x/unlike", 'no workflow "x/unlike"; there is shop/order', ""),
    ],
)
def test_a_missing_workflow_is_reported_at_its_name(
    tmp_path: Path, reference: str, expected: str, hint: str
) -> None:
    result = compiled(tmp_path, {**PATHS, "apis.d/orders.yaml": api(workflow=reference)})
    assert result.bundle is None
    assert told(result) == [f"apis.d/orders.yaml:5:15 IOG303 {expected}"]
    assert result.problems[0].hint == hint


def test_a_workflow_that_cannot_be_read_is_not_also_missing(tmp_path: Path) -> None:
    result = compiled(tmp_path, {**PATHS, "workflows.d/order.yaml": workflow() + "  - done: [\n"})
    assert "IOG303" not in {problem.code for problem in result.problems}
    assert result.bundle is None


@pytest.mark.parametrize("text", ["the order\n", "- a\n- b: [\n", "document: {\n"])
def test_a_workflow_is_not_also_missing_if_a_file_tells_nothing(tmp_path: Path, text: str) -> None:
    result = compiled(tmp_path, {"apis.d/orders.yaml": api(), "workflows.d/order.yaml": text})
    assert {problem.path for problem in result.problems} == {"workflows.d/order.yaml"}
    assert result.bundle is None


def test_without_any_workflow_the_folder_is_named(tmp_path: Path) -> None:
    result = compiled(tmp_path, {"apis.d/orders.yaml": api()})
    assert told(result) == [
        'apis.d/orders.yaml:5:15 IOG303 no workflow "shop/order"; there is none at all in workflows.d'
    ]


def test_a_route_is_unique_over_all_files_regardless_of_case(tmp_path: Path) -> None:
    result = compiled(
        tmp_path,
        {**PATHS, "apis.d/more/again.yaml": api(), "apis.d/zed.yaml": api(module="Orders", method="Submit")},
    )
    assert told(result) == [
        "apis.d/more/again.yaml:4:3 IOG301 API orders/submit is declared twice: "
        "first in apis.d/orders.yaml:4",
        "apis.d/zed.yaml:4:3 IOG301 API Orders/Submit differs only in case from orders/submit "
        "in apis.d/orders.yaml:4",
    ]


def test_a_module_may_be_split_over_two_files(tmp_path: Path) -> None:
    made = bundle(tmp_path, {**PATHS, "apis.d/more.yaml": api(method="cancel")})
    assert sorted(made.revision.apis) == ["orders/cancel", "orders/submit"]


def test_a_workflow_is_declared_once(tmp_path: Path) -> None:
    result = compiled(tmp_path, {**PATHS, "workflows.d/z.yaml": workflow()})
    assert told(result) == [
        "workflows.d/z.yaml:1:49 IOG302 workflow shop/order:1.0.0 is declared twice: "
        "first in workflows.d/order.yaml:1"
    ]


def test_an_api_without_a_schema_has_that_of_its_workflow(tmp_path: Path) -> None:
    with_schema = workflow() + "input: {schema: {document: {type: object, required: [sku]}}}\n"
    files = {
        "workflows.d/order.yaml": with_schema,
        "apis.d/a.yaml": api("a"),
        "apis.d/b.yaml": api("b") + "    input: {schema: {}}\n",
    }
    apis = bundle(tmp_path, files).revision.apis
    assert apis["a/submit"].input_schema == {"type": "object", "required": ["sku"]}
    assert apis["b/submit"].input_schema == {}


def test_a_broken_schema_of_an_api_is_placed(tmp_path: Path) -> None:
    result = compiled(
        tmp_path,
        {**PATHS, "apis.d/orders.yaml": api() + "    input:\n      schema:\n        type: strin\n"},
    )
    assert told(result)[0].startswith('apis.d/orders.yaml:9:15 IOG304 not a JSON Schema: "strin" is no type')
    assert result.problems[0].hint == 'did you mean "string"?'


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        ("none", NoAuth()),
        (
            "{token: [{env: NEW}, {file: old.txt}]}",
            TokenAuth(tokens={"token": (EnvSecret(name="NEW"), FileSecret(path="old.txt"))}),
        ),
        (
            "{tokens: {shop: {env: A}, till: {env: B}}}",
            TokenAuth(tokens={"shop": (EnvSecret(name="A"),), "till": (EnvSecret(name="B"),)}),
        ),
        ("{user: ann, password: {env: A}}", UserAuth(users={"ann": (EnvSecret(name="A"),)})),
        (
            "{any: [none, {token: {env: A}}, {users: {ann: {env: B}}}]}",
            AnyAuth(
                any=(
                    NoAuth(),
                    TokenAuth(tokens={"token": (EnvSecret(name="A"),)}),
                    UserAuth(users={"ann": (EnvSecret(name="B"),)}),
                )
            ),
        ),
        (
            '{token: "123456"}',
            TokenAuth(tokens={"token": (HashedSecret(value=secrets.hash_token("123456")),)}),
        ),
    ],
)
def test_authentication_is_compiled(tmp_path: Path, auth: str, expected: object) -> None:
    made = bundle(tmp_path, {**PATHS, "apis.d/orders.yaml": api(auth=auth)})
    assert made.revision.apis["orders/submit"].auth == expected


async def test_a_literal_password_is_hashed_the_same_each_time_and_opens_the_door(tmp_path: Path) -> None:
    files = {**PATHS, "apis.d/orders.yaml": api(auth='{user: ann, password: "123456"}')}
    auths = [bundle(tmp_path, files).revision.apis["orders/submit"].auth for _ in range(2)]
    assert auths[0] == auths[1]
    assert isinstance(auths[0], UserAuth)
    (hashed,) = auths[0].users["ann"]
    assert isinstance(hashed, HashedSecret)
    assert hashed.value.startswith("$argon2id$")
    assert await secrets.Verifier({"ann": (hashed.value,)}).password("ann", "123456") == "ann"


GET_CASES = [
    ("{signature: {scheme: github, secret: {env: A}}}", "remove GET from verbs"),
    (
        "{any: [{signature: {scheme: github, secret: {env: A}}},"
        " {signature: {scheme: meta, secret: {env: A}, verify_token: {env: B}}}]}",
        "remove GET from verbs; the GET with which Meta tests the URL needs no verb",
    ),
    ("{any: [{signature: {scheme: github, secret: {env: A}}}, {token: {env: T}}]}", None),
    ("{signature: {scheme: hmac, secret: {env: A}, header: X-S, signed: '{url}{body}'}}", None),
]


@pytest.mark.parametrize(("auth", "hint"), GET_CASES)
@pytest.mark.parametrize("verbs", ["[GET, POST]", "[POST]"])
def test_a_get_that_no_signature_can_cover_is_an_error(
    tmp_path: Path, auth: str, hint: str | None, verbs: str
) -> None:
    text = api(auth=auth).replace("    workflow:", f"    verbs: {verbs}\n    workflow:", 1)
    assert verbs in text
    problems = compiled(tmp_path, {**PATHS, "apis.d/orders.yaml": text}).problems
    found = [(each.code, each.message, each.hint) for each in problems if each.severity == "error"]
    message = "a GET is refused, because the signature does not cover the query, which would be the input"
    assert found == ([("IOG138", message, hint)] if hint and "GET" in verbs else [])


def test_debug_cases_are_checked_against_api_and_workflow(tmp_path: Path) -> None:
    result = compiled(
        tmp_path,
        {
            **PATHS,
            "apis.d/orders.yaml": api()
            + """\
    debug:
      - name: wrong verb
        verb: GET
      - name: no file
        body_file: samples/none.json
      - name: no task
        mocks:
          /do/0/don: {output: {}}
""",
        },
    )
    assert told(result) == [
        "apis.d/orders.yaml:9:15 IOG317 this API does not take GET: its verbs are POST",
        "apis.d/orders.yaml:11:20 IOG306 samples/none.json does not exist",
        'apis.d/orders.yaml:14:11 IOG318 no task at "/do/0/don" in this API\'s workflow; it has /do/0/done',
    ]


def test_of_many_tasks_those_that_reach_out_are_named_first_and_the_rest_is_counted(tmp_path: Path) -> None:
    steps = "".join(f"  - set{n}: {{set: {{n: {n}}}}}\n" for n in range(8))
    text = workflow().partition("do:\n")[0] + f"do:\n{steps}"
    text += "  - charge: {call: http, with: {method: get, endpoint: 'https://pay.example/'}}\n"
    debug = "    debug:\n      - name: none\n        mocks:\n          /do/9/charge: {output: {}}\n"
    files = {**PATHS, "workflows.d/order.yaml": text, "apis.d/orders.yaml": api() + debug}
    (problem,) = told(compiled(tmp_path, files))
    sets = ", ".join(f"/do/{n}/set{n}" for n in range(7))
    assert problem.endswith(f"it has /do/8/charge, {sets} and 1 more")


def runs(name: str, child: str, version: str = "1.0.0") -> str:
    """A workflow that runs another one."""
    return f"""\
document: {{dsl: '1.0.3', namespace: shop, name: {name}, version: '1.0.0'}}
do:
  - child:
      run: {{workflow: {{namespace: shop, name: {child}, version: {version}}}}}
"""


def test_a_mock_may_be_of_a_task_of_a_child(tmp_path: Path) -> None:
    files = {
        "workflows.d/order.yaml": runs("order", "pay"),
        "workflows.d/pay.yaml": runs("pay", "order", "latest"),
        "apis.d/orders.yaml": api()
        + """\
    debug:
      - name: below
        mocks:
          /do/0/child: {output: {}}
          /do/0/child/do/0/child: {output: {}}
          /do/0/child/do/0/chidl: {output: {}}
""",
    }
    (problem,) = told(compiled(tmp_path, files))
    assert problem.startswith('apis.d/orders.yaml:12:11 IOG318 no task at "/do/0/child/do/0/chidl"')


@pytest.mark.parametrize("purpose", ["validate", "apply", "run"])
def test_a_workflow_that_another_runs_is_there(tmp_path: Path, purpose: Purpose) -> None:
    files = {"workflows.d/a.yaml": runs("a", "pya"), "workflows.d/pay.yaml": workflow("pay")}
    (problem,) = compiled(tmp_path, files, purpose=purpose).problems
    assert (problem.code, problem.severity, problem.line) == ("IOG303", "error", 4)
    assert problem.message == 'no workflow "shop/pya:1.0.0"'
    assert problem.hint == 'did you mean "shop/pay"?'


@pytest.mark.parametrize(
    ("given", "place", "why"),
    [
        ("{n: 1}", None, ""),
        ("{n: text}", "4:79", '"text" is not of type "number"'),
        ("{m: 1}", "4:75", '"n" is a required property'),
        ("{n: '${ .n }'}", None, ""),
        ("{m: '${ .m }'}", "4:75", "it needs n"),
    ],
)
def test_the_input_of_a_child_fits_its_schema(
    tmp_path: Path, given: str, place: str | None, why: str
) -> None:
    schema = "{type: object, required: [n], properties: {n: {type: number}}}"
    child = workflow("pay").replace("do:", f"input: {{schema: {{document: {schema}}}}}\ndo:")
    parent = runs("a", "pay").replace("1.0.0}}", f"1.0.0, input: {given}}}}}")
    result = compiled(tmp_path, {"workflows.d/a.yaml": parent, "workflows.d/pay.yaml": child})
    said = f"IOG319 the input of workflow shop/pay:1.0.0 does not fit its schema: {why}"
    assert told(result) == ([] if place is None else [f"workflows.d/a.yaml:{place} {said}"])


def test_children_may_be_missing_if_only_some_files_are_given(tmp_path: Path) -> None:
    write(tmp_path, {"workflows.d/a.yaml": runs("a", "b")})
    made = compile_documents(load(tmp_path), Settings(), root=tmp_path, partial=True)
    assert made.problems == ()


def test_a_get_case_has_no_body(tmp_path: Path) -> None:
    case = "    verbs: [GET, POST]\n    debug: [{name: a, verb: GET, body: {}}, {name: b, body: {}}]\n"
    result = compiled(tmp_path, {**PATHS, "apis.d/orders.yaml": api() + case})
    assert told(result) == ["apis.d/orders.yaml:8:34 IOG317 a GET has no body: its input is its query"]


def test_run_allows_what_apply_and_validate_refuse_by_the_settings(tmp_path: Path) -> None:
    shell = workflow().replace("set: {ok: true}", "run: {shell: {command: ls}}")
    files = {**PATHS, "workflows.d/order.yaml": shell}
    assert compiled(tmp_path, files, purpose="run").errors == ()
    (error,) = compiled(tmp_path, files).errors
    assert error.code == "IOG316"
    assert error.message == 'running a shell is not allowed by the setting "allow_run"'
    for lenient, severity in ((False, "error"), (True, "warning")):
        checked = compiled(tmp_path, files, purpose="validate", lenient=lenient)
        assert [each.severity for each in checked.problems if each.code == "IOG316"] == [severity]


@pytest.mark.parametrize(
    ("module", "method", "message"),
    [
        ("", "retention: 1h", "4:29: runs are kept for 1h, which is shorter than the 1d of"),
        (
            "retention: 2d",
            "idempotency: {ttl: 3d}",
            "5:1: runs are kept for 2d, which is shorter than the 3d of",
        ),
        ("", "idempotency: {ttl: 8d}", "4:29: runs are kept for 7d, which is shorter than the 8d of"),
        ("retention: 1h", "idempotency: {ttl: 1h}", ""),
        ("", "retention: 1d", ""),
    ],
)
def test_runs_that_are_deleted_before_their_idempotency_key_expires_are_warned_of(
    tmp_path: Path, module: str, method: str, message: str
) -> None:
    text = f"module: shop\nauth: none\nmethods:\n  w: {{workflow: shop/order, {method}}}\n{module}\n"
    found = [
        f"{problem.line}:{problem.column}: {problem.message}"
        for problem in compiled(tmp_path, {**PATHS, "apis.d/a.yaml": text}).problems
        if (problem.code, problem.severity) == ("IOG522", "warning")
    ]
    assert [each[: len(message)] for each in found] == ([message] if message else [])
