"""`iogate digests`, and the setting that takes its output."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from iogate import settings
from iogate.errors import InvalidFiles
from iogate.settings.permissions import describe

if TYPE_CHECKING:
    from tests.cli.conftest import Cli

WORKFLOW = """\
document: {dsl: '1.0.3', namespace: shop, name: w, version: 1.0.0}
timeout: {after: PT1M}
do:
  - list: {run: {shell: {command: ls}}}
  - again: {run: {shell: {command: ls}}}
  - count: {run: {script: {language: python, code: print(1)}}}
"""
DIGEST = "sha256:" + "0" * 64


def test_the_output_is_the_setting(cli: Cli) -> None:
    cli.write("workflows.d/w.yaml", WORKFLOW)
    cli.write("iogate.yaml", "allow_run: {shell: [], script: true}\n")
    assert cli("validate", code=3).out.count("IOG368") == 2
    unlisted = cli("digests", "--unlisted", "-o", "json").json["processes"]
    assert [(each["kind"], each["task"], each["allowed"]) for each in unlisted] == [
        ("shell", "list", False),
        ("shell", "again", False),
    ]
    ran = cli("digests")
    assert ran.out == (
        "allow_run:\n  script:\n"
        f"    - {cli('digests', '-o', 'json').json['processes'][2]['digest']}  # workflows.d/w.yaml:6 count\n"
        "  shell:\n"
        f"    - {unlisted[0]['digest']}  # workflows.d/w.yaml:4 list, workflows.d/w.yaml:5 again\n"
    )
    assert ran.err == "2 digests, 1 not allowed\n"
    cli.write("iogate.yaml", ran.out)
    assert cli("validate").err == "1 file: 0 errors, 0 warnings\n"
    assert cli("digests", "--unlisted").out == ""
    cli.write(
        "workflows.d/w.yaml", WORKFLOW.replace("command: ls}}}\n  - again", "command: rm}}}\n  - again")
    )
    assert 'workflows.d/w.yaml:4:18: error IOG368: the shell of task "list"' in cli("validate", code=3).out


def test_errors_of_the_documents_are_shown(cli: Cli) -> None:
    cli.write("workflows.d/w.yaml", WORKFLOW + "  - x: {call: nothing}\n")
    ran = cli("digests", code=3)
    assert ran.out.startswith("allow_run:\n")
    assert "IOG316" not in ran.err
    assert "digests of invalid workflows are missing" in ran.err


def test_the_setting_is_a_list_of_kinds_or_a_map() -> None:
    assert settings.read({"allow_run": ["shell"]}).allow_run == ("shell",)
    value = {"shell": [DIGEST, DIGEST], "script": True, "container": False}
    read = settings.read({"allow_run": value})
    assert read.allow_run == {"shell": (DIGEST,), "script": True, "container": False}
    assert settings.from_environment(settings.to_environment(read)).allow_run == read.allow_run
    assert describe(read.allow_run) == "script, shell (1 by digest)"
    assert describe(()) == describe({"shell": False}) == "nothing"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            {"shells": True},
            'allow_run: unknown key "shells"; did you mean "shell"?',
        ),
        (
            {"shell": ["sha256:0"], "script": "yes"},
            "allow_run.shell: expected true, false, or a list of digests, each sha256: and 64 hexadecimal"
            ' digits, got ["sha256:0"]\n'
            "iogate.yaml: allow_run.script: expected true, false, or a list of digests, each sha256: and 64"
            ' hexadecimal digits, got "yes"',
        ),
        ("shell", 'allow_run: expected a list of script, shell, container, got "shell"'),
    ],
)
def test_a_wrong_value_is_named(value: object, message: str) -> None:
    with pytest.raises(InvalidFiles) as caught:
        settings.read({"allow_run": value})
    assert caught.value.message == f"iogate.yaml: {message}"


def test_a_new_workflow_with_a_script_says_what_to_add(cli: Cli) -> None:
    cli.write("iogate.yaml", "allow_run: {script: []}\n")
    cli.write("s.py", "print(1)\n")
    expected = (
        'warning: allow_run in iogate.yaml lists scripts by digest: "iogate digests" prints that of s.py\n'
    )
    assert expected in cli("new", "api", "a/b", "--script", "s.py").err


def test_doctor_says_what_may_run(cli: Cli) -> None:
    cli.write("iogate.yaml", f"allow_run: {{shell: ['{DIGEST}']}}\n")
    assert "workflows may start: shell (1 by digest)" in cli("doctor", code=None).out
