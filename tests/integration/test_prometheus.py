"""A real Prometheus scrapes the service, and its answers are what clients saw."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests import plain
from tests.contract.consumers import TRANSPORTS, numbered
from tests.contract.raw import RawStream
from tests.programs import require
from tests.prometheus import Prometheus

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import StartService
    from tests.service import Service

CONSUMERS = 5
MESSAGES = 200


@pytest.fixture
def service(start_service: StartService) -> Service:
    return start_service()


@pytest.fixture
def prometheus(tmp_path: Path, service: Service) -> Iterator[Prometheus]:
    server = Prometheus(tmp_path, service)
    yield server
    server.close()


async def test_prometheus_and_the_service_say_exactly_what_clients_saw(
    service: Service, prometheus: Prometheus, topic: str
) -> None:
    received = dict.fromkeys((transport.name for transport in TRANSPORTS), 0)
    async with contextlib.AsyncExitStack() as stack:
        consumers = [
            (transport.name, await stack.enter_async_context(transport.open(service, topic)))
            for transport in TRANSPORTS
            for _ in range(CONSUMERS)
        ]
        for _, consumer in consumers:
            await consumer.next("opened")
        prometheus.wait_for_scrape()
        active = prometheus.query("riptide_streaming_active_connections")
        assert active == dict.fromkeys(received, CONSUMERS)
        for _ in range(4):
            service.publish(topic, *numbered(MESSAGES // 4))
        for name, consumer in consumers:
            received[name] += len(await consumer.messages(MESSAGES))
    for transport in TRANSPORTS:
        async with transport.open(service, topic, until="latest") as consumer:
            records = await consumer.rest()
            received[transport.name] += sum("data" in record for record in records)
        raw = await asyncio.to_thread(RawStream, service, topic, transport.name)
        await asyncio.to_thread(raw.wait_until_open)
        raw.reset()
    service.wait_for_metric(0, "riptide_streaming_active_connections")
    # Every connection is closed: one per consumer, one replay, one that vanished.
    connections = dict.fromkeys(received, float(CONSUMERS + 2))
    expected = {
        "riptide_streaming_messages_sent_total": received,
        "riptide_streaming_active_connections": dict.fromkeys(received, 0.0),
        "riptide_streaming_total_connections": connections,
        "riptide_streaming_connections_opened_total": connections,
        "riptide_streaming_connection_duration_seconds_count": connections,
        "riptide_streaming_stream_duration_seconds_count": connections,
        "sum by (protocol) (riptide_streaming_delivery_latency_seconds_count)": received,
        'riptide_streaming_connections_closed_total{reason="client_vanished"}': dict.fromkeys(
            received, 1.0
        ),
        'riptide_streaming_connections_closed_total{reason="completed"}': dict.fromkeys(
            received, 1.0
        ),
        "sum by (protocol) (riptide_streaming_messages_dropped_total)": dict.fromkeys(
            received, 0.0
        ),
        "riptide_streaming_error_rate": {"": 0.0},
        "riptide_streaming_delivery_ratio": {"": 1.0},
        "riptide_streaming_messages_unaccounted": {"": 0.0},
    }
    prometheus.wait_for_scrape()
    assert {query: prometheus.query(query) for query in expected} == expected
    for name, count in received.items():
        assert service.metric("riptide_streaming_messages_sent_total", protocol=name) == count


async def test_total_connections_never_falls_and_active_comes_back_to_zero(
    service: Service, prometheus: Prometheus, topic: str
) -> None:
    for transport in TRANSPORTS:
        async with transport.open(service, topic) as consumer:
            await consumer.next("opened")
            await asyncio.to_thread(prometheus.wait_for_scrape)
    service.wait_for_metric(0, "riptide_streaming_active_connections")
    await asyncio.to_thread(prometheus.wait_for_scrape)
    falls = prometheus.query("resets(riptide_streaming_total_connections[10m])")
    assert falls == {"ndjson": 0, "sse": 0, "websocket": 0}
    peaks = prometheus.query("max_over_time(riptide_streaming_active_connections[10m])")
    assert peaks == {"ndjson": 1, "sse": 1, "websocket": 1}


def test_promtool_has_nothing_to_say_about_the_metrics(service: Service, topic: str) -> None:
    service.publish(topic, "one")
    plain.get(service.topic(topic), params={"until": "latest"})
    for accept in ("text/plain", "application/openmetrics-text; version=1.0.0"):
        answer = plain.get(f"{service.url}/metrics", headers={"Accept": accept})
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(accept.partition(";")[0])
    text = plain.get(f"{service.url}/metrics").text
    done = subprocess.run(
        [require("promtool"), "check", "metrics"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
