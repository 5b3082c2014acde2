from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from riptide.process.faults import Faults
from riptide.publication import Publication
from riptide.streaming import heartbeat as heartbeat_module
from riptide.streaming.heartbeat import Heartbeat
from riptide.streaming.patience import NANOSECONDS
from riptide_telemetry import CloseReason, LagBound, ServicePart
from tests.app.streaming.pipe import Pipe
from tests.waiting import eventually, turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest

    from riptide.hub.hub import Hub
    from riptide.streaming.session import StreamSession
    from riptide.streaming.streams import Streams
    from tests.app.recorder import Recorder
    from tests.app.streaming.conftest import OpenStream


@contextlib.asynccontextmanager
async def _beating(heartbeat: Heartbeat) -> AsyncIterator[None]:
    task = asyncio.create_task(heartbeat.run())
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_every_stream_gets_heartbeats_into_its_silence(
    open_stream: OpenStream, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat_module, "SLICE", 2)
    opened = [await open_stream() for _ in range(5)]
    async with _beating(Heartbeat(streams, interval_s=0.02, write_timeout_s=60)):
        await eventually(lambda: all(o.pipe.events().count("heartbeat") >= 2 for o in opened))


async def test_a_stream_that_was_written_to_within_the_interval_gets_none(
    open_stream: OpenStream, streams: Streams
) -> None:
    opened = await open_stream()
    heartbeat = Heartbeat(streams, interval_s=15, write_timeout_s=30)
    heartbeat._visit(opened.session, opened.session.writer.last_write_ns + 15 * NANOSECONDS - 1)
    await turns()
    assert opened.pipe.events() == ["opened"]
    heartbeat._visit(opened.session, opened.session.writer.last_write_ns + 15 * NANOSECONDS)
    await turns()
    assert opened.pipe.events() == ["opened", "heartbeat"]


async def test_a_message_breaks_the_silence_as_well_as_a_heartbeat(
    open_stream: OpenStream, streams: Streams, hub: Hub, recorder: Recorder
) -> None:
    opened = await open_stream()
    opened.session.writer.last_write_ns -= 100 * NANOSECONDS
    now_ns = time.monotonic_ns()
    await hub.publish(Publication.now("a", [b"1"]))
    await eventually(lambda: recorder.sent == 1)
    Heartbeat(streams, interval_s=15, write_timeout_s=30)._visit(opened.session, now_ns)
    await turns()
    assert opened.pipe.events() == ["opened"]


async def test_a_client_that_takes_nothing_is_cut_off_after_the_write_timeout(
    open_stream: OpenStream, streams: Streams, hub: Hub, recorder: Recorder
) -> None:
    opened = await open_stream()
    opened.pipe.stop_taking()
    await hub.publish(Publication.now("a", [b"1"]))
    await eventually(lambda: opened.session.writer.blocked_since_ns is not None)
    blocked_since_ns = opened.session.writer.blocked_since_ns
    assert blocked_since_ns is not None
    heartbeat = Heartbeat(streams, interval_s=0.001, write_timeout_s=30)
    heartbeat._visit(opened.session, blocked_since_ns + 30 * NANOSECONDS - 1)
    await turns()
    assert not opened.task.done()
    heartbeat._visit(opened.session, blocked_since_ns + 30 * NANOSECONDS)
    await opened.ended()
    assert opened.pipe.transport.aborted
    assert recorder.closed == [CloseReason.CLIENT_STALLED]
    # No heartbeat had been queued behind what the client does not take.
    assert opened.pipe.events() == ["opened"]


async def test_a_client_that_takes_a_little_is_slow_and_not_stalled(
    open_stream: OpenStream, streams: Streams, hub: Hub
) -> None:
    opened = await open_stream()
    opened.pipe.stop_taking()
    await hub.publish(Publication.now("a", [b"1"]))
    await eventually(lambda: opened.session.writer.blocked_since_ns is not None)
    now_ns = time.monotonic_ns()
    heartbeat = Heartbeat(streams, interval_s=15, write_timeout_s=30)
    for untaken in range(100, 50, -1):
        opened.pipe.transport.buffered = untaken
        heartbeat._patience.begin_round()
        heartbeat._visit(opened.session, now_ns)
        now_ns += 20 * NANOSECONDS
    await turns()
    assert not opened.task.done()
    heartbeat._patience.begin_round()
    heartbeat._visit(opened.session, now_ns + 30 * NANOSECONDS)
    await opened.ended()


async def test_a_goodbye_that_is_not_taken_is_cut_off_too_and_keeps_its_reason(
    open_stream: OpenStream, streams: Streams, recorder: Recorder
) -> None:
    opened = await open_stream()
    opened.pipe.stop_taking()
    opened.session.end(CloseReason.SLOW_CONSUMER)
    async with _beating(Heartbeat(streams, interval_s=60, write_timeout_s=0.05)):
        await opened.ended()
    assert recorder.closed == [CloseReason.SLOW_CONSUMER]
    assert opened.pipe.transport.aborted


