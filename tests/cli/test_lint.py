"""`iogate lint`: severities, selection, corrections, and what `validate` shares with it."""

from __future__ import annotations

import io
import os
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iogate.cli import app
from iogate.documents import read_text
from tests.cli.conftest import Cli

API = """\
# the shop
module: shop
auth: none
timeout: 1m
methods:
  order:
    workflow: shop/fulfil # the steps
"""
WORKFLOW = """\
document: {dsl: 1.0.3, namespace: shop, name: fulfil, version: 1.0.0}
do:
  - note: {set: {text: .text, total: '.total'}} # plain
"""
BROKEN = """\
module: shop
auth: none
methods:
  order:
    flow: shop/fulfil # the steps
    time_out: 5m
    limit: {rps: 5/s}
    verbs: [post, "Get"]
"""

HOOK = """\
module: shop
auth: none
timeout: 1m
methods:
  hook:
    workflow: shop/notify
    verbs: [GET, POST] # iogate: ignore IOG527 the effect may repeat
    limits: {concurrency: {key: /costumer}} # iogate: ignore IOG544 a field to come
    debug:
      - name: it
        body: {}
        mocks:
          /do/0/note: {output: 1} # iogate: ignore IOG318 for later
"""
"""API with a comment for each rule that needs its workflow."""
SENDS = "{call: http, with: {method: post, endpoint: https://example.com/}}"
NOTIFY = f"""\
document: {{dsl: 1.0.3, namespace: shop, name: notify, version: 1.0.0}}
input: {{schema: {{document: {{type: object, properties: {{customer: {{type: string}}}}}}}}}}
do:
  - note: {{set: {{total: 1}}}}
  - send: {SENDS}
"""


@pytest.fixture
def shop(cli: Cli) -> Cli:
    cli.write("apis.d/shop.yaml", API)
    cli.write("workflows.d/fulfil.yaml", WORKFLOW)
    return cli


def codes(cli: Cli, *arguments: str, code: int = 0) -> list[str]:
    return [each["code"] for each in cli("lint", *arguments, "-o", "json", code=code).json["problems"]]


def test_lint_reports_what_validate_does_and_more(shop: Cli) -> None:
    validated = shop("validate", "-o", "json").json["problems"]
    assert [each["code"] for each in validated] == ["IOG521", "IOG521"]
    ran = shop("lint", "-o", "json")
    assert [each["code"] for each in ran.json["problems"]] == ["IOG528", "IOG521", "IOG521"]
    assert {name: ran.json[name] for name in ("schema", "ok", "files", "errors", "warnings", "advice")} == {
        "schema": "iogate.lint/v1",
        "ok": True,
        "files": 2,
        "errors": 0,
        "warnings": 2,
        "advice": 1,
    }
    assert [each["fixable"] for each in ran.json["problems"]] == [False, True, True]
    assert ran.err == "2 files: 0 errors, 2 warnings, 1 advice; --fix can correct 2\n"


def test_text_shows_each_finding_with_its_line(shop: Cli) -> None:
    assert shop("lint").out.startswith(
        "apis.d/shop.yaml:6:3: advice IOG528: shop/order has no debug case, so no test notices if a change"
        " breaks it\n"
        "  6 |   order:\n"
        '    |   ^^^^^ add one under "debug"; "iogate test" runs it\n'
    )


def test_warnings_fail_only_if_strict(shop: Cli) -> None:
    shop("lint")
    ran = shop("lint", "--strict", code=3)
    assert ran.err.splitlines()[-2:] == [
        "iogate: lint failed: 0 errors, 2 warnings",
        '  run "iogate explain CODE" for details',
    ]
    shop("lint", "--strict", "--ignore", "IOG521")


def test_rules_are_selected_and_ignored_by_code_or_its_beginning(shop: Cli) -> None:
    assert codes(shop, "--select", "IOG528") == ["IOG528"]
    assert codes(shop, "--select", "iog521,IOG53") == ["IOG521", "IOG521"]
    assert codes(shop, "--select", "IOG5", "--ignore", "IOG52") == []
    assert codes(shop, "--ignore", "IOG521", "--ignore", "IOG528") == []
    ran = shop("lint", "--select", "IOG303", code=64)
    assert ran.err.splitlines() == [
        'iogate: --select IOG303: no lint rule has this code; did you mean "IOG530"?',
        '  list the codes with "iogate explain"; errors cannot be selected or ignored',
    ]


