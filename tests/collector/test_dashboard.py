"""The Collector's row of the telemetry health board shows a real Collector's own metrics."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import httpx2

from tests import plain
from tests.collector.pushing import pushing
from tests.operations.grafana import interpolate, targets
from tests.prometheus import Prometheus

if TYPE_CHECKING:
    from pathlib import Path

    from tests.collector.conftest import MakeCollector
    from tests.conftest import StartService

CONFIGURATION = """
global:
  scrape_interval: 1s
scrape_configs:
  - job_name: otel-collector
    static_configs:
      - targets: ["{target}"]
"""
VARIABLES = {"collector": "otel-collector", "__rate_interval": "6s"}
STEP_S = 2


def test_every_query_about_the_collector_returns_data(
    start_service: StartService, make_collector: MakeCollector, tmp_path: Path, topic: str
) -> None:
    # What it is to pass on goes to a service that knows no such paths: a failure for good.
    stranger = start_service()
    both = "[debug, otlp_http]"
    collector = make_collector(
        "agent",
        metrics_to=both,
        traces_to=both,
        logs_to=both,
        otlp_http_endpoint=stranger.url,
    ).start()
    prometheus = Prometheus(
        tmp_path,
        configuration=CONFIGURATION.format(
            target=httpx2.URL(collector.own_metrics).netloc.decode()
        ),
    )
    try:
        prometheus.wait_for_scrape()
        began = time.time()
        service = start_service(**pushing(collector))
        service.publish(topic, "one")
        for _ in range(4):
            # A span and a log record each.
            plain.get(service.topic(topic), params={"after": "earliest", "until": "latest"})
            prometheus.wait_for_scrape()
        prometheus.wait_for_scrape()
        ended = time.time()
        about = [t for t in targets("telemetry-health") if "otelcol_" in t.expression]
        assert about
        silent = [
            str(target)
            for target in about
            if all(
                math.isnan(value)
                for value in prometheus.values(
                    interpolate(target.expression, VARIABLES), began, ended, STEP_S
                )
            )
        ]
        assert silent == []
    finally:
        prometheus.close()
