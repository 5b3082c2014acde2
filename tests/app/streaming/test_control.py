from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from riptide.encoding.formats import NDJSON
from riptide.hub.stream_range import StreamRange
from riptide.hub.subscription import Missed
from riptide.message import Edge, MessageId
from riptide.publication import Publication
from riptide.streaming import control
from riptide_telemetry import CloseReason, DropReason, ReconnectionOutcome

if TYPE_CHECKING:
    from riptide.hub.hub import Hub, Start

CURSOR = MessageId("0a1b2c3d", 7)


async def _start(hub: Hub, *, finite: bool) -> Start:
    return await hub.subscribe("a", NDJSON, StreamRange(Edge.EARLIEST, finite=finite))


async def test_a_stream_that_begins_says_opened_with_its_cursor_topic_and_retry(hub: Hub) -> None:
    record = control.opening(await _start(hub, finite=False), CURSOR, "a", 2000)
    assert record == {"event": "opened", "id": "0a1b2c3d-7", "topic": "a", "retry": 2000}


@pytest.mark.parametrize("outcome", list(ReconnectionOutcome))
async def test_a_stream_that_goes_on_says_what_became_of_its_position(
    hub: Hub, outcome: ReconnectionOutcome
) -> None:
    start = (await _start(hub, finite=False))._replace(reconnection=outcome, missed_count=3)
    record = control.opening(start, CURSOR, "a", 2000)
    assert record["event"] == outcome.value
    assert record["missed"] == 3


async def test_a_finite_stream_says_how_many_messages_it_will_deliver(hub: Hub) -> None:
    await hub.publish(Publication.now("a", [b"1", b"2", b"3"]))
    start = await _start(hub, finite=True)
    assert control.opening(start, CURSOR, "a", 1)["total"] == 3
    start.subscription.miss(2, DropReason.EXPIRED)
    assert control.opening(start, CURSOR, "a", 1)["total"] == 1


async def test_a_finite_stream_of_nothing_has_a_total_too(hub: Hub) -> None:
    assert control.opening(await _start(hub, finite=True), CURSOR, "a", 1)["total"] == 0


@pytest.mark.parametrize(
    ("reason", "event"),
    [
        (DropReason.EXPIRED, "gap"),
        (DropReason.DAMAGED, "gap"),
        (DropReason.SLOW_CONSUMER, "dropped"),
        (DropReason.CONFLATED, "dropped"),
    ],
)
def test_missed_messages_are_counted_with_their_reason(reason: DropReason, event: str) -> None:
    assert control.missed(Missed(5, reason), CURSOR) == {
        "event": event,
        "id": "0a1b2c3d-7",
        "missed": 5,
        "reason": reason.value,
    }


@pytest.mark.parametrize("reason", list(CloseReason))
def test_the_last_record_says_why_and_whether_to_come_back(reason: CloseReason) -> None:
    record = control.ending(reason, CURSOR, "", 2000)
    assert record["reason"] == reason.value
    assert record["detail"] == reason.meaning
    assert record["reconnect"] is reason.reconnect
    assert ("retry" in record) is reason.reconnect
    assert control.ending(reason, CURSOR, "the detail", 1)["detail"] == "the detail"


def test_every_record_carries_the_cursor() -> None:
    for record in (
        control.heartbeat(CURSOR, "2023-11-14T22:13:20.123+00:00"),
        control.progress(CURSOR, 1, 2),
        control.ending(CloseReason.COMPLETED, CURSOR, "", 1),
    ):
        assert record["id"] == "0a1b2c3d-7"