def test_errors_are_reported_whatever_is_selected(shop: Cli) -> None:
    shop.write("apis.d/shop.yaml", API.replace("shop/fulfil", "shop/other"))
    assert codes(shop, "--select", "IOG529", code=3) == ["IOG303"]


def test_settings_change_severities(shop: Cli) -> None:
    shop.write("iogate.yaml", "lint: {IOG521: error, IOG528: off}\n")
    ran = shop("lint", "-o", "json", code=3)
    assert [(each["code"], each["severity"]) for each in ran.json["problems"]] == [("IOG521", "error")] * 2
    # `validate` says whether it can be applied: it can.
    assert shop("validate", "-o", "json").json["warnings"] == 2
    shop.write("iogate.yaml", "lint: {IOG521: advice}\n")
    shop("lint", "--strict")
    shop.write("iogate.yaml", "lint: {IOG521: off}\n")
    assert shop("validate", "-o", "json").json["warnings"] == 0


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{IOG303: off}", "lint: expected each name to be the code of a lint rule, such as IOG504"),
        ("{IOG521: no}", 'lint.IOG521: expected one of off, advice, warning, error, got "no"'),
        ("off", 'lint: expected a map of rule to off, advice, warning or error, got "off"'),
    ],
)
def test_a_wrong_setting_is_an_error_of_its_place(value: str, message: str, shop: Cli) -> None:
    shop.write("iogate.yaml", f"lint: {value}\n")
    ran = shop("lint", code=3)
    assert f"iogate.yaml:1:1: error IOG191: {message}\n" in ran.out
    assert "IOG521" in ran.out  # the documents are checked all the same


def test_a_comment_ignores_in_lint_and_in_validate(shop: Cli) -> None:
    shop.write("workflows.d/fulfil.yaml", WORKFLOW.replace("# plain", "# iogate: ignore IOG521 plain text"))
    assert codes(shop) == ["IOG528"]
    assert shop("validate", "-o", "json").json["problems"] == []
    assert shop("test", "--help").err == ""
    shop.write(
        "workflows.d/fulfil.yaml", WORKFLOW.replace(".t", "t").replace("# plain", "# iogate: ignore IOG521")
    )
    assert codes(shop) == ["IOG528", "IOG523"]


def test_a_comment_for_a_rule_that_was_not_checked_is_not_unused(shop: Cli) -> None:
    name = "{dsl: 1.0.3, namespace: shop, name: fulfil, version: 1.0.0}"
    head = f"document: # head\n  {name} # iogate: ignore IOG531"
    shop.write("workflows.d/fulfil.yaml", head + "\ndo: [{a: {set: {b: 1}}}]\n")
    assert codes(shop, "--ignore", "IOG528") == ["IOG523"]
    assert codes(shop, "workflows.d/fulfil.yaml") == []  # other files may use the workflow
    assert codes(shop, "--ignore", "IOG528,IOG531") == []
    shop.write("apis.d/shop.yaml", "module: shop\n")
    assert codes(shop, code=3) == ["IOG102"]


def test_fix_wraps_expressions_and_keeps_everything_else(shop: Cli) -> None:
    ran = shop("lint", "--fix", "--ignore", "IOG528")
    assert ran.err == (
        "made 2 corrections in workflows.d/fulfil.yaml\n2 files: 0 errors, 0 warnings, 0 advice\n"
    )
    expected = WORKFLOW.replace(".text", '"${ .text }"').replace("'.total'", "'${ .total }'")
    assert (shop.root / "workflows.d/fulfil.yaml").read_text() == expected
    assert (shop.root / "apis.d/shop.yaml").read_text() == API
    again = shop("lint", "--fix", "-o", "json").json
    assert again["fixed"] == {}
    assert (shop.root / "workflows.d/fulfil.yaml").read_text() == expected


