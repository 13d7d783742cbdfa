"""Settings: the order of their sources, and errors about wrong ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from iogate import settings
from iogate.errors import InvalidFiles
from iogate.settings import Settings
from tests.cli.conftest import Cli


def fault(**sources: object) -> str:
    with pytest.raises(InvalidFiles) as caught:
        settings.read(**sources)  # type: ignore[arg-type]  # each case gives the sources it is about
    return caught.value.message


def test_nothing_given_gives_the_defaults() -> None:
    assert settings.read() == Settings()


def test_flags_beat_environment_which_beats_the_file() -> None:
    file = {"port": 1, "host": "a", "workers": 2}
    environment = {"IOGATE_PORT": "3", "IOGATE_HOST": "b"}
    read = settings.read(file, environment, {"port": 4, "host": None})
    assert (read.port, read.host, read.workers) == (4, "b", 2)


def test_lists_and_maps_are_json_in_the_environment() -> None:
    environment = {
        "IOGATE_ALLOW_RUN": '["script", "shell", "script"]',
        "IOGATE_SECRETS": '{"db": {"env": "DB"}}',
        "IOGATE_ENDPOINTS": '{"https://a.example/": "http://localhost:1/"}',
    }
    read = settings.read(environment=environment)
    assert read.allow_run == ("script", "shell")
    assert read.secrets == {"db": {"env": "DB"}}
    assert read.endpoints == {"https://a.example/": "http://localhost:1/"}


def test_an_endpoint_may_be_the_gateway_of_the_same_settings() -> None:
    file = {"endpoints": {"http://own.example": "gateway", "http://a.example": "http://b.example"}}
    for flags, own in (
        ({}, "http://127.0.0.1:8000"),
        ({"port": 9000, "host": "0.0.0.0"}, "http://127.0.0.1:9000"),
        ({"host": "::"}, "http://[::1]:8000"),
        ({"host": "::1"}, "http://[::1]:8000"),
        ({"public_url": "https://api.example.com/"}, "https://api.example.com"),
    ):
        read = settings.read(file, flags=flags)
        assert read.endpoints == {"http://own.example": own, "http://a.example": "http://b.example"}
        handed_over = settings.from_environment(settings.to_environment(read))
        assert handed_over.endpoints == read.endpoints


def test_a_data_dir_without_the_home_folder_that_it_names_is_an_error() -> None:
    place = {"place_of": lambda _: "iogate.yaml:3"}
    assert fault(file={"data_dir": "~nobody-here/data"}, **place) == (
        'iogate.yaml:3: data_dir: this machine has no home folder for "~nobody-here"; write the whole path'
    )
    assert fault(environment={"IOGATE_DATA_DIR": "~nobody-here"}).startswith("IOGATE_DATA_DIR: this machine")
    assert settings.read({"data_dir": "~/data"}).data_dir == Path.home() / "data"


def test_an_empty_variable_counts_as_unset() -> None:
    assert settings.read({"port": 81}, {"IOGATE_PORT": ""}).port == 81


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        (
            {"file": {"port": "80x"}, "place_of": lambda _: "iogate.yaml:7"},
            'iogate.yaml:7: port: expected a whole number from 1 to 65535, got "80x"',
        ),
        (
            {"file": {"process_limits": {"memory": "1KiB"}}},
            "iogate.yaml: process_limits.memory: expected a size such as 1MiB, 64KiB or 500kB,"
            ' at least 16777216 bytes, got "1KiB"',
        ),
        (
            {"file": {"process_limits": {"disk": 1}}},
            'iogate.yaml: process_limits: unknown key "disk"; keys are memory, cpu, file, processes',
        ),
        (
            {"file": {"secrets": {"db": "hunter2", "api": {"env": "A", "file": "b"}}}},
            "iogate.yaml: secrets.db: expected {env: NAME} or {file: PATH}, got a value of 7 characters\n"
            "iogate.yaml: secrets.api: expected {env: NAME} or {file: PATH}, got a mapping",
        ),
        (
            {"environment": {"IOGATE_SECRETS": '["db"]'}},
            "IOGATE_SECRETS: expected a map of name to {env: NAME} or {file: PATH}, got a list",
        ),
        (
            {"file": {"process_environment": ["A B"]}},
            "iogate.yaml: process_environment: expected a list of names of environment variables,"
            ' such as AWS_REGION or AWS_*, got ["A B"]',
        ),
        ({"file": {"port": True}}, "iogate.yaml: port: expected a whole number from 1 to 65535, got true"),
        (
            {"file": {"prot": 80}},
            'iogate.yaml: unknown setting "prot"; did you mean "port"?',
        ),
        (
            {"environment": {"IOGATE_WORKERS": "many"}},
            'IOGATE_WORKERS: expected a whole number from 1 to 256, got "many"',
        ),
        (
            {"environment": {"IOGATE_ALLOW_RUN": "script"}},
            'IOGATE_ALLOW_RUN: expected a list in JSON, got "script"',
        ),
        (
            {"file": {"allow_run": ["scripts"]}},
            'iogate.yaml: allow_run: expected a list of script, shell, container, got ["scripts"]',
        ),
        (
            {"file": {"error_types": "mine"}},
            "iogate.yaml: error_types: expected one of open-workflow, serverless-workflow,"
            ' serverless-workflow-dsl, got "mine"',
        ),
        ({"flags": {"log_format": "xml"}}, '--log-format: expected one of text, json, got "xml"'),
        (
            {"file": {"public_url": "example.org"}},
            'iogate.yaml: public_url: expected a URL with http:// or https://, got "example.org"',
        ),
        (
            {"file": {"endpoints": {"a": "b"}}},
            "iogate.yaml: endpoints: expected a map of URL prefix to URL prefix, each with http:// or https://,"
            ' or to gateway, got {"a": "b"}',
        ),
        (
            {"environment": {"IOGATE_PORT": "tcp://10.0.0.1:8000"}},
            "IOGATE_PORT (from a Kubernetes Service of this name? enableServiceLinks: false stops that):"
            ' expected a whole number from 1 to 65535, got "tcp://10.0.0.1:8000"',
        ),
    ],
)
def test_a_fault_names_place_expectation_and_value(sources: dict[str, object], message: str) -> None:
    assert fault(**sources) == message


def test_all_errors_are_reported_together() -> None:
    assert len(fault(file={"port": "x", "workers": 0}, environment={"IOGATE_HOST": "a b"}).splitlines()) == 3


@pytest.mark.parametrize(
    "file",
    [
        {"secrets": {"db": "hunter2-hunter2"}},
        {"link_key": "hunter2-hunter2"},
        {"publishers": ["ed25519-private:hunter2-hunter2"]},
        {"redis_url": "http://u:hunter2-hunter2@h"},
        {"events": {"token": "hunter2-hunter2"}},
    ],
)
def test_no_message_repeats_a_secret(file: dict[str, object]) -> None:
    assert "hunter2" not in fault(file=file)


def test_repr_shows_neither_password_nor_key() -> None:
    read = settings.read({"redis_url": "redis://:hunter2@h", "link_key": "hunter2" * 6})
    assert "hunter2" not in repr(read)


def test_a_child_reads_the_settings_of_its_parent() -> None:
    parent = settings.read(
        {"port": 81, "allow_run": ["shell"], "secrets": {"a": {"file": "f"}}, "link_key": "k" * 32}
    )
    child = settings.from_environment(settings.to_environment(parent))
    assert child.data_dir == Path(".iogate").absolute()
    assert (child.port, child.allow_run, child.secrets, child.link_key) == (
        81,
        ("shell",),
        {"a": {"file": "f"}},
        "k" * 32,
    )


def test_every_setting_survives_the_handover() -> None:
    whole = Settings(
        redis_url="redis://h/1",
        data_dir=Path("/d"),
        host="::1",
        port=2,
        public_url="https://p",
        gateways=2,
        workers=3,
        concurrency=4,
        functions=("a.b",),
        secrets={"s": {"env": "S"}},
        allow_run=("container",),
        python="/usr/bin/python3",
        allow_hosts=("h:1",),
        endpoints={"http://a": "http://b"},
        link_key="k" * 40,
        events={"auth": "none"},
        operators={"ada": {"token": {"env": "ADA_TOKEN"}, "role": "admin"}},
        error_types="serverless-workflow",
        log_format="json",
    )
    assert settings.from_environment(settings.to_environment(whole)) == whole


def test_without_a_parent_the_variables_count() -> None:
    assert settings.from_environment({"IOGATE_PORT": "82"}).port == 82


def test_allow_hosts_takes_hosts_ports_patterns_and_networks() -> None:
    hosts = ("h", "h:1", "*.internal", "*", "10.0.0.0/8", "fd00::/8", "[::1]:80")
    assert settings.read({"allow_hosts": list(hosts)}).allow_hosts == hosts
    for wrong in ("http://h", "10.0.0.0/33", "10.1.2.3/8", "h/8"):
        assert "expected a list of hosts, each HOST, HOST:PORT or NETWORK/BITS, without a scheme" in fault(
            file={"allow_hosts": [wrong]}
        )


def test_a_similar_variable_is_reported() -> None:
    found = settings.misspelt({"IOGATE_REDISURL": "x", "IOGATE_SERVICE_HOST": "x", "IOGATE_PORT": "1"})
    assert found == ['IOGATE_REDISURL: no such setting; did you mean "IOGATE_REDIS_URL"?']
    told = settings.misspelt(
        {"IOGATE_PROT": "1", "IOGATE_REDIS": "x", "IOGATE_WORKER": "2", "IOGATE_LOG": "x"}
    )
    meant = ["LOG_FORMAT", "PORT", "REDIS_URL", "WORKERS"]
    assert [line.partition("did you mean ")[2] for line in told] == [f'"IOGATE_{name}"?' for name in meant]


def test_other_variables_with_our_prefix_are_left_alone() -> None:
    ours = ("SETTINGS", "CHILD", "TICK_FD", "LISTEN_FD", "PROCESS", "RUN_ID", "IDEMPOTENCY_KEY")
    theirs = (
        "PORT_8000_TCP",
        "PORT_8000_TCP_ADDR",
        "SERVICE_PORT",
        "TOKEN",
        "ADA_PASSWORD",
        "SLACK_HOOK",
        "VERSION",
    )
    assert settings.misspelt({f"IOGATE_{name}": "x" for name in (*ours, *theirs)}) == []


def test_the_schema_knows_every_setting() -> None:
    assert tuple(settings.schema()["properties"]) == settings.NAMES
    json.dumps(settings.schema())


def test_limits_that_are_left_out_keep_their_defaults_and_reach_the_workers() -> None:
    found = settings.read({"process_limits": {"memory": "64MiB", "cpu": "90s"}})
    assert found.process_limits == {"memory": 64 * 1024**2, "cpu": 90.0, "file": 1024**3, "processes": 256}
    handed_over = settings.from_environment(settings.to_environment(found))
    assert handed_over.process_limits == found.process_limits


@pytest.mark.parametrize(
    "text",
    [
        'link_key: "SECRET\n',
        "link_key: @SECRET\n",
        "link_key:SECRET\n",
        "link_kye: first\nlink_kye: SECRET\n",
        'previous_link_keys:\n- "SECRET\n',
        'redis_url: "redis://:SECRET@store.example.com\n',
        "vars:\n  region: SECRET\n  region: SECRET\n",
        'events:\n  sinks:\n    audit: {headers: {X-Key: "SECRET}}\n',
        "port: 8001\nlink_key: SECRET\nport: [\n",
        "host: localhost link_key: SECRET\n",
        "host: localhost link_kye: SECRET\n",
        "  link_key: SECRET\n",
        "- link_key: SECRET\n",
        "vars:\n  env: SECRET\n  env: SECRET\n",
        "# link_key: SECRET\nhost: @here\n",
        '# as JSON\n{\n"port": 8001, "link_key": "SECRET", "port": 8002\n}\n',
    ],
)
def test_an_error_of_yaml_shows_no_value_of_a_sensitive_setting(cli: Cli, text: str) -> None:
    before = "" if "{\n" in text else "port: 8000\n"
    cli.write("iogate.yaml", before + text.replace("SECRET", "hunter2-hunter2-hunter2-hunter2-hunter2"))
    for command in (("validate",), ("fmt", "iogate.yaml")):
        ran = cli(*command, code=3)
        assert "iogate.yaml:" in ran.err
        assert "hunter2" not in ran.out + ran.err


def test_an_error_of_yaml_shows_the_line_of_another_setting(cli: Cli) -> None:
    cli.write("iogate.yaml", "link_key: hunter2\nhost: @here\n")
    assert "  2 | host: @here\n    |       ^ put the value in quotes\n" in cli("validate", code=3).err
