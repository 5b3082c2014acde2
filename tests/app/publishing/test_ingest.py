from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from riptide.admission.admission import Admission, Limits
from riptide.admission.client import Client
from riptide.errors import (
    BodyLimitError,
    InvalidMessageError,
    LogUnavailableError,
    PublishRateError,
    TooLargeError,
    TopicLimitError,
    UnsupportedMediaTypeError,
)
from riptide.hub.hub import Hub
from riptide.hub.ring import RingLimits
from riptide.publishing.ingest import LARGEST_BODIES, SLICE_BYTES, Ingest, PublishLimits
from riptide.publishing.publish_request import PublishRequest
from riptide.slow_consumers import parse_rules
from riptide.storage.memory import MemoryLog
from riptide.storage.message_log import Retention
from riptide_telemetry import Lifecycle, Publishing, PublishOutcome
from tests.app.held_log import HeldLog
from tests.app.messages import published
from tests.waiting import turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from riptide.message import Receipt
    from tests.app.recorder import Recorder

BATCH = "application/x-ndjson"
JSON = "application/json"


@pytest.fixture
def ingest(hub: Hub, recorder: Recorder) -> Ingest:
    return Ingest(hub, recorder.lifecycle, PublishLimits(100, 20))


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
    return await ingest.publish(PublishRequest("a", kind, aiter(Body(*chunks)), length))


async def _kept(log: MemoryLog) -> list[bytes]:
    return [message.payload for message in await log.read("a", 0)]


async def test_one_json_value_is_one_message_however_many_lines_it_has(
    ingest: Ingest, log: MemoryLog, recorder: Recorder
) -> None:
    receipt = await _publish(ingest, JSON, b'{"a":\n', b"1}\n")
    assert receipt.first == receipt.last
    assert await _kept(log) == [b'{"a": 1}']
    assert recorder.of("messages_published", "outcome", "count") == [(PublishOutcome.ACCEPTED, 1)]


async def test_every_line_of_a_batch_is_a_message_and_blank_ones_are_none(
    ingest: Ingest, log: MemoryLog, recorder: Recorder
) -> None:
    receipt = await _publish(ingest, BATCH, b"\n1\r\n \n", b'"x"\n[', b"]")
    assert receipt.last.sequence == 3
    assert await _kept(log) == [b"1", b'"x"', b"[]"]
    assert recorder.of("messages_published", "outcome", "count") == [(PublishOutcome.ACCEPTED, 3)]


async def test_a_bad_line_in_a_batch_is_named_and_nothing_is_published(
    ingest: Ingest, log: MemoryLog, recorder: Recorder
) -> None:
    with pytest.raises(InvalidMessageError, match=r"^line 3: not valid JSON") as caught:
        await _publish(ingest, BATCH, b"1\n\n{\n2\n")
    assert caught.value.body()["line"] == 3
    assert await _kept(log) == []
    assert recorder.of("messages_published", "outcome", "count") == [(PublishOutcome.INVALID, 3)]


async def test_a_bad_message_alone_has_no_line(ingest: Ingest, recorder: Recorder) -> None:
    with pytest.raises(InvalidMessageError, match=r"^not valid JSON") as caught:
        await _publish(ingest, JSON, b"1\n2")
    assert "line" not in caught.value.body()
    assert recorder.of("messages_published", "outcome", "count") == [(PublishOutcome.INVALID, 1)]


async def test_a_message_over_the_limit_is_named_and_nothing_is_published(
    ingest: Ingest, log: MemoryLog, recorder: Recorder
) -> None:
    with pytest.raises(TooLargeError, match="line 2: a message of 21 bytes") as caught:
        await _publish(ingest, BATCH, b"1\n" + b'"' + b"x" * 19 + b'"')
    assert caught.value.body()["line"] == 2
    assert await _kept(log) == []
    assert recorder.of("messages_published", "outcome", "count") == [(PublishOutcome.TOO_LARGE, 2)]


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
        await ingest.publish(PublishRequest("a", JSON, aiter(body), 101))
    assert body.read == 0
    assert recorder.of("messages_published", "outcome", "count") == [(PublishOutcome.TOO_LARGE, 1)]


async def test_a_body_of_unknown_length_is_read_until_it_is_too_large(ingest: Ingest) -> None:
    body = Body(*[b"1" * 40] * 100)
    with pytest.raises(TooLargeError):
        await ingest.publish(PublishRequest("a", BATCH, aiter(body)))
    assert body.read == 3


@pytest.mark.parametrize("body", [b"", b"\n", b" \r\n\n"])
async def test_an_empty_batch_is_not_a_publish(
    ingest: Ingest, recorder: Recorder, body: bytes
) -> None:
    with pytest.raises(InvalidMessageError, match="batch is empty"):
        await _publish(ingest, BATCH, body)
    assert PublishOutcome.ACCEPTED not in [
        outcome for (outcome,) in recorder.of("messages_published", "outcome")
    ]


