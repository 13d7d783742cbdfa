"""Reports of `lint` and `validate` for CI systems: GitHub annotations, SARIF, JUnit."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iogate.cli.reports import github, sarif
from iogate.cli.reports.problem_report import settings_problems
from iogate.documents.problems import Problem
from tests.cli.conftest import Cli

API = """\
module: shop
auth: none
timeout: 1m
methods:
  order:
    workflow: shop/fulfil
    colour: red
"""
KEPT = """\
module: audit
auth: none
timeout: 1m
methods:
  order:
    workflow: shop/fulfil
    retention: 100d
    debug: [{name: one, body: {}}]
"""
WORKFLOW = """\
document: {dsl: 1.0.3, namespace: shop, name: fulfil, version: 1.0.0}
do:
  - note: {set: {text: .text, password: canary-4711}}
"""
SARIF = {
    "type": "object",
    "required": ["version", "runs"],
    "properties": {
        "version": {"const": "2.1.0"},
        "runs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["tool", "results"],
                "additionalProperties": False,
                "properties": {
                    "tool": {
                        "properties": {
                            "driver": {
                                "type": "object",
                                "required": ["name"],
                                "additionalProperties": False,
                                "properties": {
                                    "name": {"type": "string"},
                                    "semanticVersion": {"type": "string"},
                                    "rules": {
                                        "type": "array",
                                        "uniqueItems": True,
                                        "items": {"$ref": "#/$defs/rule"},
                                    },
                                },
                            }
                        }
                    },
                    "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
                    "originalUriBaseIds": {"type": "object"},
                    "results": {"type": "array", "items": {"$ref": "#/$defs/result"}},
                },
            },
        },
    },
    "$defs": {
        "level": {"enum": ["none", "note", "warning", "error"]},
        "message": {
            "type": "object",
            "required": ["text"],
            "additionalProperties": False,
            "properties": {"text": {"type": "string"}, "markdown": {"type": "string"}},
        },
        "rule": {
            "type": "object",
            "required": ["id"],
            "additionalProperties": False,
            "properties": {
                "id": {"type": "string"},
                "name": {"type": "string", "pattern": "^[A-Za-z0-9]+$"},
                "shortDescription": {"$ref": "#/$defs/message"},
                "help": {"$ref": "#/$defs/message"},
                "defaultConfiguration": {"properties": {"level": {"$ref": "#/$defs/level"}}},
            },
        },
        "result": {
            "type": "object",
            "required": ["message"],
            "additionalProperties": False,
            "properties": {
                "ruleId": {"type": "string"},
                "ruleIndex": {"type": "integer", "minimum": 0},
                "level": {"$ref": "#/$defs/level"},
                "message": {"$ref": "#/$defs/message"},
                "locations": {
                    "type": "array",
                    "items": {
                        "properties": {
                            "physicalLocation": {
                                "required": ["artifactLocation", "region"],
                                "additionalProperties": False,
                                "properties": {
                                    "artifactLocation": {
                                        "required": ["uri"],
                                        "properties": {"uri": {"type": "string", "format": "uri-reference"}},
                                    },
                                    "region": {
                                        "additionalProperties": False,
                                        "properties": {
                                            name: {"type": "integer", "minimum": 1}
                                            for name in ("startLine", "startColumn", "endColumn")
                                        },
                                    },
                                },
                            }
                        }
                    },
                },
            },
        },
    },
}
"""The parts of the SARIF 2.1.0 schema that the output uses, closed against misspelt properties."""


@pytest.fixture
def project(cli: Cli) -> Cli:
    cli.write("apis.d/a: b, c%.yaml", API)
    cli.write("apis.d/kept.yaml", KEPT)
    cli.write("workflows.d/w.yaml", WORKFLOW)
    cli.write(
        "workflows.d/fine.yaml",
        "document: {dsl: 1.0.3, namespace: shop, name: child, version: 1.0.0}\n"
        "schedule: {every: {hours: 1}} # iogate: ignore IOG528 fine\n"
        "timeout: {after: PT1M}\ndo: [{a: {set: {b: 1}}}]\n",
    )
    return cli


def test_github_annotations(project: Cli) -> None:
    lines = project("lint", "-o", "github", code=3).out.splitlines()
    assert lines[0].startswith(
        "::error file=apis.d/a%3A b%2C c%25.yaml,line=7,col=5,endColumn=11,title=iogate IOG101"
        '::unknown key "colour" in method shop/order'
        " (expected one of description, "
    )
    assert [line.partition(" ")[0] for line in lines] == [
        "::error",
        "::notice",
        "::warning",
        "::warning",
    ]
    assert "canary" not in "".join(lines)


def test_github_paths_begin_at_the_checkout(project: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_WORKSPACE", str(project.root.parent))
    line = project("validate", "-o", "github", code=3).out.splitlines()[0]
    assert f" file={project.root.name}/apis.d/" in line


@given(st.text(st.characters(codec=None)), st.text(st.characters(codec=None)))
def test_no_text_ends_an_annotation_or_starts_another(message: str, path: str) -> None:
    problem = Problem(code="IOG101", message=message, hint=message, path=path, line=1, column=1)
    shown = github.render([problem])
    assert re.fullmatch(
        r"::error file=[^,:\n\r]*,line=1,col=1,endColumn=2,title=iogate IOG101::[^\n\r]*", shown
    )


def test_sarif_has_its_form_and_the_explanations(project: Cli) -> None:
    log = project("lint", "-o", "sarif", code=3).json
    jsonschema_rs.validator_for(SARIF, validate_formats=True).validate(log)
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == sorted({each["ruleId"] for each in run["results"]})
    assert all(rules[each["ruleIndex"]]["id"] == each["ruleId"] for each in run["results"])
    assert all(len(rule["help"]["markdown"]) > 40 for rule in rules)
    first = run["results"][0]
    assert (first["ruleId"], first["level"]) == ("IOG101", "error")
    assert first["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "apis.d/a%3A%20b%2C%20c%25.yaml", "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": 7, "startColumn": 5, "endColumn": 11},
    }
    assert {each["level"] for each in run["results"]} == {"error", "warning", "note"}
    assert "canary" not in str(log)


def test_sarif_shows_no_link_of_a_document() -> None:
    hostile = Problem(code="IOG101", message='not "[x](http://e.example)\\"', path="a", line=1, column=1)
    plain = Problem(code="IOG101", message="a list [1, 2]", path="a", line=1, column=1)
    texts = [
        each["message"]["text"] for each in json.loads(sarif.render([hostile, plain]))["runs"][0]["results"]
    ]
    assert texts == [r'not "\[x\](http://e.example)\\"', "a list [1, 2]"]


def test_sarif_of_a_file_elsewhere_has_its_whole_uri(tmp_path: Path) -> None:
    problem = Problem(code="IOG101", message="m", path=str(tmp_path / "a b.yaml"), line=1, column=1)
    assert (tmp_path / "a b.yaml").as_uri() in sarif.render([problem])


def test_junit_has_a_failed_case_per_problem_and_a_passed_one_per_good_file(project: Cli) -> None:
    root = ET.fromstring(project("lint", "-o", "junit", code=3).out)
    (suite,) = root
    counts = [suite.get(name) for name in ("name", "tests", "failures", "skipped")]
    assert counts == ["lint", "5", "3", "1"]
    assert [case.get("name") for case in suite if len(case) == 0] == ["workflows.d/fine.yaml"]
    (advice,) = [case[0] for case in suite if case.find("skipped") is not None]
    assert str(advice.get("message")).startswith("apis.d/kept.yaml:7:16: advice IOG529: runs of audit/order")
    failure = suite[0].find("failure")
    assert failure is not None
    assert failure.get("type") == "error"
    assert str(failure.get("message")).startswith("apis.d/a: b, c%.yaml:7:5: error IOG101: unknown key")


def test_a_clean_project_has_an_empty_report(cli: Cli) -> None:
    cli.write(
        "workflows.d/w.yaml",
        "document: {dsl: 1.0.3, namespace: n, name: w, version: 1.0.0}\n"
        "schedule: {every: {hours: 1}} # iogate: ignore IOG528 fine\n"
        "timeout: {after: PT1M}\ndo: [{a: {set: {b: 1}}}]\n",
    )
    assert cli("lint", "-o", "github").out == ""
    assert cli("lint", "-o", "sarif").json["runs"][0]["results"] == []
    assert 'failures="0"' in cli("validate", "-o", "junit").out


@pytest.mark.parametrize("command", ["lint", "validate"])
def test_errors_of_settings_are_in_the_reports(command: str, cli: Cli) -> None:
    cli.write("iogate.yaml", "port: 1\nprot: 80\n")
    cli.write("workflows.d/w.yaml", WORKFLOW)
    lines = cli(command, "-o", "github", code=3).out.splitlines()
    assert lines[0] == (
        "::error file=iogate.yaml,line=2,col=1,endColumn=2,title=iogate IOG190"
        '::unknown setting "prot"; did you mean "port"?'
    )
    levels = {each["level"] for each in cli(command, "-o", "sarif", code=3).json["runs"][0]["results"]}
    assert "error" in levels
    assert 'file="iogate.yaml" line="2"' in cli(command, "-o", "junit", code=3).out


def test_errors_of_settings_keep_the_file_and_line_that_they_name() -> None:
    message = "iogate.staging.yaml:3: port: expected a number\nIOGATE_PORT: expected a number"
    assert [(each.path, each.line, each.message) for each in settings_problems(message, "IOG191")] == [
        ("iogate.staging.yaml", 3, "port: expected a number"),
        ("iogate.yaml", 1, "IOGATE_PORT: expected a number"),
    ]
