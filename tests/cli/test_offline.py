"""`validate`, `schema`, `explain`, `test`, `run`: commands without a server."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from iogate.cli.documents import case_report
from tests.cli.conftest import Cli
from tests.cli.place import write_project

CALLING = """\
document: {dsl: '1.0.3', namespace: n, name: calling, version: 1.0.0}
do:
  - call: {call: http, with: {method: get, endpoint: 'http://shop.example/'}}
"""


def test_a_first_project_holds(cli: Cli) -> None:
    cli("init")
    ran = cli("validate", "-o", "json")
    assert ran.json == {
        "schema": "iogate.validate/v1",
        "ok": True,
        "files": 2,
        "errors": 0,
        "warnings": 0,
        "problems": [],
        "settings": [],
    }
    assert ran.err == "2 files: 0 errors, 0 warnings\n"
    assert cli("validate", "--quiet").err == ""


@pytest.mark.parametrize("how", [[], ["--http", "https://shop.example/x"], ["--script", "s.py"]])
def test_new_creates_valid_files_that_pass_their_debug_case(cli: Cli, how: list[str]) -> None:
    cli("init")
    cli.write("s.py", "import sys, json; print(json.dumps(json.load(sys.stdin)))\n")
    cli("new", "api", "shop/ask", *how)
    cli("new", "api", "shop/ask_again", *how)
    assert cli("validate", "-o", "json").json["errors"] == 0
    assert cli("test", "-o", "json").json["failed"] == 0


def test_validate_reports_errors_of_settings_and_of_documents_in_one_pass(cli: Cli) -> None:
    """Problems that depend on settings, wait until they can be read."""
    cli.write("iogate.yaml", "prot: 1\n")
    cli.write(
        "workflows.d/w.yaml",
        "document: {dsl: '1.0.3', namespace: n, name: w, version: 1.0.0}\nuse: {secrets: [key]}\n"
        "do:\n  - a: {run: {shell: {command: ls}}}\n  - b: {call: 'f:1.0.0@default'}\n  - c: {cal: x}\n",
    )
    ran = cli("validate", "-o", "json", code=3)
    assert [(each["code"], each["line"]) for each in ran.json["problems"]] == [("IOG207", 6)]
    assert ran.json["settings"] == ['iogate.yaml:1: unknown setting "prot"; did you mean "port"?']
    assert not ran.json["ok"]
    assert ran.said == (
        "1 file: 1 error, 0 warnings\n"
        'iogate: iogate.yaml:1: unknown setting "prot"; did you mean "port"? [IOG190]\n'
        "  correct the settings and validate again: checks that depend on them were skipped\n"
    )


def test_validate_runs_nothing_of_the_project(cli: Cli) -> None:
    """Its functions are read, and their calls checked; `apply` would import them."""
    cli.write(
        "steps.py",
        "import iogate\nopen('executed', 'w').close()\n@iogate.function('double')\ndef double(n: int): ...\n",
    )
    cli.write("iogate.yaml", "functions: [steps]\n")
    workflow = (
        "document: {dsl: '1.0.3', namespace: n, name: w, version: 1.0.0}\n"
        "do:\n  - a: {call: 'double:1.0.0@default', with: {n: ARGUMENT}}\n"
    )
    cli.write("workflows.d/w.yaml", workflow.replace("ARGUMENT", "1"))
    assert cli("validate", "-o", "json").json["problems"] == []
    cli.write("workflows.d/w.yaml", workflow.replace("ARGUMENT", "one"))
    (problem,) = cli("validate", "-o", "json", code=3).json["problems"]
    assert problem["code"] == "IOG319"
    assert 'argument "n" of double:1.0.0@default does not fit' in problem["message"]
    cli.write("workflows.d/w.yaml", workflow.replace("double", "treble"))
    (problem,) = cli("validate", "-o", "json", code=3).json["problems"]
    assert (problem["code"], problem["severity"]) == ("IOG315", "error")
    assert not (cli.root / "executed").exists()
    cli.write("steps.py", "import iogate\nf = iogate.function('treble')(print)\n")
    (problem,) = cli("validate", "-o", "json").json["problems"]
    assert (problem["code"], problem["severity"]) == ("IOG315", "warning")
    assert problem["message"] == (
        'function "treble" cannot be found without running the modules of the setting functions'
    )


def test_new_from_a_function_passes_its_own_test(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.write(
        "iogate_test_offline.py",
        "from typing import Literal\nimport iogate\n@iogate.function('double', version='1.0.0')\n"
        "def double(n: int, unit: Literal['m', 'km'], null: str, note: str = '') -> int:\n    return 2 * n\n",
    )
    cli.write("iogate.yaml", "functions: [iogate_test_offline]\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    cli("new", "api", "maths/double", "--function", "double:1.0.0")
    assert (
        (cli.root / "workflows.d/maths/double.yaml")
        .read_text()
        .endswith(
            '        "n": ${ .n }\n        unit: ${ .unit }\n'
            '        "null": ${ .null }\n        # note: ${ .note }   # optional\n'
        )
    )
    assert cli("validate", "-o", "json").json["errors"] == 0
    assert cli("test", "-o", "json").json["failed"] == 0


@pytest.mark.parametrize(
    ("printed", "output"), [("false", False), ("null", None), ("[1]", [1]), ("not JSON", "not JSON\n")]
)
def test_a_new_apis_script_answers_with_the_json_that_it_prints(
    cli: Cli, printed: str, output: object
) -> None:
    cli.write("s.py", f"print({printed!r})\n")
    cli("new", "api", "shop/ask", "--script", "s.py")
    ran = cli("run", "workflows.d/shop/ask.yaml", "-o", "json").json
    assert ran["output"] == output


CONTAINER = """\
document: {dsl: '1.0.3', namespace: shop, name: box, version: '1.0.0'}
timeout: {after: PT1M}
do:
  - box: {run: {container: {image: alpine}}}
  - js: {run: {script: {language: js, code: '1'}}}
