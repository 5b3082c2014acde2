"""Whatever becomes of the Collector: streams do not notice, and numbers are right afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests import plain
from tests.collector.bad_endpoints import busy_endpoint, hung_endpoint
from tests.collector.exposition import read_families
from tests.collector.pushing import IMPATIENT_MS, pushing
from tests.contract.consumers import TRANSPORTS, numbered
from tests.otlp_receiver import HOUR_MS, PATIENT_SDK
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.collector.collector import Collector
    from tests.collector.conftest import MakeCollector
    from tests.conftest import StartService
    from tests.service import Service

PROTOCOLS = ("grpc", "http/protobuf")
BATCHES = 10
BATCH = 20
SENT = "riptide_streaming_messages_sent_total"
FAILURES = "riptide_export_failures_total"
SIGNALS = ("metrics", "traces", "logs")
MOST_WAITING = 256
# One for each signal, and one when it comes back.
MOST_LINES = 2 * len(SIGNALS)


async def _deliver(
    service: Service, topic: str, meanwhile: Callable[[], object] = lambda: None
) -> None:
    """Publish to consumers on all transports, who get everything in order whatever happens."""
    async with contextlib.AsyncExitStack() as stack:
        consumers = [
            await stack.enter_async_context(transport.open(service, topic))
            for transport in TRANSPORTS
        ]
        for consumer in consumers:
            await consumer.next("opened")
        published: list[Any] = []
        for number in range(BATCHES):
            if number == BATCHES // 2:
                await asyncio.to_thread(meanwhile)
            batch = numbered(BATCH)
            await asyncio.to_thread(service.publish, topic, *batch)
            published += batch
        for consumer in consumers:
            received = await consumer.messages(len(published))
            assert [record["data"] for record in received] == published
    await asyncio.to_thread(service.wait_for_metric, 0, "riptide_streaming_active_connections")


def _wait_for_failures(
    service: Service, *signals: str, meanwhile: Callable[[], object] = lambda: None
) -> None:
    for each in signals or SIGNALS:

        def failed(each: str = each) -> bool:
            meanwhile()
            return service.metric(FAILURES, signal=each) > 0

        wait_until(failed, f"failures of {each}")


def _said(service: Service) -> list[str]:
    """Return what the log says about exports."""
    return [line for line in service.log.splitlines() if "export" in line.lower()]


def _wait_for_the_same(service: Service, collector: Collector) -> None:
    """Wait until the Collector shows the counts of the service, which are not 0."""

    def same() -> bool:
        there = read_families(collector.prometheus, only=SENT)
        return bool(there) and there == read_families(f"{service.url}/metrics", only=SENT)

    wait_until(same, "the same counts at the Collector")
    assert service.metric(SENT) > 0


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_service_starts_without_a_collector_and_catches_up_when_there_is_one(
    start_service: StartService, make_collector: MakeCollector, topic: str, protocol: str
) -> None:
    collector = make_collector("agent", traces_to="[file]", logs_to="[file]")
    service = start_service(**pushing(collector, protocol, timeout_ms=IMPATIENT_MS))
    await _deliver(service, topic)
    _wait_for_failures(service)
    assert service.metric("riptide_export_last_success_timestamp_seconds") == 0
    collector.start()
    _wait_for_the_same(service, collector)
    wait_until(
        lambda: (
            service.metric("riptide_export_last_success_timestamp_seconds", signal="metrics") > 0
        ),
        "a successful export",
    )
    assert 0 < len(_said(service)) <= MOST_LINES, service.log


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_collector_that_is_killed_under_load_interrupts_nobody(
    start_service: StartService, make_collector: MakeCollector, topic: str, protocol: str
) -> None:
    collector = make_collector("agent", traces_to="[file]", logs_to="[file]").start()
    service = start_service(**pushing(collector, protocol, timeout_ms=IMPATIENT_MS))
    await _deliver(service, topic)
    _wait_for_the_same(service, collector)
    await _deliver(service, topic, collector.kill)
    _wait_for_failures(service, "metrics")
    await _deliver(service, topic)
    collector.start()
    # The Collector has forgotten everything; what is pushed is cumulative.
    _wait_for_the_same(service, collector)

    def has_spans() -> bool:
        service.publish(topic, "a span")
        return bool(collector.spans())

    wait_until(has_spans, "spans again", pause_s=0.5)
    assert 0 < len(_said(service)) <= MOST_LINES, service.log
    assert service.stop() == 0


async def test_a_collector_that_stops_answering_interrupts_nobody(
    start_service: StartService, make_collector: MakeCollector, topic: str
) -> None:
    collector = make_collector("agent", traces_to="[file]", logs_to="[file]").start()
    service = start_service(**pushing(collector, timeout_ms=IMPATIENT_MS))
    await _deliver(service, topic)
    _wait_for_the_same(service, collector)
    assert collector.process is not None
    # It keeps its connections, and the kernel takes new ones for it.
    await _deliver(service, topic, lambda: collector.process.send_signal(signal.SIGSTOP))  # type: ignore[union-attr]  # it runs
    _wait_for_failures(service, "metrics")
    await _deliver(service, topic)
    collector.process.send_signal(signal.SIGCONT)
    _wait_for_the_same(service, collector)
    assert 0 < len(_said(service)) <= MOST_LINES, service.log


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_service_ends_in_time_though_its_collector_never_answers(
    start_service: StartService, topic: str, protocol: str
) -> None:
    with hung_endpoint() as endpoint:
        # Longer than the whole test: nothing but the shutdown itself ends an export.
        settings = pushing(endpoint, protocol, timeout_ms=HOUR_MS)
        service = start_service(program=PATIENT_SDK, **settings, drain_seconds=1)
        await _deliver(service, topic)
        assert await asyncio.to_thread(service.stop) == 0
    assert "Traceback" not in service.log


async def test_what_waits_for_a_collector_that_never_answers_is_bounded(
    start_service: StartService, topic: str
) -> None:
    with hung_endpoint() as endpoint:
        service = start_service(
            **pushing(endpoint, "http/protobuf", timeout_ms=IMPATIENT_MS),
            otel_bsp_max_queue_size=MOST_WAITING,
            otel_bsp_max_export_batch_size=MOST_WAITING // 2,
            otel_blrp_max_queue_size=MOST_WAITING,
            otel_blrp_max_export_batch_size=MOST_WAITING // 2,
        )
        await _deliver(service, topic)
        # A span and a log record each, more than may wait.
        with plain.client() as client:
            for _ in range(MOST_WAITING + 200):
                assert client.post(service.topic(topic), json="a span each").status_code == 202
        _wait_for_failures(service)
        for each in SIGNALS:
            assert service.metric("riptide_export_queue_size", signal=each) <= MOST_WAITING
        assert 0 < len(_said(service)) <= MOST_LINES, service.log


async def test_a_collector_that_is_out_of_memory_is_a_failure_like_any_other(
    start_service: StartService, make_collector: MakeCollector, topic: str
) -> None:
    # Less than it has in use by itself: the memory limiter refuses everything, from its first look.
    collector = make_collector("agent", memory_limit_mib=2, memory_spike_mib=1).start()
    service = start_service(**pushing(collector, "grpc", timeout_ms=IMPATIENT_MS))
    await _deliver(service, topic)
    # Until its first look it takes what comes.
    _wait_for_failures(service, meanwhile=lambda: service.publish(topic, "a span"))
    assert 0 < len(_said(service)) <= MOST_LINES, service.log
    collector.stop()
    collector.settings["MEMORY_LIMIT_MIB"] = 256
    collector.start()
    _wait_for_the_same(service, collector)


async def test_a_collector_that_is_too_busy_is_a_failure_like_any_other(
    start_service: StartService, topic: str
) -> None:
    with busy_endpoint() as endpoint:
        service = start_service(**pushing(endpoint, "http/protobuf", timeout_ms=IMPATIENT_MS))
        await _deliver(service, topic)
        _wait_for_failures(service)
        assert 0 < len(_said(service)) <= MOST_LINES, service.log
        assert service.stop() == 0
