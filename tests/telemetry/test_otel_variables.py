"""OpenTelemetry's variables turn tracing on; a mistake is told once, with what to do, and shows no secret."""

from __future__ import annotations

import importlib.abc
import importlib.util
import sys
from pathlib import Path

import pytest

from iogate.cli.processes.traces_check import check_traces
from iogate.settings import Settings
from iogate.telemetry import otel_variables, startup
from iogate.worker.pool.pool import Pool

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://user:pass-word@collector:4318/?key=in-query"}


@pytest.mark.parametrize(
    ("variables", "on"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "orders"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "True"}, False),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "false"}, True),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_an_endpoint_turns_tracing_on(variables: dict[str, str], *, on: bool) -> None:
    assert otel_variables.read({"PATH": "/bin", **variables}) == (variables if on else {})


def test_problems_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    assert otel_variables.find_problem({}) == ""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert otel_variables.find_problem(ENDPOINT) == (
        "OTEL_EXPORTER_OTLP_ENDPOINT is set, but OpenTelemetry is not installed: no traces are exported; "
        'install it with: pip install "iogate[otel]"'
    )
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())
    assert otel_variables.find_problem(ENDPOINT) == ""
    assert otel_variables.find_problem({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}) == (
        "OTEL_EXPORTER_OTLP_PROTOCOL is not http/protobuf: no traces are exported; set it to http/protobuf, "
        "and the endpoint to the collector's port for it, usually 4318"
    )
    assert otel_variables.find_problem({**ENDPOINT, "OTEL_TRACES_EXPORTER": "console"}) == (
        "OTEL_TRACES_EXPORTER is not otlp or none: no traces are exported; "
        "iogate exports by OTLP only: unset the variable"
    )


@pytest.mark.parametrize(
    "url", ["collector:4318", "collector", "ftp://u:hidden@collector", "http://", "http://a:x"]
)
def test_an_endpoint_that_is_no_url_is_told(url: str) -> None:
    problem = otel_variables.find_problem({"OTEL_EXPORTER_OTLP_ENDPOINT": url})
    assert problem == (
        "OTEL_EXPORTER_OTLP_ENDPOINT is not a URL of a collector: no traces are exported; "
        "write it with its scheme and host, such as http://localhost:4318"
    )


BROKEN = (
    "OpenTelemetry cannot be imported (ImportError: cannot import name 'x'): no traces are exported; "
    'install it again with: pip install --force-reinstall "iogate[otel]"'
)


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """An OpenTelemetry whose import raises, also when only its place is looked up."""

    class Finder(importlib.abc.MetaPathFinder):
        def find_spec(self, name: str, *_: object) -> None:
            if name.partition(".")[0] == "opentelemetry":
                raise ImportError("cannot import name 'x'")

    for name in list(sys.modules):
        if name.partition(".")[0] == "opentelemetry" or name == "iogate.telemetry.tracing":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("iogate.telemetry.tracing", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])


@pytest.mark.usefixtures("broken")
def test_a_broken_package_stops_no_process(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert otel_variables.find_problem(ENDPOINT) == ""
    assert startup.start(ENDPOINT) is None
    assert [each.getMessage() for each in caplog.records] == [BROKEN]
    for name, value in ENDPOINT.items():
        monkeypatch.setenv(name, value)
    (found,) = check_traces()
    assert f"{found.message}; {found.hint}" == BROKEN


def test_doctor_has_a_row_if_traces_are_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    assert list(check_traces()) == []
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", ENDPOINT["OTEL_EXPORTER_OTLP_ENDPOINT"])
    (found,) = check_traces()
    assert (found.about, found.verdict) == ("traces", "ok")
    assert found.message == "exported to http://collector:4318 (OTEL_EXPORTER_OTLP_ENDPOINT)"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    (found,) = check_traces()
    assert (found.verdict, found.message) == (
        "warning",
        "OTEL_EXPORTER_OTLP_PROTOCOL is not http/protobuf: no traces are exported",
    )
    assert found.hint.startswith("set it to http/protobuf, and the endpoint")


def test_credentials_of_the_collector_are_secret() -> None:
    assert otel_variables.endpoint(ENDPOINT) == ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")
    headers = {"OTEL_EXPORTER_OTLP_HEADERS": "api-key=abc%20def,authorization=Bearer%20ghi"}
    found = otel_variables.secrets({**ENDPOINT, **headers})
    assert {"pass-word", "in-query", "abc def", "ghi"} <= set(found)
    for url in ("collector:4318", "http://[", ""):
        assert otel_variables.origin(url) == "an invalid URL"


def test_workers_get_the_variables_in_memory_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in ENDPOINT.items():
        monkeypatch.setenv(name, value)
    (child, *_) = Pool(Settings(data_dir=tmp_path), tmp_path).children()
    assert otel_variables.read(child.handover) == ENDPOINT
    assert otel_variables.read(child.environment) == {}