"""


def test_missing_programs_are_reported_at_the_tasks_that_need_them(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.write("workflows.d/box.yaml", CONTAINER)
    cli.write("iogate.yaml", "allow_run: [script, container]\n")
    monkeypatch.setenv("PATH", str(cli.root))
    found = cli("validate", "-o", "json").json["problems"]
    assert [(each["code"], each["line"], each["message"], each["hint"]) for each in found] == [
        (
            "IOG512",
            4,
            "no program on this machine runs containers",
            "install Docker or Podman where the worker's PATH finds its command",
        ),
        (
            "IOG512",
            5,
            "no program on this machine runs JavaScript",
            "install Node.js (node), or QuickJS (qjs), where the worker's PATH finds it",
        ),
    ]
    findings = {each["about"]: each for each in cli("doctor", "-o", "json", code=6).json["findings"]}
    assert findings["containers"]["verdict"] == "warning"
    assert findings["containers"]["message"] == "no program here runs containers"
    assert findings["javascript"]["verdict"] == "ok"


def test_validate_shows_each_problem_at_its_position(cli: Cli) -> None:
    cli("init")
    text = (cli.root / "apis.d/hello.yaml").read_text().replace("verbs:", "methods:")
    cli.write("apis.d/hello.yaml", text)
    ran = cli("validate", code=3)
    assert 'apis.d/hello.yaml:8:5: error IOG101: unknown key "methods"' in ran.out
    assert '  8 |     methods: [GET, POST]\n    |     ^^^^^^^ did you mean "verbs"?\n' in ran.out
    assert ran.err.splitlines()[-2:] == [
        "iogate: validation failed: 1 error",
        '  run "iogate explain CODE" for details',
    ]
    (problem,) = cli("validate", "-o", "json", code=3).json["problems"]
    assert (problem["path"], problem["line"], problem["column"]) == ("apis.d/hello.yaml", 8, 5)


REFUSED = {
    "workflows.d/shell.yaml": (
        "document: {dsl: '1.0.3', namespace: n, name: shell, version: 1.0.0}\n"
        "timeout: {after: PT1M}\ndo: [{a: {run: {shell: {command: ls}}}}]\n",
        "IOG316",
    ),
    "workflows.d/w.yaml": (
        "document: {dsl: '1.0.3', namespace: n, name: w, version: 1.0.0}\ntimeout: {after: PT1M}\n"
        "do: [{a: {call: a2a, with: {method: message/send, server: 'http://a.example'}}}]\n",
        "IOG417",
    ),
}


def test_validate_refuses_unsupported_features_or_warns_on_request(cli: Cli) -> None:
    for path, (text, _) in REFUSED.items():
        cli.write(path, text)
    codes = sorted(code for _, code in REFUSED.values())
    refused = cli("validate", "-o", "json", code=3)
    assert sorted(each["code"] for each in refused.json["problems"]) == codes
    assert {each["severity"] for each in refused.json["problems"]} == {"error"}
    assert "iogate: validation failed: 2 errors\n" in refused.err
    warned = cli("validate", "--allow-unsupported", "-o", "json").json
    assert (warned["ok"], warned["errors"], warned["warnings"]) == (True, 0, 2)
    assert sorted(each["code"] for each in warned["problems"]) == codes


def test_validate_warns_without_files(cli: Cli) -> None:
    ran = cli("validate")
    assert ran.err == f"warning: nothing to check: no files found in apis.d, workflows.d of {cli.root}\n"
    (cli.root / "empty").mkdir()
    assert "no files found in empty of" in cli("validate", "-q", "empty").err
    assert cli("validate", "-o", "json").json["files"] == 0


def test_validate_of_single_files_does_not_miss_the_others(cli: Cli) -> None:
    cli("init")
    cli("validate", "apis.d/hello.yaml")
    assert cli("validate", "none.yaml", code=8).err == "iogate: none.yaml: no such file or folder\n"


@pytest.mark.parametrize("kind", ["api", "workflow", "settings"])
def test_schemas_are_plain_json_schema(cli: Cli, kind: str) -> None:
    schema = json.loads(cli("schema", kind).out)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["type"] == "object"


def test_explain_lists_codes_and_explains_one(cli: Cli) -> None:
    codes = {each["code"]: each["title"] for each in cli("explain", "-o", "json").json["codes"]}
    assert "IOG101" in codes
    assert list(codes) == sorted(codes)
    severities = {each["code"]: each["severity"] for each in cli("explain", "-o", "json").json["codes"]}
    assert [severities[each] for each in ("IOG101", "IOG504", "IOG528")] == ["error", "warning", "advice"]
    told = cli("explain", "iog101", "-o", "json").json
    assert told["title"] == codes["IOG101"]
    assert len(told["text"]) > 40
    assert cli("explain", "IOG999", code=8).err == (
        'iogate: unknown error code IOG999\n  list all codes with "iogate explain"\n'
    )


def test_test_compares_offline_and_exits_9(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    write_project(cli.root)
    monkeypatch.delenv("SHOP_TOKEN", raising=False)
    ran = cli("test", "-o", "json", code=9)
    assert (ran.json["passed"], ran.json["failed"]) == (2, 1)
    assert ran.said.endswith("iogate: 1 case of 3 failed\n")
    text = cli("test", "shop/buy", code=9).out
    assert 'shop/buy: wrong on purpose\n  output.bought: expected "B-2", got "A-1"\n' in text


def test_a_call_without_a_mock_fails_the_case(cli: Cli) -> None:
    cli.write("workflows.d/calling.yaml", CALLING)
    cli.write(
        "apis.d/n.yaml",
        "module: n\nauth: none\nmethods:\n  calling:\n    workflow: n/calling\n    timeout: 1m\n"
        "    debug: [{name: out, body: {}}]\n",
    )
    (case,) = cli("test", "-o", "json", code=9).json["cases"]
    assert case["failures"][0].startswith("/do/0/call calls out, and nothing stands in for it; mock it:")


def test_test_starts_workflows_as_their_schedules_do(cli: Cli) -> None:
    write_project(cli.root)
    case = "{name: at six, at: 2026-03-02T06:00:00Z, expect: {output: {bought: A-2}}}"
    cli.write(
        "workflows.d/beat.yaml",
        "document: {dsl: '1.0.3', namespace: shop, name: beat, version: 1.0.0,"
        f" metadata: {{iogate: {{debug: [{case}]}}}}}}\n"
        "schedule: {cron: '0 6 * * *'}\ntimeout: {after: PT1M}\ndo:\n  - buy: {set: {bought: A-1}}\n",
    )
    cases = cli("test", "-o", "json", code=9).json["cases"]
    assert [each["api"] for each in cases] == ["shop/buy", "shop/buy", "shop/guarded", "schedule:shop/beat"]
    ran = cli("test", "schedule:shop/beat", "-o", "json", code=9)
    (case,) = ran.json["cases"]
    assert (case["http"], case["status"], case["output"]) == (None, "completed", {"bought": "A-1"})
    assert case["failures"] == ['output.bought: expected "A-2", got "A-1"']
    shown = cli("test", "schedule:shop/beat", code=9).out
    assert (
        'schedule:shop/beat: at six  failed   completed {"bought": "A-2"}  completed {"bought": "A-1"}'
        in shown
    )
    assert cli("test", "schedule:shop/bea", code=8).err == (
        'iogate: no schedule:shop/bea in the files; did you mean "schedule:shop/beat"?\n'
        "  available: schedule:shop/beat, shop/buy, shop/echoing, shop/fail, shop/guarded, shop/hashed,"
        " shop/lacking, shop/nested, shop/sleep\n"
    )
    assert cli("debug", "schedule:shop/beat", code=64).err == (
        "iogate: schedule:shop/beat is a schedule and takes no requests\n"
        '  replay its debug cases with "iogate test schedule:shop/beat"\n'
    )


def test_run_prints_the_output_alone_on_stdout(cli: Cli) -> None:
    write_project(cli.root)
    assert cli("run", "workflows.d/buy.yaml", "--input", '{"sku": "Z"}').out == '{"bought": "Z"}\n'
    cli.write("in.json", '{"sku": "F"}')
    shown = cli("run", "workflows.d/buy.yaml", "--input", "@in.json", "-o", "json").json
    assert set(shown) == {"schema", "uid", "status", "output", "error"}
    assert (shown["schema"], shown["status"], shown["error"]) == ("iogate.run/v1", "completed", None)
    assert not (cli.root / ".iogate").exists()


def test_run_exits_7_where_the_workflow_faults(cli: Cli) -> None:
    write_project(cli.root)
    ran = cli("run", "workflows.d/fail.yaml", "-o", "json", code=7)
    assert ran.json["status"] == "faulted"
    assert ran.json["error"]["status"] == 410
    assert "Sold out" in ran.err


def test_run_allows_processes_that_the_settings_forbid(cli: Cli) -> None:
    cli.write(
        "w.yaml",
        "document: {dsl: '1.0.3', namespace: n, name: w, version: 1.0.0}\n"
        "do:\n  - sh: {run: {shell: {command: 'echo hello'}}}\n",
    )
    assert "hello" in cli("run", "w.yaml").out


def test_run_stops_at_its_timeout(cli: Cli) -> None:
    write_project(cli.root)
    err = cli("run", "workflows.d/sleep.yaml", "--timeout", "1s", code=124).err
    # On a slow machine its time is over before it waits.
    assert re.search("is still (pending|running|waiting) after 1s", err)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["none.yaml"], 8, "none.yaml: no such file"),
        (["apis.d/shop.yaml"], 3, "apis.d/shop.yaml is not a workflow document"),
        (["workflows.d/buy.yaml", "--input", "x"], 64, "--input: not JSON: Expecting value"),
        (["workflows.d/buy.yaml", "--input", "@none"], 8, "--input @none: no such file"),
    ],
)
def test_run_reports_files_that_it_cannot_run(
    cli: Cli, arguments: list[str], code: int, message: str
) -> None:
    write_project(cli.root)
    assert f"iogate: {message}" in cli("run", *arguments, code=code).err


def test_run_reads_stdin(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_project(cli.root)
    (tmp_path / "stdin").write_text('{"sku": "S"}')
    with (tmp_path / "stdin").open() as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert cli("run", "workflows.d/buy.yaml", "--input", "-").out == '{"bought": "S"}\n'


def test_long_values_are_cut_in_tables_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    assert case_report.shorten("x" * 100) == f'"{"x" * 100}"'
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert len(case_report.shorten("x" * 100)) == 60


def test_run_sends_calls_to_the_endpoint_option(cli: Cli) -> None:
    cli.write("w.yaml", CALLING)
    refused = "--endpoint=http://shop.example=http://127.0.0.1:9"
    ran = cli("run", "w.yaml", refused, "-o", "json", code=7)
    assert ran.json["error"]["sentTo"] == "http://127.0.0.1:9"
    assert "(sent to http://127.0.0.1:9)" in ran.err
    cli.write("iogate.yaml", "endpoints: {'http://shop.example': 'http://127.0.0.1:1'}\n")
    assert '"sentTo": "http://127.0.0.1:9"' in cli("run", "w.yaml", refused, "-o", "json", code=7).out


@pytest.mark.parametrize(
    "text", ["http://shop.example", "shop=http://x", "http://a=ftp://b", "=", "http://=x"]
)
def test_run_explains_an_endpoint_that_is_none(cli: Cli, text: str) -> None:
    cli.write("w.yaml", CALLING)
    ran = cli("run", "w.yaml", f"--endpoint={text}", code=64)
    assert "iogate: --endpoint: expected FROM=TO, two URL prefixes" in ran.err
    assert "--endpoint https://api.example.com=http://localhost:8080" in ran.err


def test_text_that_a_function_prints_goes_to_stderr(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while its module is imported: stdout of `test` and `run` has the result alone."""
    cli.write(
        "iogate_test_printing.py",
        "import iogate\nprint('imported')\n@iogate.function('speak', version='1.0.0')\n"
        "def speak() -> int:\n    print('in a thread')\n    return 1\n"
        "@iogate.function('say', version='1.0.0')\n"
        "async def say() -> int:\n    print('on the loop')\n    return 2\n",
    )
    cli.write("iogate.yaml", "functions: [iogate_test_printing]\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    workflow = cli.write(
        "workflows.d/w.yaml",
        "document: {dsl: '1.0.3', namespace: n, name: w, version: 1.0.0}\n"
        "do:\n  - a: {call: 'speak:1.0.0@default'}\n  - b: {call: 'say:1.0.0@default'}\n",
    )
    cli.write(
        "apis.d/w.yaml",
        "module: n\nauth: none\nmethods: {w: {workflow: n/w, timeout: 1m, debug: [{name: one}]}}\n",
    )
    tested = cli("test", "-o", "json")
    assert (tested.json["passed"], tested.json["failed"]) == (1, 0)
    assert all(text in tested.err for text in ("imported\n", "in a thread\n", "on the loop\n"))
    ran = cli("run", str(workflow), "-o", "json")
    assert ran.json["output"] == 2
    assert "in a thread\n" in ran.err
    assert cli("run", str(workflow), "-q").out == "2\n"
    assert cli("test", "-q").out.startswith("CASE")
