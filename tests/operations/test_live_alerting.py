"""The real rules in a real Prometheus that scrapes a real service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from operations.rule_files import ALERTS, RECORDING_RULES
from operations.thresholds import EVENT_LOOP_LAG
from riptide_telemetry import catalog
from tests import plain
from tests.contract.consumers import TRANSPORTS
from tests.operations.test_runbooks import FILES
from tests.operations.vocabulary import OF_ITSELF, of_prometheus, queries, unknown_words
from tests.prometheus import Prometheus
from tests.repository.sources import ROOT
from tests.service import Service
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import StartService

MESSAGES = 20
CONFIGURATION = """
global:
  scrape_interval: 1s
  evaluation_interval: 1s
alerting:
  alertmanagers:
    - static_configs:
        # Nobody is there: what failed to be sent is counted.
        - targets: ["127.0.0.1:9"]
rule_files:
  - {root}/alert-rules/*.yaml
scrape_configs:
  - job_name: riptide
    static_configs:
      - targets: ["{target}"]
  - job_name: prometheus
    static_configs:
      - targets: [ITSELF]
"""
SENT = "riptide_streaming_messages_sent_total"
DROPPED = "riptide_streaming_messages_dropped_total"
# As operators have them in their dashboards today.
SUCCESS = f"100 * sum(rate({SENT}[5m])) / (sum(rate({SENT}[5m])) + sum(rate({DROPPED}[5m])))"
P99 = "histogram_quantile(0.99, rate(riptide_streaming_connection_duration_seconds_bucket[5m]))"
# What bridges a restart, and is not held long enough to fire.
MAY_BE_PENDING = {"RiptideTargetDown", "RiptideAbsent"}


def _prometheus(directory: Path, service: Service) -> Prometheus:
    target = service.url.removeprefix("http://")
    configuration = CONFIGURATION.format(root=ROOT, target=target)
    return Prometheus(directory, configuration=configuration)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A server that has seen messages over two transports, and connections that closed."""
    directory = tmp_path_factory.mktemp("live")
    service = Service(directory, {"topic_labels": "orders"}).start()
    server = _prometheus(directory, service)
    try:
        server.wait_for_scrape()
        for _ in range(2):
            service.publish("orders", *range(MESSAGES))
            for accept in ("application/x-ndjson", "text/event-stream"):
                replay = {"after": "earliest", "until": "latest"}
                headers = {"Accept": accept}
                plain.get(service.topic("orders"), params=replay, headers=headers)
            server.wait_for_scrape()
        _wait_for(server, "prometheus_notifications_errors_total")
        yield server
    finally:
        server.close()
        service.stop()


def _wait_for(server: Prometheus, query: str) -> None:
    wait_until(lambda: server.series(query), query, pause_s=0.1)


def _rules() -> list[dict[str, Any]]:
    return [
        rule
        for name in (RECORDING_RULES, ALERTS)
        for group in yaml.safe_load((ROOT / name).read_text())["groups"]
        for rule in group["rules"]
    ]


def test_every_query_of_every_runbook_runs_and_names_only_what_was_scraped(
    prometheus: Prometheus,
) -> None:
    vocabulary = OF_ITSELF | of_prometheus(prometheus.url) | {"ALERTS": OF_ITSELF["ALERTS"]}
    with plain.client(base_url=prometheus.url) as client:
        for file in FILES:
            for query in queries(file.read_text()):
                answer = client.get("/api/v1/query", params={"query": query}).json()
                assert answer["status"] == "success", f"{file.name}: {answer}"
                assert unknown_words(query, vocabulary) == [], f"{file.name}: {query}"


def test_every_rule_names_only_what_was_scraped(prometheus: Prometheus) -> None:
    vocabulary = OF_ITSELF | of_prometheus(prometheus.url) | {"ALERTS": OF_ITSELF["ALERTS"]}
    for rule in _rules():
        assert unknown_words(rule["expr"], vocabulary) == [], rule


def test_prometheus_evaluates_every_rule_without_an_error(prometheus: Prometheus) -> None:
    answer = plain.get(f"{prometheus.url}/api/v1/rules").json()
    rules = [rule for group in answer["data"]["groups"] for rule in group["rules"]]
    assert len(rules) == len(_rules())
    assert [rule["name"] for rule in rules if rule["health"] != "ok"] == []


def test_what_is_recorded_of_real_traffic_is_what_happened(prometheus: Prometheus) -> None:
    ratio = "job:riptide_streaming_messages_dropped:ratio_rate5m"
    assert [value for _, value in prometheus.series(ratio)] == [0]
    assert prometheus.series("job:riptide_streaming_active_connections:sum")[0][1] == 0
    assert prometheus.series("job:riptide_streaming_messages_sent:rate5m")[0][1] > 0


def test_the_queries_that_operators_already_use_work_as_they_are(prometheus: Prometheus) -> None:
    rates = prometheus.query(f"rate({SENT}[5m])")
    assert rates.keys() == {"ndjson", "sse", "websocket"}
    assert rates["ndjson"] > 0 < rates["sse"]
    assert [value for _, value in prometheus.series(SUCCESS)] == [pytest.approx(100)]
    quantiles = prometheus.query(P99)
    assert quantiles.keys() == rates.keys()
    assert 0 < quantiles["sse"] <= catalog.CONNECTION_DURATION.bounds[-1]
    assert prometheus.query("riptide_streaming_error_rate") == {"": 0}
    (megabytes,) = prometheus.query("riptide_streaming_memory_usage_bytes / (1024 * 1024)").values()
    assert 0 <= megabytes < 100


async def test_a_fresh_an_idle_and_a_restarted_service_make_nothing_even_pending(
    start_service: StartService, tmp_path: Path, topic: str
) -> None:
    service = start_service()
    server = _prometheus(tmp_path, service)
    try:
        for _ in range(3):
            server.wait_for_scrape()
        assert service.stop() == 0
        service.start()
        for transport in TRANSPORTS:
            async with transport.open(service, topic) as consumer:
                await consumer.next("opened")
        for _ in range(3):
            server.wait_for_scrape()
        _wait_for(server, 'ALERTS{alertname="RiptideWatchdog", alertstate="firing"}')
        lag = server.query("max_over_time(riptide_event_loop_lag_seconds[10m])")
        seen = {
            (labels["alertname"], labels["alertstate"])
            for labels, _ in server.series("last_over_time(ALERTS[5m])")
        }
    finally:
        server.close()
    may_be_pending = set(MAY_BE_PENDING)
    if max(lag.values()) > EVENT_LOOP_LAG:
        # The machine took the processor away, and the alert is right.
        may_be_pending.add("RiptideEventLoopLag")
    assert seen - {(name, "pending") for name in may_be_pending} == {("RiptideWatchdog", "firing")}