def test_fix_makes_all_corrections_of_a_long_file_except_those_that_cannot_be_made(cli: Cli) -> None:
    head = "document: {dsl: 1.0.3, namespace: it, name: it, version: 1.0.0}\ndo:\n  - note:\n      set:\n"
    values = "".join(f"        t{number}: .text\n" for number in range(201))
    folded = "        last: >-\n          .text\n"
    cli.write("workflows.d/it.yaml", head + values + folded)
    ran = cli("lint", "--fix", "--select", "IOG521")
    assert "made 201 corrections in workflows.d/it.yaml\n" in ran.err
    expected = head + values.replace(": .text", ": ${ .text }") + folded
    assert (cli.root / "workflows.d/it.yaml").read_text() == expected


def test_fix_corrects_misspelt_keys_with_one_known_correction(shop: Cli) -> None:
    shop.write("apis.d/shop.yaml", BROKEN)
    ran = shop("lint", "--fix", "--select", "IOG529")
    assert ran.err.startswith("made 6 corrections in apis.d/shop.yaml\n")
    assert (shop.root / "apis.d/shop.yaml").read_text() == BROKEN.replace("flow:", "workflow:").replace(
        "time_out", "timeout"
    ).replace("limit: {rps", "limits: {rate").replace('post, "Get"', 'POST, "GET"')


def test_a_correction_that_reveals_another_error_is_not_made(shop: Cli) -> None:
    text = API.replace("timeout: 1m", "timeuot: never")
    shop.write("apis.d/shop.yaml", text)
    before = shop("lint", "-o", "json", code=3).json["problems"]
    assert before[0]["fixable"]
    ran = shop("lint", "--fix", "-o", "json", code=3)
    assert (shop.root / "apis.d/shop.yaml").read_text() in (text, text.replace("timeuot", "timeout"))
    assert ran.json["errors"] <= sum(each["severity"] == "error" for each in before)


def test_a_correction_that_reveals_errors_does_not_prevent_the_others_of_its_file(shop: Cli) -> None:
    text = API + (
        '    verbs: [post, "Get"]\n'
        "    limit: {rate: never, concurrency: never, coalesce: never, timeout: never}\n"
    )
    shop.write("apis.d/shop.yaml", text)
    shop("lint", "--fix", code=3)
    assert (shop.root / "apis.d/shop.yaml").read_text() == text.replace('post, "Get"', 'POST, "GET"')


def test_fix_removes_ignore_comments_without_effect(shop: Cli) -> None:
    shop.write(
        "workflows.d/fulfil.yaml",
        "# iogate: ignore-file IOG504\n"
        "document: {dsl: 1.0.3, namespace: shop, name: fulfil, version: 1.0.0}\n"
        "do:\n"
        "  # iogate: ignore IOG507\n"
        "  - note: {set: {text: .text}} # iogate: ignore IOG504, IOG521 the text, IOG507\n"
        "  - more: {set: {text: a}} # iogate: ignore IOG521\n",
    )
    shop("lint", "--fix")
    assert (shop.root / "workflows.d/fulfil.yaml").read_text() == (
        "document: {dsl: 1.0.3, namespace: shop, name: fulfil, version: 1.0.0}\n"
        "do:\n"
        "  - note: {set: {text: .text}} # iogate: ignore IOG521 the text, IOG507\n"
        "  - more: {set: {text: a}}\n"
    )


def test_fix_keeps_the_comments_for_a_workflow_that_is_not_among_the_files(cli: Cli) -> None:
    file = cli.write("apis.d/shop.yaml", HOOK)
    cli.write("workflows.d/notify.yaml", NOTIFY)
    assert codes(cli) == []
    assert codes(cli, "--fix", "apis.d") == []
    assert file.read_text() == HOOK
    file.write_text("".join(f"{line.partition(' # ')[0]}\n" for line in HOOK.splitlines()))
    assert codes(cli) == ["IOG527", "IOG544", "IOG318"]


