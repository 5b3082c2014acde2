from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

import orjson
import pytest

from riptide.encoding.formats import WEBSOCKET
from riptide.hub.hub import Hub
from riptide.hub.ring import RingLimits
from riptide.hub.stream_range import StreamRange
from riptide.message import Edge, MessageId
from riptide.publication import Publication
from riptide.slow_consumers import parse_rules
from riptide.storage.message_log import Retention
from riptide.streaming import session as session_module
from riptide.streaming.streams import Streams
from riptide_telemetry import CloseReason, DropReason, ReconnectionOutcome, Source
from tests.app.held_log import HeldLog
from tests.app.messages import published
from tests.app.streaming.conftest import OpenStream
from tests.app.streaming.pipe import Pipe
from tests.waiting import eventually, turns

if TYPE_CHECKING:
    from riptide.storage.memory import MemoryLog
    from tests.app.recorder import Recorder


@pytest.fixture(autouse=True)
def _no_progress_but_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is."""
    monkeypatch.setattr(session_module, "PROGRESS_INTERVAL_S", math.inf)


async def _publish(hub: Hub, first: int, last: int) -> None:
    await hub.publish(Publication.now("a", [b"%d" % number for number in range(first, last + 1)]))


async def test_a_life_is_recorded_in_order_and_ended_once(
    open_stream: OpenStream, hub: Hub, recorder: Recorder
) -> None:
    opened = await open_stream()
    await _publish(hub, 1, 2)
    await eventually(lambda: recorder.sent == 2)
    opened.pipe.vanish()
    await opened.ended()
    assert recorder.names() == [
        "connection_established",
        "stream_started",
        "log_appended",
        "items_sent",
        "messages_unaccounted",
        "connection_closed",
    ]
    assert recorder.closed == [CloseReason.CLIENT_CLOSED]
    assert recorder.of("messages_unaccounted", "count") == [(0,)]


async def test_the_first_record_opens_the_stream_and_messages_follow_in_order(
    open_stream: OpenStream, hub: Hub, log: MemoryLog
) -> None:
    opened = await open_stream()
    first = opened.pipe.records()[0]
    assert (first["event"], first["id"], first["topic"]) == ("opened", f"{log.epoch}-0", "a")
    await _publish(hub, 1, 3)
    await _publish(hub, 4, 4)
    await eventually(lambda: opened.pipe.data() == [1, 2, 3, 4])


async def test_the_retry_is_jittered_around_its_setting(open_stream: OpenStream) -> None:
    retries = [(await open_stream()).pipe.records()[0]["retry"] for _ in range(20)]
    assert all(isinstance(retry, int) and 1000 <= retry <= 3000 for retry in retries)
    assert len(set(retries)) > 1


async def test_a_finite_replay_is_delivered_summed_up_and_closed(
    open_stream: OpenStream, hub: Hub, recorder: Recorder
) -> None:
    await _publish(hub, 1, 25)
    opened = await open_stream(until="latest")
    await opened.ended()
    assert opened.pipe.records()[0]["total"] == 25
    assert opened.pipe.data() == list(range(1, 26))
    assert opened.pipe.events() == ["opened", "progress", "end"]
    *_, progress, end = opened.pipe.records()
    assert (progress["completed"], progress["total"]) == (25, 25)
    assert (end["reason"], end["reconnect"]) == ("completed", False)
    assert opened.pipe.closed_with == [(CloseReason.COMPLETED, "")]
    ((total,),) = recorder.of("stream_started", "total_items")
    ((summary,),) = recorder.of("stream_completed", "summary")
    assert (total, summary) == (25, {"sent": 25, "dropped": 0})
    assert recorder.closed == [CloseReason.COMPLETED]


async def test_a_finite_replay_of_nothing_is_complete_at_once(
    open_stream: OpenStream, recorder: Recorder
) -> None:
    opened = await open_stream(until="latest")
    await opened.ended()
    assert opened.pipe.events() == ["opened", "progress", "end"]
    assert recorder.closed == [CloseReason.COMPLETED]
    ((completed, total, throughput),) = recorder.of(
        "progress_update", "completed", "total", "throughput"
    )
    assert (completed, total, throughput) == (0, 0, 0)


async def test_a_long_replay_says_how_far_it_is(
    open_stream: OpenStream, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "PROGRESS_INTERVAL_S", 0)
    monkeypatch.setattr("riptide.storage.message_log.READ_MESSAGES", 10)
    await _publish(hub, 1, 30)
    opened = await open_stream(until="latest")
    await opened.ended()
    progress = [r["completed"] for r in opened.pipe.records() if r.get("event") == "progress"]
    assert progress == [10, 20, 30, 30]


async def test_replayed_messages_are_told_from_live_ones(
    open_stream: OpenStream, hub: Hub, recorder: Recorder
) -> None:
    await _publish(hub, 1, 2)
    await open_stream("earliest")
    await eventually(lambda: recorder.sent == 2)
    await _publish(hub, 3, 3)
    await eventually(lambda: recorder.sent == 3)
    sources = recorder.of("items_sent", "count", "source")
    assert sources == [(2, Source.REPLAY), (1, Source.LIVE)]


async def test_what_was_handed_over_is_counted_with_its_bytes_and_its_times(
    open_stream: OpenStream, hub: Hub, recorder: Recorder
) -> None:
    opened = await open_stream()
    await _publish(hub, 1, 3)
    await eventually(lambda: recorder.sent == 3)
    ((size, accepted),) = recorder.of("items_sent", "size_bytes", "accepted_ns")
    assert size == len(opened.pipe.frames[-1])
    assert len(accepted) == 3


async def test_a_client_gone_during_a_blocked_write_was_not_sent_what_was_written(
    open_stream: OpenStream, hub: Hub, recorder: Recorder
) -> None:
    opened = await open_stream()
    opened.pipe.stop_taking()
    await _publish(hub, 1, 3)
    await eventually(lambda: opened.session.writer.blocked_since_ns is not None)
    assert recorder.sent == 0
    opened.pipe.vanish(CloseReason.CLIENT_VANISHED)
    await opened.ended()
    assert recorder.sent == 0
    assert recorder.closed == [CloseReason.CLIENT_VANISHED]
    assert recorder.of("messages_unaccounted", "count") == [(0,)]
    assert len(recorder.of("write_blocked")) == 1


async def test_a_transport_that_raises_ends_for_the_reason_that_the_listener_heard(
    open_stream: OpenStream, hub: Hub, recorder: Recorder
) -> None:
    opened = await open_stream()
    opened.pipe.raising = True
    opened.pipe.stop_taking()
    await _publish(hub, 1, 1)
    await eventually(lambda: opened.session.writer.blocked_since_ns is not None)
    opened.pipe.vanish(CloseReason.CLIENT_CLOSED)
    await opened.ended()
    assert recorder.closed == [CloseReason.CLIENT_CLOSED]
    assert recorder.sent == 0


async def test_a_write_that_had_to_wait_is_recorded_and_counts_once_it_was_taken(
    open_stream: OpenStream, hub: Hub, recorder: Recorder
) -> None:
    opened = await open_stream()
    opened.pipe.stop_taking()
    await _publish(hub, 1, 1)
    await eventually(lambda: opened.session.writer.blocked_since_ns is not None)
    opened.pipe.take_again()
    await eventually(lambda: recorder.sent == 1)
    ((seconds,),) = recorder.of("write_blocked", "seconds")
    assert seconds >= 0
    assert opened.session.writer.blocked_since_ns is None


@pytest.mark.parametrize("raising", [False, True])
async def test_frames_handed_over_before_the_client_went_are_counted_and_no_others(
    open_stream: OpenStream, hub: Hub, recorder: Recorder, *, raising: bool
) -> None:
    class Leaving(Pipe):
        async def write(self, frame: bytes) -> None:
            # The opening, and two messages; the third is written into a closing socket.
            if len(self.frames) == 3:
                self.vanish(CloseReason.CLIENT_VANISHED)
                if raising:
                    raise ConnectionResetError
            await super().write(frame)

    opened = await open_stream(pipe=Leaving(WEBSOCKET))
    await _publish(hub, 1, 5)
    await opened.ended()
    assert recorder.sent == 2
    ((size, accepted),) = recorder.of("items_sent", "size_bytes", "accepted_ns")
    assert size == sum(len(frame) for frame in opened.pipe.frames[1:3])
    assert len(accepted) == 2
    assert recorder.of("messages_unaccounted", "count") == [(0,)]


async def test_a_stalled_client_is_cut_off_without_waiting_for_it_to_take_a_goodbye(
    open_stream: OpenStream, hub: Hub, recorder: Recorder
) -> None:
    opened = await open_stream()
    opened.pipe.stop_taking()
    await _publish(hub, 1, 1)
    await eventually(lambda: opened.session.writer.blocked_since_ns is not None)
    opened.session.end(CloseReason.CLIENT_STALLED)
    opened.session.connection.abort()
    await opened.ended()
    assert recorder.closed == [CloseReason.CLIENT_STALLED]
    assert opened.pipe.events() == ["opened"]
    assert opened.pipe.closed_with == []


async def test_a_goodbye_that_a_client_does_not_take_shows_as_a_blocked_write(
    open_stream: OpenStream, recorder: Recorder
) -> None:
    opened = await open_stream()
    opened.pipe.stop_taking()
    opened.session.end(CloseReason.DRAINING)
    await eventually(lambda: opened.session.writer.blocked_since_ns is not None)
    opened.session.connection.abort()
    await opened.ended()
    assert recorder.closed == [CloseReason.DRAINING]


async def test_the_first_reason_to_end_counts(open_stream: OpenStream, recorder: Recorder) -> None:
    opened = await open_stream()
    opened.session.end(CloseReason.DRAINING)
    opened.session.end(CloseReason.INTERNAL_ERROR, "too late")
    opened.pipe.end_listening(CloseReason.INVALID_FRAME)
    await opened.ended()
    assert recorder.closed == [CloseReason.DRAINING]
    assert opened.pipe.records()[-1]["reason"] == "draining"
    assert opened.pipe.closed_with == [(CloseReason.DRAINING, "")]


async def test_an_orderly_leave_gets_no_goodbye(open_stream: OpenStream) -> None:
    opened = await open_stream()
    opened.pipe.end_listening(CloseReason.CLIENT_CLOSED)
    await opened.ended()
    assert opened.pipe.events() == ["opened"]
    assert opened.pipe.closed_with == []


async def test_a_broken_rule_is_explained_in_the_goodbye(
    open_stream: OpenStream, recorder: Recorder
) -> None:
    opened = await open_stream()
    opened.pipe.end_listening(CloseReason.INVALID_FRAME, "not JSON")
    await opened.ended()
    assert opened.pipe.records()[-1]["detail"] == "not JSON"
    assert opened.pipe.closed_with == [(CloseReason.INVALID_FRAME, "not JSON")]
    assert recorder.closed == [CloseReason.INVALID_FRAME]


async def test_a_listener_that_fails_is_a_fault_of_ours(
    open_stream: OpenStream, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    opened = await open_stream()
    opened.pipe.fail(RuntimeError("a fault"))
    await opened.ended()
    assert recorder.closed == [CloseReason.INTERNAL_ERROR]
    assert "a fault" in caplog.text


async def test_a_write_that_fails_is_a_fault_of_ours_and_cuts_the_connection(
    open_stream: OpenStream, hub: Hub, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Pipe):
        async def write(self, frame: bytes) -> None:
            if self.frames:
                raise RuntimeError("a fault")
            await super().write(frame)

    opened = await open_stream(pipe=Broken())
    await _publish(hub, 1, 1)
    await opened.ended()
    assert opened.pipe.transport.aborted
    assert recorder.closed == [CloseReason.INTERNAL_ERROR]
    assert recorder.sent == 0
    assert "a fault" in caplog.text


async def test_an_opening_that_fails_is_recorded_as_a_life_too(
    open_stream: OpenStream, recorder: Recorder, caplog: pytest.LogCaptureFixture, hub: Hub
) -> None:
    class Shut(Pipe):
        async def open(self) -> None:
            raise RuntimeError("a fault")

    opened = await open_stream(pipe=Shut())
    await opened.ended()
    assert recorder.names() == [
        "connection_established",
        "messages_unaccounted",
        "connection_closed",
    ]
    assert hub.topic_count() == 0
    assert "a fault" in caplog.text


async def test_a_cancelled_session_is_recorded_once_and_leaves_its_topic(
    open_stream: OpenStream, hub: Hub, recorder: Recorder
) -> None:
    opened = await open_stream()
    opened.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opened.task
    assert recorder.closed == [CloseReason.DRAINING]
    assert hub.topic_count() == 0
    assert open_stream.streams.sessions == set()


async def test_a_log_that_cannot_be_read_ends_the_stream_with_a_goodbye(
    recorder: Recorder,
) -> None:
    log = HeldLog(Retention(100, 3600))
    hub = Hub(log, recorder.lifecycle, RingLimits(10, 100_000))
    publishing = asyncio.create_task(hub.publish(Publication.now("a", [b"1"])))
    await turns()
    log.acknowledge()
    await publishing
    open_stream = OpenStream(Streams(hub, recorder.lifecycle, max_connections=1, retry_s=1))
    pipe = Pipe()
    pipe.stop_taking()
    opening = asyncio.create_task(open_stream("earliest", pipe=pipe))
    await eventually(lambda: open_stream.streams.sessions)
    log.broken = True
    pipe.take_again()
    await (await opening).ended()
    assert pipe.records()[-1]["reason"] == "log_failure"
    assert pipe.records()[-1]["detail"] == "the log cannot be read"
    assert pipe.records()[-1]["reconnect"] is True
    assert recorder.closed == [CloseReason.LOG_FAILURE]


async def test_a_consumer_that_falls_off_the_ring_is_disconnected_with_its_cursor(
    open_stream: OpenStream, hub: Hub, log: MemoryLog, recorder: Recorder
) -> None:
    opened = await open_stream()
    await _publish(hub, 1, 1)
    await eventually(lambda: recorder.sent == 1)
    opened.pipe.stop_taking()
    await _publish(hub, 2, 2)
    await eventually(lambda: opened.session.writer.blocked_since_ns is not None)
    await _publish(hub, 3, 20)
    opened.pipe.take_again()
    await opened.ended()
    assert opened.pipe.data() == [1, 2]
    end = opened.pipe.records()[-1]
    assert (end["reason"], end["id"], end["reconnect"]) == ("slow_consumer", f"{log.epoch}-2", True)
    assert recorder.closed == [CloseReason.SLOW_CONSUMER]
    assert recorder.dropped == {}
    again = await open_stream(str(end["id"]))
    await eventually(lambda: again.pipe.data() == list(range(3, 21)))
    assert again.pipe.events() == ["resumed"]


async def test_a_consumer_that_skips_is_told_how_many_it_missed(
    log: MemoryLog, recorder: Recorder
) -> None:
    hub = Hub(log, recorder.lifecycle, RingLimits(3, 100_000), parse_rules("drop_oldest"))
    open_stream = OpenStream(Streams(hub, recorder.lifecycle, max_connections=1, retry_s=1))
    opened = await open_stream()
    await _publish(hub, 1, 1)
    await eventually(lambda: recorder.sent == 1)
    opened.pipe.stop_taking()
    await _publish(hub, 2, 2)
    await eventually(lambda: opened.session.writer.blocked_since_ns is not None)
    await _publish(hub, 3, 9)
    opened.pipe.take_again()
    await eventually(lambda: opened.pipe.data() == [1, 2, 7, 8, 9])
    (dropped,) = [r for r in opened.pipe.records() if r.get("event") == "dropped"]
    assert (dropped["missed"], dropped["id"]) == (4, f"{log.epoch}-6")
    assert recorder.dropped == {DropReason.SLOW_CONSUMER: 4}
    signs = [name for name in recorder.names() if name in {"write_stalled", "items_dropped"}]
    assert signs == ["write_stalled", "items_dropped"], "it shows before anything is lost"
    opened.pipe.vanish()
    await opened.ended()
    assert recorder.of("messages_unaccounted", "count") == [(0,)]


async def test_a_gap_is_told_first_and_counted_as_dropped(recorder: Recorder) -> None:
    log = HeldLog(Retention(2, 3600))
    hub = Hub(log, recorder.lifecycle, RingLimits(10, 100_000))
    publishing = asyncio.create_task(_publish(hub, 1, 5))
    await turns()
    log.acknowledge()
    await publishing
    open_stream = OpenStream(Streams(hub, recorder.lifecycle, max_connections=1, retry_s=1))
    opened = await open_stream(f"{log.epoch}-1", "latest")
    await opened.ended()
    first = opened.pipe.records()[0]
    assert (first["event"], first["missed"], first["total"]) == ("gap", 2, 2)
    assert opened.pipe.data() == [4, 5]
    assert recorder.dropped == {DropReason.EXPIRED: 2}
    assert recorder.of("reconnected", "outcome") == [(ReconnectionOutcome.GAP,)]


async def test_a_heartbeat_is_sent_once_and_carries_the_cursor(
    open_stream: OpenStream, hub: Hub, log: MemoryLog, recorder: Recorder
) -> None:
    opened = await open_stream()
    await _publish(hub, 1, 1)
    await eventually(lambda: recorder.sent == 1)
    before = opened.session.writer.last_write_ns
    opened.session.beat()
    opened.session.beat()
    await eventually(lambda: "heartbeat" in opened.pipe.events())
    await turns()
    assert opened.pipe.events() == ["opened", "heartbeat"]
    beat = opened.pipe.records()[-1]
    assert beat["id"] == f"{log.epoch}-1"
    assert opened.session.writer.last_write_ns > before


async def test_a_second_hello_ends_the_stream_and_begins_another_on_the_connection(
    open_stream: OpenStream, hub: Hub, recorder: Recorder
) -> None:
    await _publish(hub, 1, 2)
    opened = await open_stream(encoding=WEBSOCKET)
    assert opened.pipe.data() == []
    opened.pipe.say(StreamRange(Edge.EARLIEST, finite=True))
    await opened.ended()
    assert opened.pipe.events() == ["opened", "opened", "progress", "end"]
    assert opened.pipe.data() == [1, 2]
    (first, second) = recorder.of("stream_started", "connection_id", "request_id")
    assert first[0] == second[0]
    assert first[1] != second[1]
    assert recorder.of("stream_cancelled", "connection_id", "request_id") == [first]
    assert recorder.of("stream_completed", "request_id") == [(second[1],)]
    assert len(recorder.of("item_received")) == 1
    assert len(recorder.of("connection_established")) == len(recorder.closed) == 1
    assert recorder.of("messages_unaccounted", "count") == [(0,), (0,)]
    assert hub.topic_count() == 0


async def test_of_hellos_in_a_row_the_last_counts(
    open_stream: OpenStream, hub: Hub, recorder: Recorder
) -> None:
    await _publish(hub, 1, 3)
    opened = await open_stream(encoding=WEBSOCKET)
    opened.pipe.say(StreamRange(Edge.EARLIEST, finite=False))
    opened.pipe.say(StreamRange(Edge.LATEST, finite=True))
    await opened.ended()
    assert opened.pipe.data() == []
    assert recorder.closed == [CloseReason.COMPLETED]


async def test_a_hello_during_a_blocked_write_is_answered_after_it(
    open_stream: OpenStream, hub: Hub, log: MemoryLog
) -> None:
    opened = await open_stream(encoding=WEBSOCKET)
    opened.pipe.stop_taking()
    await _publish(hub, 1, 3)
    await eventually(lambda: opened.session.writer.blocked_since_ns is not None)
    opened.pipe.say(StreamRange(MessageId(log.epoch, 2), finite=False))
    await turns()
    opened.pipe.take_again()
    await eventually(lambda: opened.pipe.data()[-1:] == [3] and len(opened.pipe.data()) == 4)
    assert opened.pipe.data() == [1, 2, 3, 3]
    assert opened.pipe.events() == ["opened", "resumed"]


async def test_a_hello_that_the_log_cannot_answer_ends_the_connection(
    recorder: Recorder,
) -> None:
    log = HeldLog(Retention(2, 3600))
    hub = Hub(log, recorder.lifecycle, RingLimits(10, 100_000))
    open_stream = OpenStream(Streams(hub, recorder.lifecycle, max_connections=1, retry_s=1))
    opened = await open_stream(encoding=WEBSOCKET)
    log.broken = True
    opened.pipe.say(StreamRange(Edge.EARLIEST, finite=False))
    await opened.ended()
    assert recorder.closed == [CloseReason.LOG_FAILURE]
    assert recorder.of("messages_unaccounted", "count") == [(0,)]
    assert hub.topic_count() == 0


async def test_a_large_batch_of_frames_lets_others_have_their_turn(
    open_stream: OpenStream, monkeypatch: pytest.MonkeyPatch, log: MemoryLog
) -> None:
    monkeypatch.setattr(session_module, "FRAMES_PER_TURN", 5)
    log.append(published("a", [b"%d" % n for n in range(1, 101)], 2**62))
    pipe = Pipe(WEBSOCKET)
    opening = asyncio.create_task(open_stream("earliest", pipe=pipe))
    longest = last = 0
    while last < 101:
        await asyncio.sleep(0)
        longest, last = max(longest, len(pipe.frames) - last), len(pipe.frames)
    await opening
    assert longest <= 6


def _bodies(pipe: Pipe) -> list[bytes]:
    """Return the lines that were written past the server, chunk by chunk."""
    return [chunk.split(b"\r\n", 1)[1].strip() for chunk in pipe.transport.written]


async def test_what_is_live_goes_to_the_socket_and_after_the_first_without_the_task(
    open_stream: OpenStream, hub: Hub, recorder: Recorder
) -> None:
    opened = await open_stream(pipe=Pipe(direct=True))
    for number in range(1, 4):
        await _publish(hub, number, number)
        await eventually(lambda number=number: recorder.sent == number)  # type: ignore[misc]  # bound at once
    assert [orjson.loads(body)["data"] for body in _bodies(opened.pipe)] == [1, 2, 3]
    assert opened.pipe.data() == []
    assert len(recorder.of("items_sent")) == 1
    for topic, count, size, written in recorder.of(
        "items_fanned_out", "topic", "count", "size_bytes", "written_ns"
    ):
        assert (topic, count, len(written)) == ("a", 1, 1)
        assert size == len(_bodies(opened.pipe)[-1]) + 1
    *_, (written,) = recorder.of("items_fanned_out", "written_ns")
    assert opened.session.writer.last_write_ns == written[-1]


async def test_a_client_without_room_gets_the_rest_in_one_write_once_it_has(
    open_stream: OpenStream, hub: Hub, recorder: Recorder
) -> None:
    opened = await open_stream(pipe=Pipe(direct=True))
    await _publish(hub, 1, 1)
    await eventually(lambda: recorder.sent == 1)
    opened.pipe.stop_taking()
    await _publish(hub, 2, 4)
    await eventually(lambda: opened.session.writer.blocked_since_ns is not None)
    assert recorder.sent == 1
    opened.pipe.take_again()
    await eventually(lambda: recorder.sent == 4)
    assert len(opened.pipe.transport.written) <= 3
    assert len(recorder.of("write_blocked")) == 1
    # What its task writes after the first is recorded with what others are given.
    assert len(recorder.of("items_sent")) == 1
    await _publish(hub, 5, 5)
    await eventually(lambda: recorder.sent == 5)
    lines = b"\n".join(_bodies(opened.pipe)).splitlines()
    assert [orjson.loads(line)["data"] for line in lines] == [1, 2, 3, 4, 5]


async def test_what_a_client_without_room_gets_is_decided_once_it_has(
    log: MemoryLog, recorder: Recorder
) -> None:
    hub = Hub(log, recorder.lifecycle, RingLimits(3, 100_000), parse_rules("latest"))
    open_stream = OpenStream(Streams(hub, recorder.lifecycle, max_connections=1, retry_s=1))
    opened = await open_stream(pipe=Pipe(direct=True))
    await _publish(hub, 1, 1)
    await eventually(lambda: recorder.sent == 1)
    opened.pipe.stop_taking()
    await _publish(hub, 2, 3)
    await eventually(lambda: opened.session.writer.blocked_since_ns is not None)
    await _publish(hub, 4, 9)
    opened.pipe.take_again()
    await eventually(lambda: recorder.sent == 2)
    lines = b"\n".join(_bodies(opened.pipe)).splitlines()
    assert [orjson.loads(line)["data"] for line in lines] == [1, 9]
    assert recorder.dropped == {DropReason.CONFLATED: 7}
    opened.pipe.vanish()
    await opened.ended()
    assert recorder.of("messages_unaccounted", "count") == [(0,)]


async def test_a_full_buffer_is_no_wait_while_there_is_nothing_to_write(
    open_stream: OpenStream, hub: Hub, recorder: Recorder
) -> None:
    opened = await open_stream(pipe=Pipe(direct=True))
    opened.pipe.stop_taking()
    opened.session.beat()
    opened.pipe.take_again()
    await eventually(lambda: "heartbeat" in opened.pipe.events())
    opened.pipe.stop_taking()
    await turns(20)
    assert opened.session.writer.blocked_since_ns is None
    opened.pipe.take_again()
    await _publish(hub, 1, 1)
    await eventually(lambda: recorder.sent == 1)
    assert recorder.of("write_stalled") == []


async def test_a_client_gone_while_it_had_no_room_was_not_sent_what_waited(
    open_stream: OpenStream, hub: Hub, recorder: Recorder
) -> None:
    opened = await open_stream(pipe=Pipe(direct=True))
    opened.pipe.stop_taking()
    await _publish(hub, 1, 3)
    await eventually(lambda: opened.session.writer.blocked_since_ns is not None)
    opened.pipe.vanish(CloseReason.CLIENT_VANISHED)
    await opened.ended()
    assert recorder.sent == 0
    assert recorder.closed == [CloseReason.CLIENT_VANISHED]
    assert recorder.of("messages_unaccounted", "count") == [(0,)]


async def test_a_socket_that_closes_while_its_client_flows_ends_the_stream(
    open_stream: OpenStream, hub: Hub, recorder: Recorder
) -> None:
    opened = await open_stream(pipe=Pipe(direct=True))
    await _publish(hub, 1, 1)
    await eventually(lambda: recorder.sent == 1)
    opened.pipe.transport.closing = True
    await _publish(hub, 2, 2)
    opened.pipe.vanish()
    await opened.ended()
    assert recorder.sent == 1
    assert recorder.closed == [CloseReason.CLIENT_CLOSED]


async def test_a_write_that_fails_ends_its_own_stream_and_no_other(
    open_stream: OpenStream, hub: Hub, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    broken, whole = [await open_stream(pipe=Pipe(direct=True)) for _ in range(2)]
    await _publish(hub, 1, 1)
    await eventually(lambda: recorder.sent == 2)
    broken.pipe.transport.failing = True
    await _publish(hub, 2, 2)
    await broken.ended()
    assert recorder.closed == [CloseReason.INTERNAL_ERROR]
    assert len(whole.pipe.transport.written) == 2
    assert recorder.sent == 3
    assert "writing to a client failed" in caplog.text


async def test_a_finite_stream_goes_to_the_socket_too_but_is_never_fanned_out_to(
    open_stream: OpenStream, hub: Hub, recorder: Recorder
) -> None:
    await _publish(hub, 1, 5)
    opened = await open_stream(until="latest", pipe=Pipe(direct=True))
    await opened.ended()
    lines = b"\n".join(_bodies(opened.pipe)).splitlines()
    assert [orjson.loads(line)["data"] for line in lines] == [1, 2, 3, 4, 5]
    assert recorder.of("items_fanned_out") == []
    assert recorder.closed == [CloseReason.COMPLETED]
