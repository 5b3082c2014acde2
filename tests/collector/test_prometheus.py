"""A real Prometheus 3 that takes OTLP itself agrees with /metrics, and so with one that scrapes."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import httpx2
import pytest

from riptide_telemetry import catalog
from tests import plain
from tests.collector.exposition import IDENTITY, as_bound, read_families
from tests.collector.test_parity import HTTP, MOVING
from tests.collector.traffic import SETTINGS, make_traffic
from tests.programs import require_prometheus_3
from tests.prometheus import Prometheus
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.collector.conftest import MakeCollector
    from tests.conftest import StartService
    from tests.service import Service

CONFIGURATION = """
otlp:
  translation_strategy: UnderscoreEscapingWithSuffixes
storage:
  tsdb:
    out_of_order_time_window: 30m
"""
OURS = '{__name__=~"riptide_.+|http_server_.+"}'

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Prometheus]:
    server = Prometheus(
        tmp_path,
        configuration=CONFIGURATION,
        program=require_prometheus_3(),
        flags=["--web.enable-otlp-receiver"],
    )

    def is_ready() -> bool:
        with contextlib.suppress(httpx2.TransportError):
            return plain.get(f"{server.url}/-/ready").status_code == 200
        return False

    wait_until(is_ready, "Prometheus is ready")
    yield server
    server.close()


def _shown(service: Service) -> Series:
    names = {definition.prometheus_name for definition in catalog.CATALOG}
    return {
        (sample, labels): value
        for name, family in read_families(f"{service.url}/metrics").items()
        if name in names or name.startswith(HTTP)
        for (sample, labels), value in family.samples.items()
        # Looking is a request of its own.
        if name not in MOVING and ("http_route", "/metrics") not in labels
    }


def _stored(prometheus: Prometheus) -> Series:
    series: Series = {}
    for labels, value in prometheus.series(OURS):
        name = labels.pop("__name__")
        if name not in MOVING and labels.get("http_route") != "/metrics":
            kept = {key: value for key, value in labels.items() if key not in IDENTITY}
            if "le" in kept:
                # The one thing that is not the same: whole bounds are "1" here, and "1.0" where
                # they have been scraped (README.md says what to do in rules).
                kept["le"] = as_bound(kept["le"])
            series[name, frozenset(kept.items())] = value
    return series


@pytest.mark.parametrize("path", ["by the service", "by an agent"])
async def test_a_prometheus_that_is_pushed_to_has_what_the_service_shows(
    start_service: StartService,
    make_collector: MakeCollector,
    prometheus: Prometheus,
    topic: str,
    path: str,
) -> None:
    endpoint = f"{prometheus.url}/api/v1/otlp"
    if path == "by an agent":
        agent = make_collector("agent", metrics_to="[otlp_http]", otlp_http_endpoint=endpoint)
        endpoint = agent.start().http
    service = start_service(
        **SETTINGS,
        otel_metrics_exporter="prometheus,otlp",
        otel_metric_export_interval=500,
        otel_exporter_otlp_protocol="http/protobuf",
        otel_exporter_otlp_endpoint=endpoint,
    )
    await make_traffic(service, topic)
    pairs: list[tuple[Series, Series]] = [({}, {})]

    def same() -> bool:
        pairs[0] = _shown(service), _stored(prometheus)
        return pairs[0][0] == pairs[0][1]

    with contextlib.suppress(AssertionError):
        wait_until(same, "the same series")
    shown, stored = pairs[0]
    assert shown
    assert {key: stored.get(key) for key in shown} == shown
    assert stored.keys() == shown.keys()