def test_comments_apply_to_the_same_entries_after_the_files_are_formatted(cli: Cli) -> None:
    api = """\
module: shop
auth: none
methods:
    order: {workflow: shop/fulfil, # iogate: ignore IOG502 it may last
      verbs: [POST]}
"""
    workflow = """\
document: {dsl: 1.0.3, namespace: shop, name: fulfil, version: 1.0.0}
do:
    - note:
        set: {
          x: ".x", y: ".foo" # iogate: ignore IOG521 texts
        }
"""
    selected = ("--select", "IOG502,IOG521,IOG523")
    cli.write("apis.d/shop.yaml", api.replace("# iogate", "#"))
    cli.write("workflows.d/fulfil.yaml", workflow.replace("# iogate", "#"))
    assert codes(cli, *selected) == ["IOG502", "IOG521", "IOG521"]
    api_file = cli.write("apis.d/shop.yaml", api)
    workflow_file = cli.write("workflows.d/fulfil.yaml", workflow)
    assert codes(cli, *selected) == []
    cli("fmt")
    formatted = api_file.read_text(), workflow_file.read_text()
    assert formatted[0] == api.replace("\n    order", "\n  order").replace("\n      verbs", "\n    verbs")
    assert codes(cli, *selected, "--fix") == []
    assert (api_file.read_text(), workflow_file.read_text()) == formatted


@pytest.mark.parametrize(
    ("environment", "found"), [((), ["IOG321", "IOG513"]), (("--env", "prod"), ["IOG526"])]
)
def test_fix_keeps_the_comments_for_rules_that_depend_on_the_environment(
    environment: tuple[str, ...], found: list[str], cli: Cli
) -> None:
    api = API.replace("auth: none", "auth: none # iogate: ignore IOG526 a public form")
    workflow = """\
document: {dsl: 1.0.3, namespace: shop, name: fulfil, version: 1.0.0}
use:
  secrets: [pay] # iogate: ignore IOG321 production has it
do:
  - send:
      call: http
      with:
        method: get
        endpoint: '${ "https://api.example.com/items/" + .item }' # iogate: ignore IOG513 production allows it
"""
    cli.write("iogate.yaml", "port: 8080\n")
    cli.write(
        "iogate.prod.yaml", "host: 0.0.0.0\nallow_hosts: [api.example.com]\nsecrets: {pay: {env: PAY}}\n"
    )
    selected = ("--select", "IOG513,IOG523,IOG526")
    cli.write("apis.d/shop.yaml", api.replace(" # iogate", " #"))
    cli.write("workflows.d/fulfil.yaml", workflow.replace(" # iogate", " #"))
    assert codes(cli, *selected, *environment) == found
    api_file = cli.write("apis.d/shop.yaml", api)
    workflow_file = cli.write("workflows.d/fulfil.yaml", workflow)
    assert codes(cli, *selected, "--fix", *environment) == []
    assert (api_file.read_text(), workflow_file.read_text()) == (api, workflow)


def test_a_missing_timeout_is_reported_only_for_a_workflow_that_was_read(shop: Cli) -> None:
    text = API.replace("timeout: 1m\n", "")
    file = shop.write("apis.d/shop.yaml", text)
    assert codes(shop, "--select", "IOG502") == ["IOG502"]
    assert codes(shop, "--select", "IOG502", "apis.d") == []
    file.write_text(text := text.replace("  order:", "  order: # iogate: ignore IOG502 it is short"))
    assert codes(shop, "--select", "IOG502,IOG523") == []
    assert codes(shop, "--select", "IOG502,IOG523", "--fix", "apis.d") == []
    assert file.read_text() == text
    shop.write("workflows.d/fulfil.yaml", WORKFLOW.replace("do:", "timeout: {after: PT1M}\ndo:") + "  - [\n")
    assert not {"IOG502", "IOG523"} & {*codes(shop, "--fix", code=3)}
    assert file.read_text() == text


