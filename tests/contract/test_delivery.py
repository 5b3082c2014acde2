"""What a consumer gets, in which order, and what it is told beside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests import plain
from tests.contract.consumers import RefusedError, numbered

if TYPE_CHECKING:
    from tests.conftest import StartService
    from tests.contract.consumers import Transport
    from tests.service import Service

PAYLOADS: list[Any] = [
    None,
    True,
    0,
    -1.5e300,
    "",
    'quotes " and \\ and / and \u2028\u2029\x85\x0b\x0c\x1c',
    "line\r\nbreaks\n\nin a string\n",
    "data: x\n\nid: 7",
    "🌊 Привет 世界 \u0000",
    [],
    {"nested": [{"deep": [1, [2, [3]]]}], "event": "end", "id": "x"},
    "long " * 100_000,
]


async def test_values_arrive_as_they_were_published(
    shared_service: Service, transport: Transport, topic: str
) -> None:
    shared_service.publish(topic, *PAYLOADS)
    async with transport.open(shared_service, topic, until="latest") as consumer:
        records = await consumer.rest()
    assert [record["data"] for record in records if "data" in record] == PAYLOADS


async def test_the_text_of_a_value_is_not_rewritten(
    start_service: StartService, transport: Transport, topic: str
) -> None:
    service = start_service(log="memory")
    service.publish_lines(topic, [b'{"b":1.10,"a":123456789012345678901234567890,"b":"\\u00e9"}'])
    # Read as bytes, once the ring's message has been encoded for this transport: parsing
    # would hide a difference.
    async with transport.open(service, topic, until="latest") as consumer:
        await consumer.next("message")
        text = plain.get(service.topic(topic), params={"until": "latest"}).text
    assert '"data":{"b":1.10,"a":123456789012345678901234567890,"b":"\\u00e9"}}' in text


async def test_live_messages_arrive_in_order_with_growing_ids(
    shared_service: Service, transport: Transport, topic: str
) -> None:
    async with transport.open(shared_service, topic) as consumer:
        opened = await consumer.next()
        assert opened["event"] == "opened"
        assert opened["topic"] == topic
        payloads = numbered(500)
        for start in range(0, 500, 50):
            shared_service.publish(topic, *payloads[start : start + 50])
        records = await consumer.messages(500)
    assert [record["data"] for record in records] == payloads
    sequences = [int(record["id"].partition("-")[2]) for record in records]
    assert sequences == list(range(sequences[0], sequences[0] + 500))
    assert opened["id"].partition("-")[2] == str(sequences[0] - 1)


async def test_a_new_consumer_begins_at_the_head_unless_it_asks_for_the_beginning(
    shared_service: Service, transport: Transport, topic: str
) -> None:
    shared_service.publish(topic, "before")
    async with (
        transport.open(shared_service, topic) as late,
        transport.open(shared_service, topic, after="earliest") as early,
    ):
        await late.next("opened")
        await early.next("opened")
        shared_service.publish(topic, "after")
        assert [record["data"] for record in await late.messages(1)] == ["after"]
        assert [record["data"] for record in await early.messages(2)] == ["before", "after"]


async def test_a_finite_replay_says_its_total_shows_progress_and_ends(
    shared_service: Service, transport: Transport, topic: str
) -> None:
    payloads = numbered(2500)
    shared_service.publish(topic, *payloads)
    async with transport.open(shared_service, topic, until="latest") as consumer:
        opened, *messages, progress, end = await consumer.rest()
    assert opened["total"] == 2500
    assert [record["data"] for record in messages if "data" in record] == payloads
    assert (progress["event"], progress["completed"], progress["total"]) == (
        "progress",
        2500,
        2500,
    )
    assert (end["event"], end["reason"], end["reconnect"]) == ("end", "completed", False)
    assert consumer.close_code in {None, 1000}


async def test_a_finite_replay_of_an_empty_topic_ends_at_once(
    shared_service: Service, transport: Transport, topic: str
) -> None:
    async with transport.open(shared_service, topic, until="latest") as consumer:
        records = await consumer.rest()
    assert [record["event"] for record in records] == ["opened", "progress", "end"]
    assert records[0]["total"] == 0


async def test_a_consumer_resumes_after_its_last_id_with_nothing_lost_or_repeated(
    shared_service: Service, transport: Transport, topic: str
) -> None:
    payloads = numbered(30)
    shared_service.publish(topic, *payloads)
    async with transport.open(shared_service, topic, after="earliest") as consumer:
        seen = await consumer.messages(11)
    async with transport.open(shared_service, topic, after=seen[-1]["id"]) as consumer:
        first = await consumer.next()
        seen += await consumer.messages(19)
    assert (first["event"], first["id"]) == ("resumed", seen[10]["id"])
    assert [record["data"] for record in seen] == payloads


async def test_the_id_of_the_first_record_is_enough_to_resume(
    shared_service: Service, transport: Transport, topic: str
) -> None:
    async with transport.open(shared_service, topic) as consumer:
        cursor = (await consumer.next("opened"))["id"]
    shared_service.publish(topic, "while nobody was there")
    async with transport.open(shared_service, topic, after=cursor) as consumer:
        assert (await consumer.next("message"))["data"] == "while nobody was there"


async def test_a_consumer_that_comes_too_late_is_told_how_many_it_missed(
    start_service: StartService, transport: Transport, topic: str
) -> None:
    service = start_service(log="memory", retention_messages=5)
    first, _ = service.publish(topic, *numbered(10))
    service.publish(topic, *numbered(10))
    async with transport.open(service, topic, after=first) as consumer:
        gap = await consumer.next()
        records = await consumer.messages(5)
    assert (gap["event"], gap["missed"]) == ("gap", 14)
    assert [record["id"].partition("-")[2] for record in records] == ["16", "17", "18", "19", "20"]
    service.wait_for_metric(
        14, "riptide_streaming_messages_dropped_total", protocol=transport.name, reason="expired"
    )
    assert service.metric("riptide_streaming_reconnections_total", outcome="gap") == 1


@pytest.mark.parametrize("position", ["00000000-3", "{epoch}-99"])
async def test_a_position_of_another_log_is_answered_with_a_reset_to_the_beginning(
    start_service: StartService, transport: Transport, topic: str, position: str
) -> None:
    service = start_service(log="memory")
    epoch = service.publish(topic, "only")[0].partition("-")[0]
    async with transport.open(service, topic, after=position.format(epoch=epoch)) as consumer:
        assert (await consumer.next())["event"] == "reset"
        assert (await consumer.next("message"))["data"] == "only"
    assert service.metric("riptide_streaming_reconnections_total", outcome="reset") == 1


async def test_silence_is_filled_with_heartbeats(
    start_service: StartService, transport: Transport, topic: str
) -> None:
    service = start_service(log="memory", heartbeat_seconds=0.2)
    async with transport.open(service, topic) as consumer:
        opened = await consumer.next("opened")
        beats = [await consumer.next("heartbeat") for _ in range(3)]
    assert all(beat["id"] == opened["id"] for beat in beats)


@pytest.mark.parametrize("after", ["", "x", "12", "3f9a1c2e-", "3f9a1c2e-01", "3F9A1C2E-1", "a-b"])
async def test_a_malformed_position_is_refused_with_what_is_allowed(
    shared_service: Service, transport: Transport, topic: str, after: str
) -> None:
    with pytest.raises(RefusedError) as refusal:
        async with transport.open(shared_service, topic, after=after):
            pass
    assert refusal.value.status == 400
    assert refusal.value.problem["type"] == "urn:riptide:problem:invalid-position"
    assert refusal.value.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("name", ["a b", "-a", "é", "a/b", "x" * 129, "%00"])
async def test_a_bad_topic_name_is_refused_with_what_is_allowed(
    shared_service: Service, transport: Transport, name: str
) -> None:
    with pytest.raises(RefusedError) as refusal:
        async with transport.open(shared_service, name.replace("%", "%25").replace(" ", "%20")):
            pass
    assert refusal.value.status == 400
    assert refusal.value.problem["type"] == "urn:riptide:problem:invalid-topic"


async def test_no_more_consumers_are_let_in_than_the_limit(
    start_service: StartService, transport: Transport, topic: str
) -> None:
    service = start_service(log="memory", max_connections=2)
    async with transport.open(service, topic) as one, transport.open(service, topic) as two:
        await one.next("opened")
        await two.next("opened")
        with pytest.raises(RefusedError) as refusal:
            async with transport.open(service, topic):
                pass
    assert refusal.value.status == 503
    assert int(refusal.value.headers["retry-after"]) > 0
    assert refusal.value.problem["type"] == "urn:riptide:problem:connection-limit"
    service.wait_for_metric(
        1,
        "riptide_streaming_connections_rejected_total",
        protocol=transport.name,
        reason="connection_limit",
    )
    # The refused one never was a connection, and the places of the others are free again.
    assert service.metric("riptide_streaming_connections_opened_total") == 2
    service.wait_for_metric(0, "riptide_streaming_active_connections")
    async with transport.open(service, topic) as consumer:
        await consumer.next("opened")
