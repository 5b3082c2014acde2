from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from app.admission.admission import Admission, Limits
from app.admission.client import Client
from app.errors import (
    InvalidMessageError,
    LogUnavailableError,
    PublishRateError,
    TooLargeError,
    TopicLimitError,
    UnsupportedMediaTypeError,
)
from app.hub.hub import Hub
from app.hub.ingest import Ingest
from app.hub.topic import RingLimits
from app.log.memory import MemoryLog
from app.log.message_log import Retention
from app.slow_consumers import parse_rules
from telemetry import Lifecycle, Publishing, PublishOutcome
from tests.app.held_log import HeldLog
from tests.app.waiting import turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from app.hub.hub import Receipt
    from tests.app.recorder import Recorder

BATCH = "application/x-ndjson"
JSON = "application/json"


@pytest.fixture
def ingest(hub: Hub, recorder: Recorder) -> Ingest:
    return Ingest(hub, recorder.lifecycle, max_body_bytes=100, max_message_bytes=20)


class Body:
    """A body in chunks, that knows how many were asked for."""

    def __init__(self, *chunks: bytes) -> None:
        self._chunks = chunks
        self.read = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            self.read += 1
            yield chunk


async def _publish(ingest: Ingest, kind: str, *chunks: bytes, length: int | None = None) -> Receipt:
    return await ingest.publish("a", kind, length, aiter(Body(*chunks)))


async def _kept(log: MemoryLog) -> list[bytes]:
    return [message.payload for message in await log.read("a", 0)]


async def test_one_json_value_is_one_message_however_many_lines_it_has(
    ingest: Ingest, log: MemoryLog, recorder: Recorder
) -> None:
    receipt = await _publish(ingest, JSON, b'{"a":\n', b"1}\n")
    assert receipt.first == receipt.last
    assert await _kept(log) == [b'{"a": 1}']
    assert recorder.of("messages_published") == [(PublishOutcome.ACCEPTED, 1)]


async def test_every_line_of_a_batch_is_a_message_and_blank_ones_are_none(
    ingest: Ingest, log: MemoryLog, recorder: Recorder
) -> None:
    receipt = await _publish(ingest, BATCH, b"\n1\r\n \n", b'"x"\n[', b"]")
    assert receipt.last.sequence == 3
    assert await _kept(log) == [b"1", b'"x"', b"[]"]
    assert recorder.of("messages_published") == [(PublishOutcome.ACCEPTED, 3)]


async def test_a_bad_line_in_a_batch_is_named_and_nothing_is_published(
    ingest: Ingest, log: MemoryLog, recorder: Recorder
) -> None:
    with pytest.raises(InvalidMessageError, match=r"^line 3: not valid JSON") as caught:
        await _publish(ingest, BATCH, b"1\n\n{\n2\n")
    assert caught.value.body()["line"] == 3
    assert await _kept(log) == []
    assert recorder.of("messages_published") == [(PublishOutcome.INVALID, 3)]


async def test_a_bad_message_alone_has_no_line(ingest: Ingest, recorder: Recorder) -> None:
    with pytest.raises(InvalidMessageError, match=r"^not valid JSON") as caught:
        await _publish(ingest, JSON, b"1\n2")
    assert "line" not in caught.value.body()
    assert recorder.of("messages_published") == [(PublishOutcome.INVALID, 1)]


async def test_a_message_over_the_limit_is_named_and_nothing_is_published(
    ingest: Ingest, log: MemoryLog, recorder: Recorder
) -> None:
    with pytest.raises(TooLargeError, match="line 2: a message of 21 bytes") as caught:
        await _publish(ingest, BATCH, b"1\n" + b'"' + b"x" * 19 + b'"')
    assert caught.value.body()["line"] == 2
    assert await _kept(log) == []
    assert recorder.of("messages_published") == [(PublishOutcome.TOO_LARGE, 2)]


async def test_the_limits_themselves_are_allowed(ingest: Ingest, log: MemoryLog) -> None:
    line = b'"' + b"x" * 18 + b'"'
    body = b"\n".join([line] * 4) + b"\n" * 17
    assert len(body) == 100
    await _publish(ingest, BATCH, body, length=100)
    assert await _kept(log) == [line] * 4


async def test_a_body_whose_length_is_over_the_limit_is_not_read_at_all(
    ingest: Ingest, recorder: Recorder
) -> None:
    body = Body(b"1")
    with pytest.raises(TooLargeError, match="limit of 100 bytes"):
        await ingest.publish("a", JSON, 101, aiter(body))
    assert body.read == 0
    assert recorder.of("messages_published") == [(PublishOutcome.TOO_LARGE, 1)]


async def test_a_body_of_unknown_length_is_read_until_it_is_too_large(ingest: Ingest) -> None:
    body = Body(*[b"1" * 40] * 100)
    with pytest.raises(TooLargeError):
        await ingest.publish("a", BATCH, None, aiter(body))
    assert body.read == 3


