"""The wall clock is set while the service runs: no message is deleted early, and no sum falls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from riptide_telemetry import catalog
from tests import plain
from tests.integration.log_faults.publishing import Record, read, readiness
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.faulty_disk import ServiceOnFaultyDisk
    from tests.integration.log_faults.conftest import StartOnFaultyDisk

MONTH_S = 30 * 86_400
KEPT = 20


@pytest.fixture
def service(start_on_faulty_disk: StartOnFaultyDisk) -> ServiceOnFaultyDisk:
    return start_on_faulty_disk(retention_messages=KEPT)


def _wait_for_a_trim(service: ServiceOnFaultyDisk, topic: str) -> None:
    """Wait until retention has been kept once more, which too many messages of a topic show."""
    service.publish(topic, *range(2 * KEPT))
    wait_until(lambda: _count(service, topic) == KEPT, lambda: service.log)


def _count(service: ServiceOnFaultyDisk, topic: str) -> int:
    answer = plain.get(service.topic(topic), params={"until": "latest"})
    return sum('"data"' in line for line in answer.text.splitlines())


def test_a_clock_that_is_set_ahead_and_back_deletes_nothing(service: ServiceOnFaultyDisk) -> None:
    record = Record()
    assert record.publish(service)
    service.disk.step_clock(MONTH_S)
    assert record.publish(service)
    _wait_for_a_trim(service, "b")
    status, checks = readiness(service)
    assert (status, checks["clock"].startswith("the clock went ahead by 2")) == (200, True)
    service.disk.step_clock(0)
    assert record.publish(service)
    _wait_for_a_trim(service, "c")
    assert readiness(service)[1]["clock"] == "ok"
    assert read(service) == record.acknowledged


def test_no_sum_and_no_counter_falls_when_the_clock_is_set(service: ServiceOnFaultyDisk) -> None:
    """Messages from beyond now are as old as this moment, live and in a replay."""
    record = Record()
    before = service.metrics()
    for step_s in (0, 5_722, 0, -5_722, MONTH_S, 0):
        service.disk.step_clock(step_s)
        assert record.publish(service)
        assert read(service) == record.acknowledged
        after = service.metrics()
        for name, value in after.items():
            if name.partition("{")[0].endswith(("_sum", "_total", "_count", "_bucket")):
                assert value >= before.get(name, 0), name
        before = after
    latency = catalog.DELIVERY_LATENCY.prometheus_name
    assert any(name.startswith(f"{latency}_sum") for name in before)