async def test_sessions_that_end_while_they_are_looked_at_do_no_harm(
    open_stream: OpenStream, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat_module, "SLICE", 1)
    opened = [await open_stream() for _ in range(10)]
    heartbeat = Heartbeat(streams, interval_s=0, write_timeout_s=60)
    round_ = asyncio.create_task(heartbeat._go_round())
    for stream in opened[:-1]:
        await turns(1)
        stream.pipe.vanish()
    assert not round_.done()
    await round_
    await eventually(lambda: len(streams.sessions) == 1)
    await heartbeat._go_round()
    await eventually(lambda: opened[-1].pipe.events().count("heartbeat") >= 2)


async def test_write_buffers_are_added_up_in_each_round(
    open_stream: OpenStream, streams: Streams
) -> None:
    heartbeat = Heartbeat(streams, interval_s=15, write_timeout_s=30)
    first, second = await open_stream(), await open_stream()
    first.pipe.transport.buffered, second.pipe.transport.buffered = 1000, 234
    await heartbeat._go_round()
    assert streams.buffered_bytes == 1234
    # What is left in a buffer counts until it is gone, however long ago it was written.
    second.pipe.transport.buffered = 0
    await heartbeat._go_round()
    assert streams.buffered_bytes == 1000
    first.pipe.transport.buffered = 0
    await heartbeat._go_round()
    assert streams.buffered_bytes == 0
    second.session.writer.last_write_ns = time.monotonic_ns()
    second.pipe.transport.buffered = 50
    await heartbeat._go_round()
    assert streams.buffered_bytes == 50
    second.pipe.vanish()
    await second.ended()
    await heartbeat._go_round()
    assert streams.buffered_bytes == 0


async def test_a_stream_whose_time_is_over_ends_and_others_do_not(
    open_stream: OpenStream, streams: Streams
) -> None:
    over, later, never = [await open_stream() for _ in range(3)]
    over.session.expires_at = time.time() - 1
    later.session.expires_at = time.time() + 3600
    heartbeat = Heartbeat(streams, interval_s=15, write_timeout_s=30)
    for opened in (over, later, never):
        heartbeat._visit(opened.session, opened.session.writer.last_write_ns)
    await over.ended()
    end = over.pipe.records()[-1]
    assert (end["event"], end["reason"]) == ("end", CloseReason.TOKEN_EXPIRED)
    assert over.pipe.closed_with == [(CloseReason.TOKEN_EXPIRED, "")]
    assert later.pipe.events() == never.pipe.events() == ["opened"]


async def test_a_session_that_raises_keeps_no_other_from_its_visit(
    open_stream: OpenStream, streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = [await open_stream() for _ in range(3)]
    broken = next(iter(streams.sessions))
    heartbeat = Heartbeat(streams, interval_s=0.02, write_timeout_s=60, faults=(faults := Faults()))
    visit = heartbeat._visit

    def visit_or_fail(session: StreamSession, now_ns: int) -> None:
        if session is broken:
            raise LookupError("a fault")
        visit(session, now_ns)

    monkeypatch.setattr(heartbeat, "_visit", visit_or_fail)
    others = [each for each in opened if each.session is not broken]
    async with _beating(heartbeat):
        await eventually(lambda: all(o.pipe.events().count("heartbeat") >= 2 for o in others))
    assert faults.first is ServicePart.HEARTBEAT


class TakesOneRecord(Pipe):
    """A client that reads the first record of its stream, and nothing more."""

    async def write(self, frame: bytes) -> None:
        await super().write(frame)
        self.stop_taking()


async def test_each_round_surveys_how_far_behind_those_are_who_should_be_at_the_head(
    open_stream: OpenStream, streams: Streams, hub: Hub
) -> None:
    heartbeat = Heartbeat(streams, interval_s=15, write_timeout_s=30)
    before_ns = time.monotonic_ns()
    receipt = await hub.publish(Publication.now("a", [b"1"]))
    await hub.publish(Publication.now("a", [b"2"]))
    after_ns = time.monotonic_ns()
    await open_stream()
    # Not expected at the head: who reads the topic for the first time, or only a part of it.
    await open_stream("earliest", pipe=TakesOneRecord())
    await open_stream("earliest", "latest", pipe=TakesOneRecord())
    await heartbeat._go_round()
    assert streams.lags.largest_s == 0
    resuming = await open_stream(str(receipt.last), pipe=TakesOneRecord())
    monitored_ns = time.monotonic_ns()
    # A second in which it is not given its message.
    subscription = resuming.session._subscription
    await eventually(lambda: subscription._owed_since_ns < after_ns)
    subscription._owed_since_ns -= NANOSECONDS
    await heartbeat._go_round()
    assert streams.lags.at_least == {bound: int(bound == "second") for bound in LagBound}
    oldest_ns = streams.lags.largest_s * NANOSECONDS
    assert monitored_ns - after_ns <= oldest_ns - NANOSECONDS
    assert oldest_ns - NANOSECONDS <= time.monotonic_ns() - before_ns
    resuming.pipe.vanish()
    await resuming.ended()
    await heartbeat._go_round()
    assert streams.lags.largest_s == 0