@pytest.mark.parametrize("body", [b"", b"\n", b" \r\n\n"])
async def test_an_empty_batch_is_not_a_publish(
    ingest: Ingest, recorder: Recorder, body: bytes
) -> None:
    with pytest.raises(InvalidMessageError, match="batch is empty"):
        await _publish(ingest, BATCH, body)
    assert PublishOutcome.ACCEPTED not in [event[0] for event in recorder.of("messages_published")]


@pytest.mark.parametrize("kind", ["", "text/plain", "json", "*/*", "application/json-seq", ";"])
async def test_other_types_are_refused_before_the_body_is_read(ingest: Ingest, kind: str) -> None:
    body = Body(b"1")
    with pytest.raises(UnsupportedMediaTypeError, match="application/x-ndjson"):
        await ingest.publish("a", kind, None, aiter(body))
    assert body.read == 0


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "Application/JSON", "application/JSON;x=y"]
)
async def test_parameters_and_case_of_a_type_do_not_matter(
    ingest: Ingest, log: MemoryLog, kind: str
) -> None:
    await _publish(ingest, kind, b"1")
    assert await _kept(log) == [b"1"]


async def test_a_body_that_breaks_off_publishes_nothing(ingest: Ingest, log: MemoryLog) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"1\n2\n"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await ingest.publish("a", BATCH, None, body())
    assert await _kept(log) == []


async def test_what_the_log_refuses_is_counted_as_such(recorder: Recorder) -> None:
    log = HeldLog(Retention(10, 60))
    hub = Hub(log, recorder.lifecycle, RingLimits(10, 100), parse_rules("latest"))
    ingest = Ingest(hub, recorder.lifecycle, max_body_bytes=100, max_message_bytes=20)
    publishing = asyncio.create_task(_publish(ingest, BATCH, b"1\n2"))
    await turns()
    log.refuse()
    with pytest.raises(LogUnavailableError):
        await publishing
    assert recorder.of("messages_published") == [(PublishOutcome.LOG_FAILURE, 2)]


class Traces(Lifecycle):
    """Traces publishes, and keeps what it is told of them."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, str]] = []
        self.accepted: list[tuple[str, int, int]] = []
        self.failed: list[BaseException | None] = []

    def publishing(self, topic: str, traceparent: str) -> Publishing:
        self.begun.append((topic, traceparent))
        traces = self

        class Kept(Publishing):
            def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
                traces.failed.append(error)

            def accepted(self, first_id: str, count: int, size_bytes: int) -> None:
                traces.accepted.append((first_id, count, size_bytes))

        return Kept("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")


async def test_a_publish_is_traced_from_its_body_to_the_log(hub: Hub, log: MemoryLog) -> None:
    traces = Traces()
    ingest = Ingest(hub, traces, max_body_bytes=100, max_message_bytes=20)
    await ingest.publish("a", BATCH, None, aiter(Body(b"1\n22\n")), "the publisher's")
    assert traces.begun == [("a", "the publisher's")]
    assert traces.accepted == [(f"{log.epoch}-1", 2, 3)]
    assert [message.traceparent for message in await log.read("a", 0)] == [
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    ] * 2
    with pytest.raises(InvalidMessageError):
        await ingest.publish("a", JSON, None, aiter(Body(b"{")))
    nothing, wrong = traces.failed
    assert nothing is None
    assert isinstance(wrong, InvalidMessageError)


async def test_a_client_that_published_too_much_is_refused_unread_and_others_are_not(
    hub: Hub, log: MemoryLog, recorder: Recorder
) -> None:
    ingest = Ingest(
        hub,
        recorder.lifecycle,
        max_body_bytes=1000,
        max_message_bytes=20,
        admission=Admission(Limits(publish_rate=1)),
    )
    client = Client("192.0.2.1")
    await ingest.publish("a", BATCH, None, aiter(Body(b"1\n" * 50)), client=client)
    body = Body(b"1")
    with pytest.raises(PublishRateError) as caught:
        await ingest.publish("a", JSON, None, aiter(body), client=client)
    assert body.read == 0
    assert caught.value.retry_after is not None
    await ingest.publish("a", JSON, None, aiter(Body(b"2")), client=Client("192.0.2.2"))
    assert len(await _kept(log)) == 51
    assert recorder.of("messages_published") == [
        (PublishOutcome.ACCEPTED, 50),
        (PublishOutcome.RATE_LIMITED, 1),
        (PublishOutcome.ACCEPTED, 1),
    ]


async def test_a_batch_for_a_topic_too_many_is_counted_by_its_messages(recorder: Recorder) -> None:
    log = MemoryLog(Retention(1000, 3600, topics=1))
    await log.append("b", [b"1"], 2**62)
    hub = Hub(log, recorder.lifecycle, RingLimits(10, 100_000))
    ingest = Ingest(hub, recorder.lifecycle, max_body_bytes=100, max_message_bytes=20)
    with pytest.raises(TopicLimitError):
        await _publish(ingest, BATCH, b"1\n2\n")
    assert recorder.of("messages_published") == [(PublishOutcome.TOPIC_LIMIT, 2)]
