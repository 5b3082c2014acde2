from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from riptide.admission.admission import Admission, Limits
from riptide.admission.client import Client
from riptide.errors import (
    ConnectionLimitError,
    DrainingError,
    InvalidPositionError,
    InvalidTopicError,
    LogUnavailableError,
    ProblemError,
)
from riptide.hub.hub import Hub
from riptide.hub.ring import RingLimits
from riptide.storage.message_log import Retention
from riptide.streaming.drain import Drain
from riptide.streaming.stream_request import StreamRequest
from riptide.streaming.streams import SESSION_BYTES, Streams
from riptide_telemetry import CloseReason, RejectReason, StreamProtocol
from tests.app.held_log import HeldLog
from tests.app.streaming.pipe import Pipe
from tests.waiting import DEADLINE_S, eventually, in_time, turns

if TYPE_CHECKING:
    from tests.app.recorder import Recorder
    from tests.app.streaming.conftest import OpenStream


@pytest.fixture
def log() -> HeldLog:
    return HeldLog(Retention(100, 3600))


@pytest.fixture
def hub(log: HeldLog, recorder: Recorder) -> Hub:
    return Hub(log, recorder.lifecycle, RingLimits(10, 100_000))


@pytest.fixture
def streams(hub: Hub, recorder: Recorder) -> Streams:
    return Streams(hub, recorder.lifecycle, max_connections=2, retry_s=2)


async def test_who_finds_no_place_is_refused_until_one_is_free(
    open_stream: OpenStream, streams: Streams, recorder: Recorder
) -> None:
    first, _ = await open_stream(), await open_stream()
    refused = Pipe()
    with pytest.raises(ConnectionLimitError, match="all 2 places") as caught:
        await streams.serve(refused, StreamRequest("a"))
    assert caught.value.retry_after is not None
    assert (refused.opened, refused.frames) == (False, [])
    assert recorder.of("connection_rejected", "protocol", "reason") == [
        (StreamProtocol.NDJSON, RejectReason.CONNECTION_LIMIT)
    ]
    first.pipe.vanish()
    await first.ended()
    assert (await open_stream()).pipe.events() == ["opened"]


async def test_a_place_is_taken_while_the_stream_is_still_being_opened(
    streams: Streams, log: HeldLog
) -> None:
    log.holding = True
    opening = [
        asyncio.create_task(streams.serve(Pipe(), StreamRequest("a", "earliest"))) for _ in range(2)
    ]
    await turns()
    with pytest.raises(ConnectionLimitError):
        await streams.serve(Pipe(), StreamRequest("a", "earliest"))
    for task in opening:
        task.cancel()
    await asyncio.gather(*opening, return_exceptions=True)
    log.holding = False
    await streams.serve(Pipe(), StreamRequest("a", None, "latest"))


@pytest.mark.parametrize(
    ("topic", "after", "until", "error"),
    [
        ("a/b", None, None, InvalidTopicError),
        ("a", "yesterday", None, InvalidPositionError),
        ("a", None, "tomorrow", InvalidPositionError),
    ],
)
async def test_a_bad_request_is_refused_counted_and_takes_no_place(
    streams: Streams,
    recorder: Recorder,
    topic: str,
    after: str | None,
    until: str | None,
    error: type[ProblemError],
) -> None:
    for _ in range(3):
        with pytest.raises(error):
            await streams.serve(Pipe(), StreamRequest(topic, after, until))
    assert recorder.names() == ["connection_rejected"] * 3
    assert set(recorder.of("connection_rejected", "protocol", "reason")) == {
        (StreamProtocol.NDJSON, RejectReason.INVALID_REQUEST)
    }


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(connections_per_address=1), RejectReason.ADDRESS_LIMIT),
        (Limits(connections_per_identity=1), RejectReason.IDENTITY_LIMIT),
        (Limits(accept_rate_per_address=0.01), RejectReason.ADDRESS_RATE),
        (Limits(accept_rate=0.01), RejectReason.ACCEPT_RATE),
    ],
)
async def test_who_is_over_a_limit_is_refused_by_its_reason_and_takes_no_place(
    hub: Hub, recorder: Recorder, limits: Limits, reason: RejectReason
) -> None:
    streams = Streams(
        hub, recorder.lifecycle, max_connections=2, retry_s=2, admission=Admission(limits)
    )
    client = Client("192.0.2.1", "alice")
    pipe = Pipe()
    stream = asyncio.create_task(streams.serve(pipe, StreamRequest("a", client=client)))
    await eventually(lambda: pipe.frames)
    for _ in range(3):
        with pytest.raises(ProblemError) as caught:
            await streams.serve(Pipe(), StreamRequest("a", client=client))
        assert caught.value.reject_reason is reason
    assert (
        recorder.of("connection_rejected", "protocol", "reason")
        == [(StreamProtocol.NDJSON, reason)] * 3
    )
    pipe.vanish()
    await stream
    if reason in {RejectReason.ADDRESS_LIMIT, RejectReason.IDENTITY_LIMIT}:
        await streams.serve(Pipe(), StreamRequest("a", None, "latest", client=client))


