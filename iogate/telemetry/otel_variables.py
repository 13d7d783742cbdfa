"""OpenTelemetry's own settings: the variables `OTEL_…` of a process, and whether they turn tracing on.

Called by gateways and workers at their start, and by the command that starts them, for its warnings. Pure,
and free of OpenTelemetry. Invariant: without an endpoint, nothing of OpenTelemetry is imported.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote, urlsplit

PREFIX: Final = "OTEL_"
ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""Variables that turn tracing on; the first one that is set names the collector."""
PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
PROTOCOL: Final = "http/protobuf"
_EXPORTER: Final = "OTEL_TRACES_EXPORTER"
_HEADERS: Final = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
_INVALID: Final = "an invalid URL"
_MODULE: Final = "opentelemetry.exporter.otlp.proto.http.trace_exporter"


def read(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables `OTEL_…` of an environment if they turn tracing on; else none."""
    found = {
        name: value.strip()
        for name, value in environment.items()
        if name.startswith(PREFIX) and value.strip()
    }
    off = found.get("OTEL_SDK_DISABLED", "").lower() == "true" or found.get(_EXPORTER) == "none"
    return {} if off or not any(name in found for name in ENDPOINTS) else found


def endpoint(variables: Mapping[str, str]) -> tuple[str, str]:
    """Return the variable that turns tracing on, and its scheme, host and port, without credentials."""
    name = next(each for each in ENDPOINTS if each in variables)
    return name, origin(variables[name])


def origin(url: str) -> str:
    """Return scheme, host and port of the URL in an `OTEL_…` variable, which may have credentials."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        return _INVALID
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if usable else _INVALID


def find_problem(variables: Mapping[str, str]) -> str:
    """Return the reason why the configured tracing cannot work, and a remedy; empty if it can."""
    if not variables:
        return ""
    name, target = endpoint(variables)
    if target == _INVALID:
        return (
            f"{name} is not a URL of a collector: no traces are exported; "
            "write it with its scheme and host, such as http://localhost:4318"
        )
    if not _is_installed():
        return (
            f"{name} is set, but OpenTelemetry is not installed: no traces are exported; "
            'install it with: pip install "iogate[otel]"'
        )
    exporter = variables.get(_EXPORTER, "otlp")
    if exporter != "otlp":
        return (
            f"{_EXPORTER} is not otlp or none: no traces are exported; "
            "iogate exports by OTLP only: unset the variable"
        )
    chosen = next((each for each in PROTOCOLS if each in variables), "")
    if chosen and variables[chosen] != PROTOCOL:
        return (
            f"{chosen} is not {PROTOCOL}: no traces are exported; set it to {PROTOCOL}, "
            "and the endpoint to the collector's port for it, usually 4318"
        )
    return ""


def secrets(variables: Mapping[str, str]) -> list[str]:
    """Return the secrets in OpenTelemetry's settings: headers, and credentials in the endpoint's URL."""
    found = []
    for name in _HEADERS:
        for pair in variables.get(name, "").split(","):
            value = pair.partition("=")[2].strip()
            found += [value, unquote(value), unquote(value).partition(" ")[2]]
    for name in ENDPOINTS:
        try:
            parts = urlsplit(variables.get(name, ""))
        except ValueError:
            continue
        found += [unquote(parts.password or ""), unquote(parts.username or "")]
        found += [unquote(pair.partition("=")[2]) for pair in parts.query.split("&")]
    return [value for value in found if value]


def _is_installed() -> bool:
    try:
        return importlib.util.find_spec(_MODULE) is not None
    except ModuleNotFoundError:
        return False
    except Exception:  # noqa: BLE001 - a broken package; the import of `startup` reports it
        return True
