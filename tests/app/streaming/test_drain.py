from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

import pytest

from riptide.errors import DrainingError
from riptide.process.faults import Faults
from riptide.publication import Publication
from riptide.streaming.drain import Drain
from riptide.streaming.session import StreamSession
from riptide.streaming.stream_request import StreamRequest
from riptide_telemetry import CloseReason, ServicePart
from tests.app.streaming.pipe import Pipe
from tests.waiting import DEADLINE_S, eventually, in_time, time_flies, turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from riptide.hub.hub import Hub
    from riptide.streaming.streams import Streams
    from tests.app.recorder import Recorder
    from tests.app.streaming.conftest import OpenStream


# Longer than anything is waited for.
WINDOW_S = 2 * DEADLINE_S


@pytest.fixture(autouse=True)
async def _time_flies() -> AsyncIterator[None]:
    with time_flies():
        yield


async def test_every_stream_gets_its_last_word_with_its_cursor_and_a_retry(
    open_stream: OpenStream, streams: Streams, hub: Hub, recorder: Recorder
) -> None:
    opened = [await open_stream() for _ in range(5)]
    receipt = await hub.publish(Publication.now("a", [b"1"]))
    await eventually(lambda: recorder.sent == 5)
    await in_time(Drain(streams, WINDOW_S).run())
    for stream in opened:
        end = stream.pipe.records()[-1]
        assert (end["event"], end["reason"], end["id"]) == ("end", "draining", str(receipt.last))
        assert end["reconnect"] is True
        assert isinstance(end["retry"], int)
        assert stream.pipe.closed_with == [(CloseReason.DRAINING, "")]
    assert recorder.closed == [CloseReason.DRAINING] * 5


async def test_a_drain_without_streams_is_over_at_once(streams: Streams) -> None:
    drain = Drain(streams, WINDOW_S)
    assert not drain.begun
    await in_time(drain.run())
    assert drain.begun


async def test_new_streams_are_refused_from_the_first_moment(
    open_stream: OpenStream, streams: Streams
) -> None:
    stuck = await open_stream()
    stuck.pipe.stop_taking()
    running = asyncio.create_task(Drain(streams, WINDOW_S).run())
    await turns(1)
    with pytest.raises(DrainingError):
        await streams.serve(Pipe(), StreamRequest("a"))
    stuck.pipe.vanish()
    await in_time(running)


async def test_closes_are_spread_over_the_window(
    open_stream: OpenStream, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(10):
        await open_stream()
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def watched(delay: float) -> None:
        pauses.append(delay)
        await sleep(0)

    monkeypatch.setattr("riptide.streaming.drain.asyncio.sleep", watched)
    await Drain(streams, 0.05).run()
    assert len(pauses) >= 10
    assert pauses[:10] == [pytest.approx(0.8 * 0.05 / 10)] * 10


async def test_a_stuck_client_is_cut_off_when_the_window_is_over_and_others_are_not(
    open_stream: OpenStream, streams: Streams, hub: Hub, recorder: Recorder
) -> None:
    stuck, fine = await open_stream(), await open_stream()
    stuck.pipe.stop_taking()
    await hub.publish(Publication.now("a", [b"1"]))
    await eventually(lambda: stuck.session.writer.blocked_since_ns is not None)
    await Drain(streams, WINDOW_S).run()
    assert stuck.pipe.transport.aborted
    assert not fine.pipe.transport.aborted
    assert fine.pipe.events()[-1] == "end"
    await stuck.ended()
    assert recorder.closed == [CloseReason.DRAINING] * 2
    assert recorder.sent == 1
    assert not streams.sessions


async def test_a_client_that_takes_its_data_late_still_gets_its_last_word(
    open_stream: OpenStream, streams: Streams, hub: Hub
) -> None:
    slow = await open_stream()
    slow.pipe.stop_taking()
    await hub.publish(Publication.now("a", [b"1"]))
    await eventually(lambda: slow.session.writer.blocked_since_ns is not None)
    running = asyncio.create_task(Drain(streams, WINDOW_S).run())
    await turns()
    slow.pipe.take_again()
    await in_time(running)
    assert slow.pipe.data() == [1]
    assert slow.pipe.events() == ["opened", "end"]


async def test_without_a_window_everybody_is_cut_off(
    open_stream: OpenStream, streams: Streams, recorder: Recorder
) -> None:
    stuck = await open_stream()
    stuck.pipe.stop_taking()
    await in_time(Drain(streams, 0).run())
    await stuck.ended()
    assert recorder.closed == [CloseReason.DRAINING]


async def test_later_calls_join_in_and_none_of_them_can_stop_it(
    open_stream: OpenStream, streams: Streams, recorder: Recorder
) -> None:
    stuck = await open_stream()
    stuck.pipe.stop_taking()
    drain = Drain(streams, WINDOW_S)
    first = asyncio.create_task(drain.run())
    second = asyncio.create_task(drain.run())
    await turns()
    first.cancel()
    await turns()
    assert first.cancelled()
    assert not second.done()
    stuck.pipe.take_again()
    await in_time(second)
    await drain.run()
    assert recorder.closed == [CloseReason.DRAINING]


async def test_a_session_that_raises_keeps_no_other_from_its_end(
    open_stream: OpenStream, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = [await open_stream() for _ in range(3)]
    end, failures = StreamSession.end, ["once"]

    def end_or_fail(session: StreamSession, reason: CloseReason, detail: str = "") -> None:
        if failures:
            raise LookupError(failures.pop())
        end(session, reason, detail)

    monkeypatch.setattr(StreamSession, "end", end_or_fail)
    faults = Faults()
    await in_time(Drain(streams, DEADLINE_S / 10, faults).run())
    assert faults.first is ServicePart.DRAIN
    # The one whose end failed is cut off when the window is over.
    assert sum(each.pipe.closed_with == [(CloseReason.DRAINING, "")] for each in opened) == 2


@pytest.mark.parametrize("looks", [0, 1, 50])
async def test_a_drain_that_is_cut_short_cuts_off_who_is_left(
    open_stream: OpenStream, streams: Streams, recorder: Recorder, looks: int
) -> None:
    stuck = [await open_stream() for _ in range(3)]
    for each in stuck:
        each.pipe.stop_taking()
    drain = Drain(streams, math.inf)
    running = asyncio.create_task(drain.run())
    await turns(looks)
    drain.cut_short()
    drain.cut_short()
    await in_time(running)
    drain.cut_short()
    assert recorder.closed == [CloseReason.DRAINING] * 3
    assert not streams.sessions


async def test_a_drain_that_raises_is_said_and_keeps_nobody_waiting(
    streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_streams: Streams) -> None:
        raise LookupError("a fault")

    monkeypatch.setattr(type(streams), "wait_until_empty", fail)
    faults = Faults()
    await in_time(Drain(streams, WINDOW_S, faults).run())
    assert faults.first is ServicePart.DRAIN