def test_a_comment_for_a_missing_timeout_applies_only_to_its_api(shop: Cli) -> None:
    comment, other = " # iogate: ignore IOG502 it is short", "  other:\n    workflow: shop/fulfil\n"
    text = API.replace("timeout: 1m\n", "") + other
    zoo = "module: zoo\nauth: none\nmethods:\n  feed: {workflow: shop/fulfil}"
    file = shop.write("apis.d/shop.yaml", text)
    zoo_file = shop.write("apis.d/zoo.yaml", f"{zoo}\n")

    def found(*arguments: str) -> list[tuple[str, int, str]]:
        problems = shop("lint", "--select", "IOG502,IOG523", *arguments, "-o", "json").json["problems"]
        return [(each["path"], each["line"], each["message"]) for each in problems]

    assert found() == [
        ("apis.d/shop.yaml", 5, "runs of shop/order, shop/other and zoo/feed have no timeout"),
    ]
    file.write_text(text.replace("  order:", f"  order:{comment}"))
    assert found("--fix") == [("apis.d/shop.yaml", 7, "runs of shop/other and zoo/feed have no timeout")]
    file.write_text(text := text.replace("  other:", f"  other:{comment}"))
    assert found("--fix") == [("apis.d/shop.yaml", 5, "runs of shop/order and zoo/feed have no timeout")]
    assert file.read_text() == text
    zoo_file.write_text(f"{zoo}{comment}\n")
    assert found("--fix") == [("apis.d/shop.yaml", 5, "runs of shop/order have no timeout")]
    file.write_text(text := text.replace("  order:", f"  order:{comment}"))
    assert found("--fix") == []
    assert file.read_text() == text
    assert zoo_file.read_text() == f"{zoo}{comment}\n"


@pytest.mark.parametrize(
    "invalid",
    [
        NOTIFY + "  - [\n",
        # Without the child workflow, nothing is known of its effects.
        NOTIFY.replace(SENDS, "{run: {workflow: {namespace: shop, name: sned, version: 1.0.0}}}"),
    ],
)
def test_fix_keeps_the_comments_for_a_workflow_with_an_error(invalid: str, cli: Cli) -> None:
    file = cli.write("apis.d/shop.yaml", HOOK)
    cli.write("workflows.d/notify.yaml", invalid)
    assert "IOG523" not in codes(cli, "--fix", code=3)
    assert file.read_text() == HOOK


PARTS = st.lists(
    st.sampled_from(
        [
            "  # iogate: ignore IOG504 gone\n",
            "  # just a comment\n",
            "  - a{n}: {{set: {{x: 1}}}} # iogate: ignore IOG521, IOG506 why\n",
            "  - b{n}: {{set: {{x: .x, y: '.y', z: \".z\"}}}}\n",
            "  - c{n}:\n      set:\n        # above\n        x: $context.x # behind\n",
            "  - d{n}: {{set: {{x: .x}}}} # iogate: ignore IOG521 text\n",
            "  - e{n}:\n      set: &x{n} {{x: .x}}\n  - f{n}: {{set: *x{n}}}\n",
            "  - g{n}: {{set: {{x: |\n      .x\n      }}}}\n",
        ]
    ),
    min_size=1,
    max_size=6,
)


@given(PARTS)
@settings(deadline=None)
def test_fix_twice_is_fix_once_and_only_expressions_change_the_result(parts: list[str]) -> None:
    head = (
        "document: {dsl: 1.0.3, namespace: shop, name: fulfil, version: 1.0.0}\ndo:\n  - z: {set: {z: 1}}\n"
    )
    text = head + "".join(part.format(n=number) for number, part in enumerate(parts))
    with TemporaryDirectory() as folder:
        file = Path(folder, "workflows.d/w.yaml")
        file.parent.mkdir()
        file.write_text(text)
        before = read_text(text, "w.yaml")

        def fix() -> str:
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                app.run(["-C", folder, "-q", "lint", "--fix"])
            return file.read_text()

        here = Path.cwd()
        try:
            once = fix()
            assert fix() == once
        finally:
            os.chdir(here)
    after = read_text(once, "w.yaml")
    assert unwrapped(after.data) == unwrapped(before.data)
    kept = [line for line in text.splitlines() if "just a comment" in line or "# above" in line]
    assert [line for line in once.splitlines() if "just a comment" in line or "# above" in line] == kept


def unwrapped(value: Any) -> Any:
    """Return the value without the `${ }` around its texts."""
    match value:
        case dict():
            return {name: unwrapped(each) for name, each in value.items()}
        case list():
            return [unwrapped(each) for each in value]
        case str() if value.startswith("${ "):
            return value[3:-2]
        case _:
            return value


