"""The settings of a service that pushes to a Collector, and shows its metrics too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.collector.collector import Collector

# Ten times what an export takes on a loaded machine: what is not taken in time is lost, but for
# metrics. The other is for tests that wait for exports to fail.
PATIENT_MS, IMPATIENT_MS = 10_000, 2_000


def pushing(
    to: Collector | str, protocol: str = "grpc", *, timeout_ms: int = PATIENT_MS
) -> Mapping[str, Any]:
    """Return ``otel_…`` settings for all signals; every 300 ms instead of 15 s."""
    endpoint = to if isinstance(to, str) else {"grpc": to.grpc}.get(protocol, to.http)
    return {
        "otel_metrics_exporter": "prometheus,otlp",
        "otel_traces_exporter": "otlp",
        "otel_logs_exporter": "otlp",
        "otel_exporter_otlp_protocol": protocol,
        "otel_exporter_otlp_endpoint": endpoint,
        "otel_exporter_otlp_timeout": timeout_ms,
        "otel_metric_export_interval": 300,
        "otel_bsp_schedule_delay": 300,
        "otel_blrp_schedule_delay": 300,
    }
