"""Every query of the board of a cluster, asked of a real Prometheus that scraped real instances."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from tests.contract.raw import RawStream
from tests.nats_servers import one_server
from tests.operations.grafana import interpolate, targets
from tests.prometheus import Prometheus
from tests.service import Service
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.operations.grafana import Target

BOARD = "cluster"
VARIABLES = {
    "job": "riptide",
    "instance": ".+",
    "__rate_interval": "5m",
    "__interval": "5m",
    "__range": "5m",
}
TOPIC = "orders"


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Service]]:
    """Two instances whose consumers had what was published at each."""
    with one_server(tmp_path_factory.mktemp("nats")) as url:
        settings = {"log": "jetstream", "jetstream_urls": url, "jetstream_replicas": 1}
        started = [Service(tmp_path_factory.mktemp("instance"), settings).start() for _ in range(2)]
        yield started
        for service in started:
            service.stop()


@pytest.fixture(scope="module")
def prometheus(
    services: list[Service], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    server = Prometheus(tmp_path_factory.mktemp("prometheus"), *services)
    streams = [RawStream(service, TOPIC, "sse") for service in services]
    try:
        for stream in streams:
            stream.wait_until_open()
        # A rate needs what was before, too.
        server.wait_for_scrape()
        for number, service in enumerate(services):
            service.publish(TOPIC, f"from {number}")
        for stream in streams:
            for number in range(len(services)):
                stream.read_until(f'"from {number}"'.encode())
        # Each was scraped before and after.
        heard = 'riptide_log_feed_latency_seconds_count{origin="elsewhere"}'
        told = f"sum by (instance) (increase({heard}[5m])) > 0"
        wait_until(lambda: len(server.series(told)) == len(services), told, pause_s=0.2)
        yield server
    finally:
        for stream in streams:
            stream.socket.close()
        server.close()


def _ask(prometheus: Prometheus, target: Target) -> dict[str, float]:
    """Return the values by instance, or by whatever there is one for."""
    query = interpolate(target.expression, VARIABLES)
    found: dict[str, float] = {}
    for labels, value in prometheus.series(query):
        key = labels.get("instance", labels.get("job", ""))
        found[key] = found.get(key, 0.0) + value
    return found


@pytest.mark.parametrize("target", targets(BOARD), ids=str)
def test_every_query_has_a_number_for_each_instance_or_one_for_all(
    services: list[Service], prometheus: Prometheus, target: Target
) -> None:
    found = _ask(prometheus, target)
    instances = {service.url.removeprefix("http://") for service in services}
    assert found.keys() == (instances if "instance" in _by(target) else {*found}), target
    assert len(found) in {1, len(services)}
    assert not any(math.isnan(value) for value in found.values()), found


def _by(target: Target) -> str:
    """Return what an expression is summed by; a selection keeps all labels."""
    by = target.expression.partition(" by (")[2].partition(")")[0]
    return by or ("" if target.expression.startswith("sum(") else "instance")


def test_the_stream_that_instances_share_is_not_counted_twice(
    services: list[Service], prometheus: Prometheus
) -> None:
    (target,) = (each for each in targets(BOARD) if each.panel == "Size of the Stream")
    size = max(service.metric("riptide_log_size_bytes") for service in services)
    assert _ask(prometheus, target) == {"riptide": size}