def test_diff_shows_the_corrections_and_changes_nothing(shop: Cli) -> None:
    ran = shop("lint", "--diff", code=2)
    assert ran.out.splitlines() == [
        "--- workflows.d/fulfil.yaml",
        "+++ workflows.d/fulfil.yaml",
        "@@ -1,3 +1,3 @@",
        " document: {dsl: 1.0.3, namespace: shop, name: fulfil, version: 1.0.0}",
        " do:",
        "-  - note: {set: {text: .text, total: '.total'}} # plain",
        "+  - note: {set: {text: \"${ .text }\", total: '${ .total }'}} # plain",
    ]
    assert ran.err == '2 corrections in 1 file: make them with "iogate lint --fix"\n'
    assert (shop.root / "workflows.d/fulfil.yaml").read_text() == WORKFLOW
    assert shop("lint", "--diff", "--ignore", "IOG521").err == "2 files: nothing to correct\n"
    assert shop("lint", "--diff", "-o", "sarif", code=64).err == "iogate: --diff has no format sarif\n"


def test_no_output_shows_a_secret(shop: Cli) -> None:
    secret = "canary-4711"
    shop.write(
        "apis.d/shop.yaml", API.replace("auth: none", f"auth: {{token: {secret}}} # iogate: ignore IOG504")
    )
    shop.write(
        "workflows.d/fulfil.yaml",
        WORKFLOW + f"  - send: {{set: {{password: {secret}}}}} # postgres://a:{secret}@db.example.com\n",
    )
    for arguments in (
        ("lint",),
        ("lint", "--diff"),
        ("lint", "--diff", "-o", "json"),
        ("lint", "-o", "yaml"),
    ):
        ran = shop(*arguments, code=None)
        assert secret not in ran.out + ran.err, arguments
        assert "IOG501" in ran.out or "***" in ran.out
    for output in ("json", "github", "sarif", "junit"):
        assert secret not in shop("lint", "-o", output).out


def test_fix_keeps_line_ends_the_byte_order_mark_and_the_mode(shop: Cli) -> None:
    file = shop.root / "workflows.d/fulfil.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + WORKFLOW.replace("\n", "\r\n").encode())
    file.chmod(0o600)
    shop("lint", "--fix")
    raw = file.read_bytes()
    assert raw.startswith(b"\xef\xbb\xbfdocument")
    assert raw.count(b"\r\n") == raw.count(b"\n") == 3
    assert b'"${ .text }"' in raw
    assert file.stat().st_mode & 0o777 == 0o600


def test_fix_gives_a_private_file_its_mode_before_its_name(
    shop: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = shop.root / "workflows.d/fulfil.yaml"
    file.chmod(0o600)
    replace = Path.replace
    modes: list[int] = []

    def noting(self: Path, target: Path) -> Path:
        if target.name == file.name:
            modes.append(self.stat().st_mode & 0o777)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", noting)
    shop("lint", "--fix")
    assert modes == [0o600]


def test_fix_of_a_linked_file_writes_its_target(shop: Cli, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere.yaml"
    target.write_text(WORKFLOW)
    file = shop.root / "workflows.d/fulfil.yaml"
    file.unlink()
    file.symlink_to(target)
    shop("lint", "--fix")
    assert file.is_symlink()
    assert '"${ .text }"' in target.read_text()


def test_nothing_to_check_is_said(cli: Cli) -> None:
    assert "warning: nothing to check: no files found in apis.d, workflows.d" in cli("lint").err
    assert cli("lint", "nowhere", code=8).err.startswith("iogate: nowhere: no such file or folder")


def test_a_new_project_has_no_findings(cli: Cli) -> None:
    cli("init")
    cli("new", "api", "tools/report", "--script", "report.py")
    assert cli("lint", "--strict").out == ""


def test_the_samples_have_no_findings(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    import iogate

    monkeypatch.chdir(Path(iogate.__file__).parents[1])
    assert codes(cli, "--ignore", "IOG512") == []