async def test_a_place_of_a_client_is_given_back_however_its_stream_ends(
    hub: Hub, recorder: Recorder, log: HeldLog
) -> None:
    admission = Admission(Limits(connections_per_address=1))
    streams = Streams(hub, recorder.lifecycle, max_connections=2, retry_s=2, admission=admission)
    client = Client("192.0.2.1")
    with pytest.raises(InvalidPositionError):
        await streams.serve(Pipe(), StreamRequest("a", "yesterday", client=client))
    log.holding = True
    opening = asyncio.create_task(
        streams.serve(Pipe(), StreamRequest("a", "earliest", client=client))
    )
    await turns()
    opening.cancel()
    await asyncio.gather(opening, return_exceptions=True)
    log.holding = False
    await streams.serve(Pipe(), StreamRequest("a", None, "latest", client=client))


async def test_a_log_that_cannot_be_read_refuses_streams(
    streams: Streams, log: HeldLog, recorder: Recorder
) -> None:
    log.broken = True
    with pytest.raises(LogUnavailableError):
        await streams.serve(Pipe(), StreamRequest("a", "earliest"))
    assert recorder.of("connection_rejected", "protocol", "reason") == [
        (StreamProtocol.NDJSON, RejectReason.LOG_FAILURE)
    ]
    assert streams.sessions == set()


async def test_nobody_is_let_in_while_draining(streams: Streams, recorder: Recorder) -> None:
    streams.draining = True
    with pytest.raises(DrainingError) as caught:
        await streams.serve(Pipe(), StreamRequest("a"))
    assert caught.value.retry_after is not None
    assert recorder.of("connection_rejected", "protocol", "reason") == [
        (StreamProtocol.NDJSON, RejectReason.DRAINING)
    ]


async def test_a_stream_that_was_being_opened_when_the_drain_began_is_not_left_to_be_cut_off(
    streams: Streams, log: HeldLog, recorder: Recorder
) -> None:
    log.holding = True
    pipe = Pipe()
    serving = asyncio.create_task(streams.serve(pipe, StreamRequest("a", "earliest")))
    await turns()
    draining = asyncio.create_task(Drain(streams, 2 * DEADLINE_S).run())
    await turns()
    log.holding = False
    log.let_read()
    await eventually(
        serving.done, lambda: "it was neither refused nor told that the server is shutting down"
    )
    await asyncio.gather(serving, draining, return_exceptions=True)
    assert recorder.closed in ([], [CloseReason.DRAINING])


async def test_waiting_ends_when_the_last_session_does(
    open_stream: OpenStream, streams: Streams
) -> None:
    await streams.wait_until_empty()
    first, second = await open_stream(), await open_stream()
    waiting = asyncio.create_task(streams.wait_until_empty())
    first.pipe.vanish()
    await first.ended()
    await turns()
    assert not waiting.done()
    second.pipe.vanish()
    await in_time(waiting)
    assert streams.sessions == set()


async def test_memory_counts_sessions_and_what_waits_in_their_write_buffers(
    open_stream: OpenStream, streams: Streams
) -> None:
    assert streams.memory_bytes() == 0
    first, second = await open_stream(), await open_stream()
    streams.buffered_bytes = 1234
    assert streams.memory_bytes() == 2 * SESSION_BYTES + 1234
    streams.buffered_bytes = 0
    first.pipe.vanish()
    second.pipe.vanish()
    await eventually(lambda: not streams.sessions)
    assert streams.memory_bytes() == 0
