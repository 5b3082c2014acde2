"""The dots on the latency graphs: a traced message leads from Prometheus back to its trace."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
import yaml

from tests import plain
from tests.contract.raw import RawStream
from tests.operations.grafana import ROOT, interpolate, load
from tests.prometheus import Prometheus

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService

TRACE = "0af7651916cd43dd8448eb211c80319c"
VARIABLES = {
    "job": "riptide",
    "instance": ".+",
    "protocol": ".+",
    "__rate_interval": "4s",
}
BOARD = load(ROOT / "dashboards" / "delivery-latency.json")
EXEMPLARY = [
    target["expr"]
    for panel in BOARD["panels"]
    for target in panel.get("targets", [])
    if target.get("exemplar")
]
SOURCES = ROOT / "dashboards" / "provisioning" / "datasources" / "prometheus.yml"


@pytest.fixture(scope="module")
def link() -> str:
    """Return the label that Grafana makes a link of."""
    (prometheus, _) = yaml.safe_load(SOURCES.read_text())["datasources"]
    (destination,) = prometheus["jsonData"]["exemplarTraceIdDestinations"]
    name: str = destination["name"]
    return name


def test_every_query_with_exemplars_finds_the_trace_of_a_message(
    start_service: StartService, tmp_path: Path, topic: str, link: str
) -> None:
    service = start_service()
    prometheus = Prometheus(tmp_path, service)
    try:
        began = time.time()
        with RawStream(service, topic, "sse") as stream:
            stream.wait_until_open()
            answer = plain.post(
                service.topic(topic),
                json="traced",
                headers={"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"},
            )
            assert answer.status_code == 202
            stream.read_until(b'"traced"')
            prometheus.wait_for_scrape()
        assert EXEMPLARY
        for expression in EXEMPLARY:
            query = interpolate(expression, VARIABLES)
            found = prometheus.exemplars(query, began - 1, time.time() + 1)
            assert [exemplar[link] for exemplar in found] == [TRACE], query
    finally:
        prometheus.close()
