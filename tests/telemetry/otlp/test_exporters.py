from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from riptide_telemetry.environment.kinds import InvalidTelemetryError
from riptide_telemetry.labels import Signal
from riptide_telemetry.otlp.export_settings import OtlpProtocol, OtlpSettings
from riptide_telemetry.otlp.exporters import (
    make_log_exporter,
    make_metric_exporter,
    make_span_exporter,
)
from riptide_telemetry.state.export_health import ExportHealth

MAKERS: dict[Signal, Any] = {
    Signal.METRICS: make_metric_exporter,
    Signal.TRACES: make_span_exporter,
    Signal.LOGS: make_log_exporter,
}


# Makes the modules named on the command line look as if they were not installed.
WITHOUT = """
import sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name in sys.argv[1:]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NotInstalled())
"""
# Starts telemetry once for each signal, and prints the error of each start.
START_WITHOUT = (
    WITHOUT
    + """
import os
from riptide_telemetry import InvalidTelemetryError, start_telemetry

for signal in ("METRICS", "TRACES", "LOGS"):
    variable = f"OTEL_{signal}_EXPORTER"
    os.environ[variable] = "otlp"
    try:
        start_telemetry("1")
    except InvalidTelemetryError as error:
        print(error)
    del os.environ[variable]
"""
)
SCRAPE_WITHOUT = (
    WITHOUT
    + """
from riptide_telemetry import StreamTelemetryMiddleware, start_telemetry

print(b"riptide_build_info" in start_telemetry("1").exposition.render().body)
"""
)


@pytest.mark.parametrize("protocol", OtlpProtocol)
@pytest.mark.parametrize("signal", Signal)
def test_there_is_an_exporter_of_each_signal_for_each_protocol(
    signal: Signal, protocol: OtlpProtocol
) -> None:
    settings = OtlpSettings(protocol, "http://127.0.0.1:9", 1.0)
    exporter = MAKERS[signal](settings, ExportHealth(signal, settings.endpoint))
    assert protocol.partition("/")[0] in type(exporter._exporter).__module__
    exporter.shutdown()


def test_what_the_exporter_does_not_take_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "soon")
    settings = OtlpSettings(OtlpProtocol.GRPC, "http://127.0.0.1:9", 1.0)
    with pytest.raises(InvalidTelemetryError, match="metrics cannot be exported by OTLP"):
        make_metric_exporter(settings, ExportHealth(Signal.METRICS))


@pytest.mark.parametrize(
    ("protocol", "extra", "missing"),
    [
        ("grpc", "otlp-grpc", "opentelemetry.exporter.otlp"),
        ("grpc", "otlp-grpc", "grpc"),
        ("http/protobuf", "otlp-http", "opentelemetry.exporter.otlp"),
        ("http/protobuf", "otlp-http", "requests"),
    ],
)
def test_an_exporter_that_is_not_installed_is_told_with_what_installs_it(
    protocol: str, extra: str, missing: str
) -> None:
    told = subprocess.run(
        [sys.executable, "-c", START_WITHOUT, missing],
        env={"OTEL_EXPORTER_OTLP_PROTOCOL": protocol},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert len(told) == 3
    for signal, line in zip(("METRICS", "TRACES", "LOGS"), told, strict=True):
        assert line.startswith(f"OTEL_{signal}_EXPORTER is otlp, but the exporter for {protocol} ")
        assert line.endswith(f": pip install 'riptide-telemetry[{extra}]'")


def test_the_library_needs_no_exporter_and_no_framework_unless_one_is_asked_for() -> None:
    missing = ["opentelemetry.exporter.otlp", "grpc", "requests", "starlette"]
    result = subprocess.run(
        [sys.executable, "-c", SCRAPE_WITHOUT, *missing],
        env={},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == "True\n"


def test_prometheus_alone_loads_neither_grpc_nor_a_client_of_http() -> None:
    loaded = (
        "import sys, riptide.main; print([m for m in ('grpc', 'requests') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", loaded], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
