"""JUnit XML: the report of `iogate test`, and texts that XML cannot hold as they are."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from iogate.cli.reports import junit
from tests.cli.conftest import Cli
from tests.cli.place import write_project

HARD = "a <b> & \"c\" 'd' ]]> \x1b[31m \x00 \ufffe \ud800 \u202e end"


def test_a_report_has_a_suite_per_api_and_a_case_per_debug_case(cli: Cli) -> None:
    write_project(cli.root)
    ran = cli("test", "-o", "junit", code=9)
    assert ran.err.endswith("iogate: 1 case of 3 failed\n")
    root = ET.fromstring(ran.out)
    assert (root.tag, root.get("name"), root.get("tests"), root.get("failures")) == (
        "testsuites",
        "iogate test",
        "3",
        "1",
    )
    buy, guarded = root
    assert (buy.get("name"), buy.get("tests"), buy.get("failures")) == ("shop/buy", "2", "1")
    assert [case.get("name") for case in buy] == ["one", "wrong on purpose"]
    assert guarded[0].get("classname") == "shop/guarded"
    assert float(buy[0].get("time", "")) > 0
    assert buy[0].get("file") == "apis.d/shop.yaml"
    failure = buy[1].find("failure")
    assert failure is not None
    assert failure.get("message") == 'output.bought: expected "B-2", got "A-1"'
    assert failure.text == 'output.bought: expected "B-2", got "A-1"'


def test_a_report_redacts_what_is_named_like_a_secret(cli: Cli) -> None:
    cli.write(
        "workflows.d/w.yaml",
        "document: {dsl: '1.0.3', namespace: n, name: w, version: 1.0.0}\n"
        "do: [{a: {set: {password: canary-4711}}}]\n",
    )
    cli.write(
        "apis.d/n.yaml",
        "module: n\nauth: none\nmethods:\n  w:\n    workflow: n/w\n    timeout: 1m\n"
        "    debug: [{name: it, body: {}, expect: {output: {password: other}}}]\n",
    )
    ran = cli("test", "-o", "junit", code=9)
    assert "output.password: [redacted]" in ran.out
    assert "canary" not in ran.out


@given(st.text(st.characters(codec=None)) | st.just(HARD))
def test_every_text_gives_well_formed_xml(text: str) -> None:
    case = junit.TestCase(name=text, file=text, line=3, failures=[text, text])
    root = ET.fromstring(junit.render(text, [junit.TestSuite(name=text, cases=[case])]).encode())
    (suite,) = root
    shown = suite.get("name")
    assert suite[0].get("name") == shown
    assert suite[0].get("file", "") == shown
    failure = suite[0].find("failure")
    assert failure is not None
    assert (failure.text or "") == f"{shown}\n{shown}"


def test_a_format_that_a_command_lacks_is_refused_with_the_commands_that_have_it(cli: Cli) -> None:
    ran = cli("-o", "junit", "explain", code=64)
    assert ran.err.splitlines() == [
        'iogate: -o junit: "iogate explain" does not have this format; it has text, json or yaml',
        '  commands with -o junit: "iogate debug", "iogate lint", "iogate test", "iogate validate"',
    ]
    assert ran.out == ""
    assert '"iogate test" does not have this format; it has text, json, yaml or junit' in (
        cli("test", "-o", "sarif", code=64).err
    )


def test_help_shows_the_formats_of_a_command(cli: Cli) -> None:
    assert "text|json|yaml|junit" in cli("test", "--help").out
    assert "text|json|yaml " in cli("explain", "--help").out
