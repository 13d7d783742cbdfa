"""`init`, `new`, `secret`: files that hold, and nothing overwritten."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from iogate.cli.project import file_templates, project_commands
from iogate.documents import load, read_text
from iogate.security.secrets import hash_token, is_token
from tests.cli.conftest import Cli


def test_init_writes_a_project_once(cli: Cli) -> None:
    first = cli("init", "-o", "json").json
    assert first == {
        "schema": "iogate.init/v1",
        "created": ["iogate.yaml", "apis.d/hello.yaml", "workflows.d/hello.yaml", ".gitignore"],
        "kept": [],
    }
    cli.write("iogate.yaml", "port: 81\n")
    assert cli("init", "-o", "json").json["kept"] == first["created"][:3]
    assert (cli.root / "iogate.yaml").read_text() == "port: 81\n"
    assert cli("init").err.startswith("all files exist already: nothing was changed\n")


def test_init_creates_the_folder_of_a_project(cli: Cli) -> None:
    ran = cli("init", "deep/shop")
    assert ran.out.startswith("created iogate.yaml\n")
    assert 'next: "cd deep/shop", then "iogate up" serves it' in ran.err
    assert (cli.root / "deep/shop/apis.d/hello.yaml").is_file()
    assert not (cli.root / "apis.d").exists()


def test_init_in_the_place_of_a_file_is_an_error(cli: Cli) -> None:
    cli.write("shop", "x")
    assert cli("init", "shop", code=64).err == (
        "iogate: shop: File exists\n  give a folder, or the path of a new one\n"
    )


def test_init_adds_the_data_folder_to_an_existing_gitignore(cli: Cli) -> None:
    cli.write(".gitignore", "*.pyc")
    cli("init")
    assert (cli.root / ".gitignore").read_text() == "*.pyc\n.iogate/\n"


def test_init_keeps_the_encoding_of_a_gitignore(cli: Cli) -> None:
    (cli.root / ".gitignore").write_bytes(b"Stra\xdfe/\n")
    cli("init")
    assert (cli.root / ".gitignore").read_bytes() == b"Stra\xdfe/\n.iogate/\n"


@pytest.mark.parametrize(
    ("blocked", "command", "said"),
    [
        ("apis.d", ("init",), "apis.d: cannot be read or written: File exists"),
        ("workflows.d", ("init",), "workflows.d: cannot be read or written: File exists"),
        ("apis.d", ("new", "api", "a/b"), "apis.d: cannot be read or written: File exists"),
        (
            "workflows.d",
            ("new", "workflow", "a/b"),
            "workflows.d/a: cannot be read or written: Not a directory",
        ),
        ("x", ("new", "api", "a/b", "--script", "x/y.py"), "x: cannot be read or written: File exists"),
    ],
)
def test_a_file_in_the_place_of_a_folder_is_named(
    cli: Cli, blocked: str, command: tuple[str, ...], said: str
) -> None:
    cli.write(blocked, "x")
    ran = cli(*command, code=4)
    assert ran.err.splitlines()[-2:] == [
        f"iogate: {said} [IOG721]",
        "  give yourself the permission to read and write it, or move away what is in its place",
    ]
    assert not (cli.root / "workflows.d/a/b.yaml").exists(), "the command can be repeated"


def test_a_folder_in_the_place_of_a_file_is_named(cli: Cli) -> None:
    (cli.root / ".gitignore").mkdir()
    assert ".gitignore: cannot be read or written: Is a directory [IOG721]" in cli("init", code=4).err
    (cli.root / "apis.d/orders.yaml").mkdir()
    ran = cli("new", "api", "orders/submit", code=4)
    assert "apis.d/orders.yaml: cannot be read or written: Is a directory [IOG721]" in ran.err


def test_new_api_refuses_a_module_that_is_not_utf_8(cli: Cli) -> None:
    (cli.root / "apis.d").mkdir()
    (cli.root / "apis.d/orders.yaml").write_bytes(b"module: orders # Stra\xdfe\n")
    ran = cli("new", "api", "orders/submit", code=3)
    assert ran.err == "iogate: apis.d/orders.yaml is invalid\n  iogate validate apis.d/orders.yaml\n"


def test_new_api_adds_methods_to_a_module(cli: Cli) -> None:
    cli("new", "api", "orders/submit")
    ran = cli("new", "api", "orders/cancel_all", "--http", "https://shop.example/cancel")
    assert ran.out == "changed apis.d/orders.yaml\ncreated workflows.d/orders/cancel_all.yaml\n"
    text = (cli.root / "apis.d/orders.yaml").read_text()
    assert "workflow: orders/submit\n" in text
    assert "workflow: orders/cancel-all\n" in text
    assert "mocks: {/do/0/call: {output: {ok: true}}}" in text


@pytest.mark.parametrize("auth", ["none", "{any: [none, {token: {env: T}}]}", "{token: {env: T}}"])
def test_new_api_warns_of_an_api_without_credentials(cli: Cli, auth: str) -> None:
    cli.write("apis.d/orders.yaml", f"module: orders\nauth: {auth}\nmethods:\n  a: {{workflow: x/y}}\n")
    ran = cli("new", "api", "orders/submit", "-q")
    warning = (
        "warning: everyone can call orders/submit: the auth of module orders in apis.d/orders.yaml asks for"
        " no credentials; give the method an auth of its own, such as auth: {token: {env: NAME}}\n"
    )
    assert ran.err == (warning if "none" in auth else "")


def test_new_api_leaves_one_empty_line_above_the_method(cli: Cli) -> None:
    head = "module: orders\nauth: {token: {env: T}}\nmethods:\n  a: {workflow: x/y}\n\n  # end"
    file = cli.write("apis.d/orders.yaml", f"{head}\n  \n    \n")
    cli("new", "api", "orders/submit")
    assert file.read_text().startswith(f"{head}\n\n  submit:\n")


def test_new_api_keeps_the_line_ends_the_mode_and_the_link_of_a_module(cli: Cli) -> None:
    cli("new", "api", "orders/submit")
    file, target = cli.root / "apis.d/orders.yaml", cli.root / "linked.yaml"
    before = file.read_bytes().replace(b"\n", b"\r\n")
    target.write_bytes(before)
    target.chmod(0o640)
    file.unlink()
    file.symlink_to(target)
    cli("new", "api", "orders/cancel")
    raw = target.read_bytes()
    assert raw.startswith(before)
    assert b"\r\n  cancel:\r\n    verbs: [POST]\r\n" in raw
    assert raw.count(b"\n") == raw.count(b"\r\n")
    assert target.stat().st_mode & 0o777 == 0o640
    assert file.is_symlink()
    assert cli("validate", "-o", "json").json["problems"] == []


def test_new_api_does_not_overwrite_a_change_that_came_meanwhile(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("new", "api", "orders/submit")
    file = cli.root / "apis.d/orders.yaml"
    create = project_commands._create_workflow

    def create_after_a_change(path: Path, *names: str) -> bool:
        file.write_text("module: orders\n")
        return create(path, *names)

    monkeypatch.setattr(project_commands, "_create_workflow", create_after_a_change)
    assert cli("new", "api", "orders/cancel", code=4).err == (
        "iogate: apis.d/orders.yaml has changed meanwhile\n  run the command again\n"
    )
    assert file.read_text() == "module: orders\n"
    assert not (cli.root / "workflows.d/orders/cancel.yaml").exists(), "the command can be repeated"


def test_new_api_leaves_a_module_alone_that_it_cannot_extend(cli: Cli) -> None:
    text = "module: orders\nmethods: {a: {workflow: x/y, auth: none}}\n"
    cli.write("apis.d/orders.yaml", text)
    ran = cli("new", "api", "orders/submit", code=4)
    assert ran.err.startswith(
        "iogate: apis.d/orders.yaml: the method cannot be added automatically\n"
        "  add this under methods:\n    submit:\n"
    )
    assert ran.err.endswith('\n  and create its workflow with "iogate new workflow orders/submit"\n')
    assert (cli.root / "apis.d/orders.yaml").read_text() == text
    assert not (cli.root / "workflows.d").exists()


@pytest.mark.parametrize(
    "methods",
    [
        "\n  {a: {workflow: x/y, auth: none}}",
        "\n  - a",
        "\n  text",
        "",
        " &all\n  a: {workflow: x/y, auth: none}",
        "\n  a: {workflow: x/y, auth: none}\n...",
        "\n  a:\n    workflow: x/y\n    auth: none\n    description: |+\n      It.\n\n",
    ],
)
def test_new_api_leaves_methods_alone_that_it_cannot_extend(cli: Cli, methods: str) -> None:
    text = f"module: orders\nmethods:{methods}\n"
    cli.write("apis.d/orders.yaml", text)
    ran = cli("new", "api", "orders/submit", code=4)
    assert ran.err.startswith("iogate: apis.d/orders.yaml: the method cannot be added automatically\n")
    assert (cli.root / "apis.d/orders.yaml").read_text() == text
    assert not (cli.root / "workflows.d").exists()


def test_new_api_refuses_the_file_of_another_module(cli: Cli) -> None:
    text = "module: shop\nauth: none\nmethods:\n  a: {workflow: x/y}\n"
    cli.write("apis.d/orders.yaml", text)
    assert cli("new", "api", "orders/submit", code=4).err == (
        'iogate: apis.d/orders.yaml is the file of module "shop", not of "orders"\n'
        "  give that file another name, and run the command again\n"
    )
    assert (cli.root / "apis.d/orders.yaml").read_text() == text
    assert not (cli.root / "workflows.d").exists()


@pytest.mark.parametrize("api", ["2024/report", "2fa/verify", "2030-01-31/x", "a/null", "a/true", "a/1e5"])
def test_new_writes_names_that_yaml_takes_for_other_types_as_texts(cli: Cli, api: str) -> None:
    module, method = api.split("/")
    cli("new", "api", api)
    cli("new", "api", f"{module}/007")
    cli("new", "workflow", f"1/{method}")
    documents = load(cli.root)
    (document,) = documents.apis
    assert (document.model.module, list(document.model.methods)) == (module, [method, "007"])
    names = sorted(each.data["document"]["name"] for each in documents.workflows)
    assert names == ["007", method, method]
    assert cli("validate", "-o", "json").json["problems"] == []


def test_the_variable_of_a_new_token_does_not_start_with_a_digit(cli: Cli) -> None:
    cli("new", "api", "2fa/verify")
    assert "\nauth: {token: {env: _2FA_TOKEN}}\n" in (cli.root / "apis.d/2fa.yaml").read_text()


def test_new_api_refuses_a_method_that_exists(cli: Cli) -> None:
    cli("new", "api", "orders/submit")
    assert cli("new", "api", "orders/submit", code=4).err == (
        "iogate: API orders/submit exists already, in apis.d/orders.yaml\n"
        "  change that file, or choose another name\n"
    )


def test_new_api_does_not_advise_to_delete_a_workflow(cli: Cli) -> None:
    cli.write("workflows.d/orders/submit.yaml", "do: [\n")
    assert cli("new", "api", "orders/submit", code=4).err == (
        "iogate: workflows.d/orders/submit.yaml exists already\n  move it away, or choose another method\n"
    )
    assert not (cli.root / "apis.d").exists()


@pytest.mark.parametrize("path", ["apis.d/crm-file.yaml", "apis.d/2025.yml", "apis.d/all/a.yaml"])
def test_new_api_extends_the_file_that_has_the_module(cli: Cli, path: str) -> None:
    cli.write("apis.d/another.yaml", "module: another\nauth: none\nmethods:\n  a: {workflow: x/y}\n")
    head = "module: '2025'\nauth: {token: {env: T}}\nmethods:\n  a: {workflow: x/y}\n"
    file = cli.write(path, head)
    assert cli("new", "api", "2025/report").out == (f"changed {path}\ncreated workflows.d/2025/report.yaml\n")
    assert file.read_text().startswith(f"{head}\n  report:\n")
    assert not (cli.root / "apis.d/2025.yaml").exists()


def test_new_api_prefers_the_file_with_the_name_of_the_module(cli: Cli) -> None:
    for name in ("all", "orders"):
        cli.write(
            f"apis.d/{name}.yaml", f"module: orders\nauth: none\nmethods:\n  {name}: {{workflow: x/y}}\n"
        )
    assert cli("new", "api", "orders/submit").out.startswith("changed apis.d/orders.yaml\n")


def test_new_api_refuses_a_method_that_another_file_defines(cli: Cli) -> None:
    cli.write("apis.d/all.yaml", "module: orders\nauth: none\nmethods:\n  submit: {workflow: x/y}\n")
    assert cli("new", "api", "orders/submit", code=4).err == (
        "iogate: API orders/submit exists already, in apis.d/all.yaml\n"
        "  change that file, or choose another name\n"
    )
    assert not (cli.root / "apis.d/orders.yaml").exists()
    assert not (cli.root / "workflows.d").exists()


def test_new_api_refuses_a_workflow_that_another_file_defines(cli: Cli) -> None:
    cli("new", "api", "orders/cancel_all")
    text = (cli.root / "apis.d/orders.yaml").read_text()
    assert cli("new", "api", "orders/cancel-all", code=4).err == (
        "iogate: workflow orders/cancel-all exists already, in workflows.d/orders/cancel_all.yaml\n"
        "  change that file, or choose another name\n"
    )
    assert (cli.root / "apis.d/orders.yaml").read_text() == text
    assert not (cli.root / "workflows.d/orders/cancel-all.yaml").exists()


def test_new_api_from_a_script_names_the_setting_that_it_needs(cli: Cli) -> None:
    cli.write("scripts/report.py", "print(1)\n")
    ran = cli("new", "api", "reports/daily", "--script", "scripts/report.py")
    assert ran.err.startswith(
        'warning: allow_run has no "script": add it in iogate.yaml before "iogate apply"\n'
    )
    text = (cli.root / "workflows.d/reports/daily.yaml").read_text()
    assert "source: {endpoint: ../../scripts/report.py}" in text


def test_new_api_from_a_function_passes_its_parameters(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.write(
        "iogate_test_new.py",
        "import iogate\n@iogate.function('greet', version='1.0.0')\n"
        "def greet(name: str, ctx: iogate.Context) -> str:\n    return name\n",
    )
    cli.write("iogate.yaml", "functions: [iogate_test_new]\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    cli("new", "api", "people/greet", "--function", "greet:1.0.0")
    text = (cli.root / "workflows.d/people/greet.yaml").read_text()
    assert "call: greet:1.0.0@default\n      with:\n        name: ${ .name }\n" in text
    ran = cli("new", "api", "people/shout", "--function", "shout:1.0.0", code=8)
    assert ran.err == "iogate: --function shout:1.0.0: no such function; there are greet:1.0.0\n"


def test_new_api_runs_a_script_of_any_name(cli: Cli) -> None:
    cli("init")
    cli("new", "api", "a/b", "--script", "scripts/100%, [my] file #1 {x}.py")
    assert cli("test", "a/b", "-o", "json").json["passed"] == 1


def test_new_api_writes_any_character_of_an_argument(cli: Cli) -> None:
    url, script = "https://shop.example/\U0001f600/\x7f", "scripts/\U0001f600,é.py"
    cli("new", "api", "a/http", "--http", url)
    cli("new", "api", "a/script", "--script", script)
    documents = load(cli.root)
    assert documents.problems == ()
    tasks = {each.data["document"]["name"]: each.data["do"][0] for each in documents.workflows}
    assert tasks["http"]["call"]["with"]["endpoint"] == url
    assert tasks["script"]["run"]["run"]["script"]["source"]["endpoint"] == f"../../{script}"
    _, case = file_templates.function_task(
        "f:1.0.0", {"required": ["a"], "properties": {"a": {"const": "\U0001f600"}}}
    )
    assert read_text(case, "case.yaml").data[0]["body"] == {"a": "\U0001f600"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["api", "orders"],
            "orders: expected MODULE/METHOD, each of 1 to 63 letters, digits, - or _, with a",
        ),
        (["api", "a/../b"], "a/../b: expected MODULE/METHOD"),
        (["api", "a/b", "--http", "ftp://x"], "--http ftp://x: expected a URL with http:// or https://"),
        (
            ["api", "a/b", "--http", "http://x", "--function", "f:1"],
            "--script, --function and --http cannot be combined",
        ),
        (["api", "a/b", "--function", "f"], "--function f: expected NAME:VERSION, for example greet:1.0.0"),
        (["api", "a/b", "--script", "../x.py"], "--script ../x.py: it is outside the project "),
        (["api", "a/b", "--script", "link/x.py"], "--script link/x.py: it is outside the project "),
        (["workflow", "A/b"], "A/b: expected NAMESPACE/NAME, each of a-z, 0-9 and -, of at most 63"),
    ],
)
def test_a_wrong_name_states_the_expected_form(cli: Cli, arguments: list[str], message: str) -> None:
    outside = cli.root.parent / "outside"
    outside.mkdir(exist_ok=True)
    (cli.root / "link").symlink_to(outside)
    assert cli("new", *arguments, code=64).err.startswith(f"iogate: {message}")
    assert not (cli.root / "apis.d").exists()
    assert not (cli.root.parent / "x.py").exists()
    assert not any(outside.iterdir())


def test_new_api_writes_a_missing_script_and_its_test_passes(cli: Cli) -> None:
    cli("init")
    ran = cli("new", "api", "a/b", "--script", "scripts/x.py")
    assert ran.out.splitlines()[-1] == "created scripts/x.py"
    assert cli("test", "a/b", "-o", "json").json["passed"] == 1
    assert cli("run", "workflows.d/a/b.yaml", "--input", '{"n": 1}', "-o", "json").json["output"] == {
        "received": {"n": 1}
    }
    cli.write("scripts/x.py", "print(2)\n")
    again = cli("new", "api", "a/c", "--script", "scripts/x.py")
    assert "scripts/x.py" not in again.out
    said = "the debug case in apis.d/a.yaml has an empty body: replace it by an input of scripts/x.py\n"
    assert said in again.err
    assert said not in ran.err
    assert (cli.root / "scripts/x.py").read_text() == "print(2)\n"
    assert (
        cli("new", "api", "a/d", "--script", "scripts", code=64).err
        == "iogate: --script scripts: not a file\n"
    )


def test_new_workflow_writes_one_and_refuses_a_second(cli: Cli) -> None:
    ran = cli("new", "workflow", "shop/pay")
    assert ran.out == "created workflows.d/shop/pay.yaml\n"
    assert ran.err.startswith("next, in ")
    assert ran.err.endswith(": iogate validate; iogate run workflows.d/shop/pay.yaml\n")
    assert cli("run", "workflows.d/shop/pay.yaml", "-o", "json").json["output"] == {"received": {}}
    assert "exists already" in cli("new", "workflow", "shop/pay", code=4).err


def test_new_workflow_refuses_one_that_another_file_defines(cli: Cli) -> None:
    cli.write(
        "workflows.d/all.yaml",
        "document: {dsl: '1.0.3', namespace: ops, name: deploy, version: 2.0.0}\ndo: [{a: {set: {}}}]\n",
    )
    assert cli("new", "workflow", "ops/deploy", code=4).err == (
        "iogate: workflow ops/deploy exists already, in workflows.d/all.yaml\n"
        "  change that file, or choose another name\n"
    )
    assert not (cli.root / "workflows.d/ops").exists()


def test_a_new_token_matches_its_hash(cli: Cli) -> None:
    made = cli("secret", "new", "-o", "json").json
    assert made["schema"] == "iogate.secret.new/v1"
    assert is_token(made["token"])
    assert made["hash"] == hash_token(made["token"])


def test_a_secret_is_hashed_from_stdin_without_its_line_break(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("123456\n"))
    assert cli("secret", "hash").out == hash_token("123456") + "\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO("123456\n"))
    assert cli("secret", "hash", "--password").out.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert cli("secret", "hash", code=64).err.startswith("iogate: no secret on stdin\n")


def test_doctor_reports_a_missing_store_before_the_first_up(cli: Cli) -> None:
    cli("init")
    assert 'iogate: no store: set redis_url, or start one with "iogate up"' in cli("doctor", code=6).err
