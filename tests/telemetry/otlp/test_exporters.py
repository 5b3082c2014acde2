from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from riptide_telemetry.labels import Signal
from riptide_telemetry.otlp.export_settings import InvalidTelemetryError, OtlpProtocol, OtlpSettings
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


def test_prometheus_alone_loads_neither_grpc_nor_a_client_of_http() -> None:
    loaded = (
        "import sys, riptide.main; print([m for m in ('grpc', 'requests') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", loaded], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
