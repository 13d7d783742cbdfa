"""OpenTelemetry's variables turn tracing on; a mistake is told once, with what to do, and shows no secret."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from iogate.settings import Settings
from iogate.telemetry import otel_variables
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
