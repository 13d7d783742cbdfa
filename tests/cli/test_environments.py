"""`--env NAME`: settings of `iogate.NAME.yaml` on top of `iogate.yaml`, and variables in commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iogate.settings.project_environments import merge, revealing
from tests.examples import examples

if TYPE_CHECKING:
    from tests.cli.conftest import Cli

WORKFLOW = """\
document: {dsl: '1.0.3', namespace: shop, name: w, version: 1.0.0}
timeout: {after: PT1M}
do: [{x: {set: {where: '${ $runtime.vars.region }', db: '${ $runtime.vars.db }'}}}]
"""
BASE = "port: 8100\nhosts: [a]\nvars:\n  region: eu\n  db: {host: a, port: 1}\n"


def test_an_environment_overrides_settings_and_variables(cli: Cli) -> None:
    cli.write("w.yaml", WORKFLOW)
    cli.write("iogate.yaml", BASE)
    cli.write("iogate.staging.yaml", "vars:\n  db: {host: b}\n")
    assert cli("run", "w.yaml", "-o", "json").json["output"] == {
        "where": "eu",
        "db": {"host": "a", "port": 1},
    }
    for arguments in (("run", "w.yaml", "--env", "staging"), ("--env", "staging", "run", "w.yaml")):
        assert cli(*arguments, "-o", "json").json["output"] == {"where": "eu", "db": {"host": "b", "port": 1}}


def test_the_variable_names_the_environment_and_the_option_wins(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.write("workflows.d/w.yaml", WORKFLOW)
    cli.write("iogate.yaml", BASE)
    cli.write("iogate.good.yaml", "# as in iogate.yaml\n")
    monkeypatch.setenv("IOGATE_ENV", "bad")
    assert "iogate.bad.yaml: no such file; environment bad reads it [IOG363]" in cli("validate", code=3).err
    assert cli("validate", "--env", "good").err == "1 file: 0 errors, 0 warnings\n"


def test_a_missing_file_and_a_name_that_is_no_name_are_errors(cli: Cli) -> None:
    ran = cli("new", "api", "a/b", "--env", "prod", code=3)
    assert ran.err == (
        "iogate: iogate.prod.yaml: no such file; environment prod reads it [IOG363]\n"
        "  write the settings in which it differs from iogate.yaml; an empty file changes nothing\n"
    )
    ran = cli("new", "api", "a/b", "--env", "../prod", code=64)
    assert 'environment "../prod": expected a name of letters, digits, - and _' in ran.err


def test_variables_are_not_checked_while_the_settings_are_invalid(cli: Cli) -> None:
    cli.write("workflows.d/w.yaml", WORKFLOW)
    cli.write("iogate.yaml", BASE.replace("8100", "x"))
    assert "IOG364" not in cli("validate", code=3).out


def test_an_error_names_the_file_that_has_the_value(cli: Cli) -> None:
    cli.write("iogate.yaml", "process_limits: {disk: 1}\nport: 1\n")
    cli.write("iogate.prod.yaml", "# mine\n\nport: x\nprocess_limits:\n  memory: 1GiB\nvars: {a-b: 1}\n")
    ran = cli("new", "api", "a/b", "--env", "prod", code=3)
    assert ran.err.splitlines() == [
        'iogate: iogate.yaml:1: process_limits: unknown key "disk"; keys are memory, cpu, file, processes'
        " [IOG191]",
        'iogate.prod.yaml:3: port: expected a whole number from 1 to 65535, got "x"',
        "iogate.prod.yaml:6: vars: expected each name to be letters, digits and _, as in $runtime.vars.NAME",
    ]


def test_a_variable_that_only_an_environment_has_is_reported(cli: Cli) -> None:
    cli.write("workflows.d/w.yaml", WORKFLOW)
    cli.write("iogate.yaml", BASE)
    cli.write("iogate.prod.yaml", "vars:\n  regoin: us\n  extra: 1\n")
    warnings = cli("validate", "--env", "prod").err.splitlines()
    assert warnings[:2] == [
        'warning: iogate.prod.yaml:2: vars.regoin: iogate.yaml has no variable "regoin";'
        ' did you mean "region"? [IOG367]',
        'warning: iogate.prod.yaml:3: vars.extra: iogate.yaml has no variable "extra";'
        " declare it there, with a default [IOG367]",
    ]


def test_a_value_that_looks_like_a_secret_is_reported_and_not_shown(cli: Cli) -> None:
    cli.write("workflows.d/w.yaml", WORKFLOW)
    cli.write("iogate.yaml", BASE + "  list: [{url: 'https://u:hunter2@h'}]\n  clientSecret: hunter2\n")
    err = cli("validate").err
    for line, name in ((6, "list[0].url"), (7, "clientSecret")):
        assert (
            f"warning: iogate.yaml:{line}: vars.{name}: the value looks like a secret, and variables are"
            ' stored and shown in clear; use the setting "secrets" and $secrets [IOG366]\n'
        ) in err
    assert "hunter2" not in err


def test_a_comment_ignores_a_warning_about_a_variable(cli: Cli) -> None:
    cli.write("workflows.d/w.yaml", WORKFLOW)
    cli.write("iogate.yaml", BASE + "  session: 30m # iogate: ignore IOG366 a duration\n  pin: 5\n")
    cli.write("iogate.prod.yaml", "vars:\n  # iogate: ignore IOG367\n  extra: 1\n")
    err = cli("validate", "--env", "prod").err
    assert err.count("warning: ") == 1
    assert "iogate.yaml:7: vars.pin: " in err


@pytest.mark.parametrize("value", ["-----BEGIN PRIVATE KEY-----\nx", "redis://:pw@h", "password=abc"])
def test_a_value_may_reveal_a_secret_by_its_form(value: str) -> None:
    assert [path for path, _, _ in revealing({"vars": {"a": {"b": value}}})] == [("vars", "a", "b")]


@pytest.mark.parametrize("value", ["eu-west-1", 5, True, None, "https://h/x?a=1", "token_ttl"])
def test_a_plain_value_reveals_nothing(value: object) -> None:
    assert list(revealing({"vars": {"a": value, "passwordless": value, "session": True}})) == []


def test_maps_merge_by_their_keys_and_other_values_replace() -> None:
    base = {
        "port": 1,
        "hosts": ["a"],
        "secrets": {"a": {"env": "A"}, "b": {"env": "B"}},
        "publish_key": {"env": "K"},
    }
    over = {"port": None, "hosts": ["b"], "secrets": {"a": {"file": "f"}}, "publish_key": {"file": "k"}}
    assert merge(base, over) == {
        "port": None,
        "hosts": ["b"],
        "secrets": {"a": {"file": "f"}, "b": {"env": "B"}},
        "publish_key": {"file": "k"},
    }


TREES = st.recursive(
    st.none() | st.integers(0, 3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
MAPS = st.dictionaries(st.sampled_from("abc"), TREES, max_size=3)


@settings(max_examples=examples(100))
@given(MAPS, MAPS)
def test_merging_variables_twice_is_merging_once_and_keeps_other_names(
    one: dict[str, object], two: dict[str, object]
) -> None:
    def merged(a: dict[str, object], b: dict[str, object]) -> dict[str, object]:
        return dict(merge({"vars": a}, {"vars": b})["vars"])

    assert merged(one, {}) == merged({}, one) == merged(one, one) == one
    assert merged(merged(one, two), two) == merged(one, two)
    assert {name: merged(one, two)[name] for name in one.keys() - two.keys()} == {
        name: one[name] for name in one.keys() - two.keys()
    }