@pytest.mark.parametrize("kind", ["", "text/plain", "json", "*/*", "application/json-seq", ";"])
async def test_other_types_are_refused_before_the_body_is_read(ingest: Ingest, kind: str) -> None:
    body = Body(b"1")
    with pytest.raises(UnsupportedMediaTypeError, match="application/x-ndjson"):
        await ingest.publish(PublishRequest("a", kind, aiter(body)))
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
        await ingest.publish(PublishRequest("a", BATCH, body()))
    assert await _kept(log) == []


async def test_a_publish_that_an_unexpected_error_ends_is_counted_as_the_services_failure(
    ingest: Ingest, hub: Hub, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Receipt:
        raise RuntimeError("unexpected")

    monkeypatch.setattr(hub, "publish", fail)
    with pytest.raises(RuntimeError):
        await _publish(ingest, "application/x-ndjson", b"1\n2\n")
    assert recorder.of("messages_published", "outcome", "count") == [
        (PublishOutcome.INTERNAL_ERROR, 2)
    ]


async def test_what_the_log_refuses_is_counted_as_such(recorder: Recorder) -> None:
    log = HeldLog(Retention(10, 60))
    hub = Hub(log, recorder.lifecycle, RingLimits(10, 100), parse_rules("latest"))
    ingest = Ingest(hub, recorder.lifecycle, PublishLimits(100, 20))
    publishing = asyncio.create_task(_publish(ingest, BATCH, b"1\n2"))
    await turns()
    log.refuse()
    with pytest.raises(LogUnavailableError):
        await publishing
    assert recorder.of("messages_published", "outcome", "count") == [
        (PublishOutcome.LOG_FAILURE, 2)
    ]


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
    ingest = Ingest(hub, traces, PublishLimits(100, 20))
    await ingest.publish(
        PublishRequest("a", BATCH, aiter(Body(b"1\n22\n")), traceparent="the publisher's")
    )
    assert traces.begun == [("a", "the publisher's")]
    assert traces.accepted == [(f"{log.epoch}-1", 2, 3)]
    assert [message.traceparent for message in await log.read("a", 0)] == [
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    ] * 2
    with pytest.raises(InvalidMessageError):
        await ingest.publish(PublishRequest("a", JSON, aiter(Body(b"{"))))
    nothing, wrong = traces.failed
    assert nothing is None
    assert isinstance(wrong, InvalidMessageError)


async def test_a_client_that_published_too_much_is_refused_unread_and_others_are_not(
    hub: Hub, log: MemoryLog, recorder: Recorder
) -> None:
    ingest = Ingest(
        hub, recorder.lifecycle, PublishLimits(1000, 20), Admission(Limits(publish_rate=1))
    )
    client = Client("192.0.2.1")
    await ingest.publish(PublishRequest("a", BATCH, aiter(Body(b"1\n" * 50)), client=client))
    body = Body(b"1")
    with pytest.raises(PublishRateError) as caught:
        await ingest.publish(PublishRequest("a", JSON, aiter(body), client=client))
    assert body.read == 0
    assert caught.value.retry_after is not None
    await ingest.publish(PublishRequest("a", JSON, aiter(Body(b"2")), client=Client("192.0.2.2")))
    assert len(await _kept(log)) == 51
    assert recorder.of("messages_published", "outcome", "count") == [
        (PublishOutcome.ACCEPTED, 50),
        (PublishOutcome.RATE_LIMITED, 1),
        (PublishOutcome.ACCEPTED, 1),
    ]


async def test_a_batch_for_a_topic_too_many_is_counted_by_its_messages(recorder: Recorder) -> None:
    log = MemoryLog(Retention(1000, 3600, topics=1))
    await log.append(published("b", [b"1"], 2**62))
    hub = Hub(log, recorder.lifecycle, RingLimits(10, 100_000))
    ingest = Ingest(hub, recorder.lifecycle, PublishLimits(100, 20))
    with pytest.raises(TopicLimitError):
        await _publish(ingest, BATCH, b"1\n2\n")
    assert recorder.of("messages_published", "outcome", "count") == [
        (PublishOutcome.TOPIC_LIMIT, 2)
    ]


@pytest.fixture
def strict(hub: Hub, recorder: Recorder) -> Ingest:
    """Takes batches of three lines."""
    return Ingest(hub, recorder.lifecycle, PublishLimits(1000, 1000, 3))


@pytest.mark.parametrize("body", [b"1\n2\n3", b"1\n2\n3\n", b"\n\n3"])
async def test_as_many_lines_as_the_limit_are_a_batch(strict: Ingest, body: bytes) -> None:
    assert (await _publish(strict, BATCH, body)).first.sequence == 1


@pytest.mark.parametrize("body", [b"1\n2\n3\n4", b"\n\n\n1", b"\n" * 1000, b"1\n2\n3\n\n"])
async def test_a_line_more_is_too_large_and_blank_lines_are_lines(
    strict: Ingest, log: MemoryLog, recorder: Recorder, body: bytes
) -> None:
    with pytest.raises(TooLargeError, match=r"3 lines.*RIPTIDE_MAX_BATCH_MESSAGES"):
        await _publish(strict, BATCH, body)
    assert await _kept(log) == []
    # At least so many; the others have not been looked at.
    assert recorder.of("messages_published", "outcome", "count") == [(PublishOutcome.TOO_LARGE, 3)]


async def test_the_lines_of_a_single_message_are_not_limited(strict: Ingest) -> None:
    await _publish(strict, JSON, b"[\n1,\n2,\n3,\n4\n]")


async def test_blank_lines_are_charged_to_who_sends_them(hub: Hub, recorder: Recorder) -> None:
    ingest = Ingest(
        hub, recorder.lifecycle, PublishLimits(1000, 20), Admission(Limits(publish_rate=1))
    )
    client = Client("192.0.2.1")
    with pytest.raises(InvalidMessageError, match="batch is empty"):
        await ingest.publish(PublishRequest("a", BATCH, aiter(Body(b"\n" * 50)), client=client))
    with pytest.raises(PublishRateError):
        await ingest.publish(PublishRequest("a", JSON, aiter(Body(b"1")), client=client))


@pytest.mark.parametrize(("line", "count"), [(b'"' + b"x" * 1000 + b'"\n', 1000), (b"1\n", 10_000)])
async def test_others_get_their_turn_while_a_large_batch_is_checked(
    hub: Hub, recorder: Recorder, line: bytes, count: int
) -> None:
    ingest = Ingest(hub, recorder.lifecycle, PublishLimits(len(line) * count, 2000))
    loop = asyncio.get_running_loop()
    turns_of_others = 0

    def turn() -> None:
        nonlocal turns_of_others
        turns_of_others += 1
        loop.call_soon(turn)

    loop.call_soon(turn)
    publishing = asyncio.create_task(_publish(ingest, BATCH, line * count))
    assert (await publishing).last.sequence == count
    assert turns_of_others > len(line) * count // SLICE_BYTES
    assert turns_of_others >= 8


class HeldBody:
    """A body of which the last byte is long in coming."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.arrive = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b'"' + b"x" * (self._size - 2)
        await self.arrive.wait()
        yield b'"'


async def test_bodies_that_are_held_back_cannot_hold_more_than_their_limit(
    hub: Hub, log: MemoryLog, recorder: Recorder
) -> None:
    size = 100_000
    ingest = Ingest(hub, recorder.lifecycle, PublishLimits(size, size))
    held = [HeldBody(size) for _ in range(LARGEST_BODIES)]
    publishing = [
        asyncio.create_task(ingest.publish(PublishRequest("a", JSON, aiter(b)))) for b in held
    ]
    await turns()
    assert ingest.bodies.held_bytes == LARGEST_BODIES * (size - 1)
    with pytest.raises(BodyLimitError):
        await _publish(ingest, JSON, b'"' + b"x" * 50_000, b"x" * 20_000 + b'"')
    assert recorder.of("messages_published", "outcome", "count") == [(PublishOutcome.BODY_LIMIT, 1)]
    # What most clients send gets through.
    await _publish(ingest, JSON, b"1")
    publishing.pop().cancel()
    await turns()
    await _publish(ingest, JSON, b'"' + b"x" * 70_000 + b'"')
    for body in held:
        body.arrive.set()
    await asyncio.gather(*publishing)
    assert ingest.bodies.held_bytes == 0
    assert (await log.bounds("a")).head == LARGEST_BODIES + 1


async def test_bytes_of_bodies_are_held_until_the_log_has_them_and_no_longer(
    recorder: Recorder,
) -> None:
    log = HeldLog(Retention(10, 60))
    hub = Hub(log, recorder.lifecycle, RingLimits(10, 100), parse_rules("latest"))
    ingest = Ingest(hub, recorder.lifecycle, PublishLimits(100, 20))
    publishing = asyncio.create_task(_publish(ingest, BATCH, b"1\n2"))
    await turns()
    assert ingest.bodies.held_bytes == 3
    log.refuse()
    with pytest.raises(LogUnavailableError):
        await publishing
    for kind, body in ((BATCH, b"{\n"), (JSON, b"1" * 101), (BATCH, b"1" * 21)):
        with pytest.raises((InvalidMessageError, TooLargeError)):
            await _publish(ingest, kind, body)
    assert ingest.bodies.held_bytes == 0
