"""A log on a disk that alters or loses what it was given: consumers get the truth or a gap."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.app.storage.damaging import flip_in
from tests.contract.consumers import TRANSPORTS
from tests.service import RIPTIDE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService
    from tests.contract.consumers import Transport
    from tests.service import Service

TOPIC = "orders"
DROPPED = "riptide_streaming_messages_dropped_total"


def _database(service: Service) -> Path:
    return service.directory / "data" / "riptide.db"


@pytest.fixture
def damaged(start_service: StartService) -> Service:
    """A service in whose log messages 3 and 4 of 9 have a flipped bit each."""
    service = start_service(log="sqlite", data_dir="data")
    service.publish(TOPIC, *(f"number {n}" for n in range(1, 10)))
    service.publish("other", "whole")
    service.stop()
    for number in (3, 4):
        flip_in(_database(service), b'"number %d"' % number, 2)
    return service.start()


@pytest.mark.parametrize("transport", TRANSPORTS, ids=lambda transport: transport.name)
async def test_a_damaged_message_is_a_gap_on_every_transport_and_the_stream_goes_on(
    damaged: Service, transport: Transport
) -> None:
    async with transport.open(damaged, TOPIC, after="earliest") as consumer:
        await consumer.next("opened")
        before = await consumer.messages(2)
        gap = await consumer.next()
        behind = await consumer.messages(5)
    assert (gap["event"], gap["missed"], gap["reason"]) == ("gap", 2, "damaged")
    assert [record["data"] for record in before + behind] == [
        f"number {n}" for n in (1, 2, 5, 6, 7, 8, 9)
    ]
    async with transport.open(damaged, TOPIC, after=gap["id"]) as consumer:
        assert (await consumer.next())["event"] == "resumed"
        assert (await consumer.next("message"))["data"] == "number 5"
    async with transport.open(damaged, "other", until="latest") as consumer:
        assert [r["data"] for r in await consumer.rest() if "data" in r] == ["whole"]
    damaged.wait_for_metric(2, DROPPED, protocol=transport.name, reason="damaged")
    # The check at the start has found them, and so has a reader.
    assert damaged.metric("riptide_log_damaged_messages_total") >= 4
    assert damaged.metric("riptide_streaming_messages_unaccounted") == 0
    assert "topic orders, 3 to 4" in damaged.log


def test_verify_names_the_damaged_messages_while_the_service_runs(damaged: Service) -> None:
    verify = subprocess.run(
        [RIPTIDE, "verify"],
        env=os.environ | {"RIPTIDE_DATA_DIR": str(_database(damaged).parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (verify.returncode, verify.stdout) == (1, "topic orders: messages 3 to 4 are damaged\n")
    damaged.publish(TOPIC, "the service publishes on")


def test_tail_tells_its_reader_of_damage(damaged: Service) -> None:
    tail = subprocess.run(
        [RIPTIDE, "tail", TOPIC, "--after", "earliest", "--until", "latest"],
        env=os.environ | {"RIPTIDE_URL": damaged.url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "2 messages missed, they are damaged in the log" in tail.stderr
    assert tail.stdout.count("number") == 7
