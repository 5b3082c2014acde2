"""The life of one connection: opened, fed, and recorded as closed in exactly one place."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from riptide.errors import LogUnavailableError
from riptide.hub.batch import Batch
from riptide.hub.subscription import Finished, Missed, Overrun
from riptide.streaming import control
from riptide.streaming.writer import Writer
from riptide_telemetry import CloseReason, ConnectionTotals, DropReason, MessageBatch, Source

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from riptide.encoding.envelope import Control
    from riptide.hub.hub import Hub, Start
    from riptide.hub.stream_range import StreamRange
    from riptide.streaming.outlet import Outlet
    from riptide.streaming.stream_request import StreamRequest
    from riptide_telemetry import Lifecycle

logger = logging.getLogger("riptide.stream")

PROGRESS_INTERVAL_S = 0.5
# Frames written before other tasks get a turn. An HTTP body takes a whole batch as one frame.
FRAMES_PER_TURN = 64
CLIENT_GONE = {CloseReason.CLIENT_CLOSED, CloseReason.CLIENT_VANISHED}


class SessionContext(NamedTuple):
    """The parts that all sessions of a process share.

    ``retry_s`` is about how long clients are asked to wait before they reconnect, in seconds.
    """

    hub: Hub
    lifecycle: Lifecycle
    retry_s: float


class StreamSession:
    """One connection and the stream on it (over WebSocket: the streams, one after another).

    A call of ``end`` makes the connection end; the first reason counts. The task that awaits
    ``run`` writes to the connection, and so does the fan-out, through ``take``, while that task
    waits.
    """

    __slots__ = (
        "_dropped_before",
        "_ending",
        "_first",
        "_heartbeat_due",
        "_hello",
        "_hub",
        "_lifecycle",
        "_listener",
        "_outlet",
        "_progress_shown",
        "_request_id",
        "_retry_s",
        "_sent_before",
        "_size_bytes",
        "_started",
        "_stream_count",
        "_subscription",
        "_traceparent",
        "connection",
        "expires_at",
        "id",
        "writer",
    )

    def __init__(
        self, outlet: Outlet, context: SessionContext, start: Start, request: StreamRequest
    ) -> None:
        self.id = secrets.token_hex(8)
        self.connection = outlet.connection
        # In Unix time, which is the clock that the issuer of the client's token shares.
        self.expires_at = request.expires_at
        self._traceparent = request.traceparent
        self._outlet = outlet
        self._hub, self._lifecycle, self._retry_s = context
        self.writer = Writer(outlet, self._lifecycle, self.id)
        self._first = start
        self._subscription = start.subscription
        self._listener: asyncio.Task[None] | None = None
        self._ending: tuple[CloseReason, str] | None = None
        self._hello: StreamRange | None = None
        self._heartbeat_due = False
        self._stream_count = 0
        self._request_id = ""
        self._started = self._progress_shown = 0.0
        # Messages sent and dropped on earlier streams; bytes of all streams, the current one too.
        self._sent_before = self._dropped_before = self._size_bytes = 0

    async def run(self) -> None:
        """Serve the connection to its end."""
        protocol, topic = self._outlet.encoding.protocol, self._subscription.topic
        self._lifecycle.connection_established(self.id, protocol, topic, self._traceparent)
        self._listener = asyncio.create_task(self._listen())
        reason = CloseReason.INTERNAL_ERROR
        try:
            await self._outlet.open()
            reason = await self._serve()
        except OSError:
            # The client had gone before its stream was open.
            reason = self._ending[0] if self._ending else CloseReason.CLIENT_VANISHED
        except asyncio.CancelledError:
            reason = self._ending[0] if self._ending else CloseReason.DRAINING
            raise
        except Exception:
            logger.exception("a stream of topic %s failed", topic)
            self.connection.abort()
        finally:
            self._listener.cancel()
            self._hub.unsubscribe(self._subscription)
            self._lifecycle.connection_closed(self.id, reason, self._totals())

    def end(self, reason: CloseReason, detail: str = "") -> None:
        """Make the connection end. The first reason given stays."""
        if self._ending is None:
            self._ending = (reason, detail)
            self._subscription.wake()

    def beat(self) -> None:
        """Make the session send a heartbeat, unless it sends something else first."""
        self._heartbeat_due = True
        self._subscription.wake()

    def lag_ns(self) -> int:
        """Return for how long the consumer's next message has waited.

        It is 0 for a consumer that is not expected at the head: one that reads a finite stream, or
        reads the topic for the first time and gains ground.
        """
        subscription = self._subscription
        return 0 if subscription.catching_up else subscription.lag_ns()

    async def _listen(self) -> None:
        try:
            self.end(*await self._outlet.listen(self._restart_at))
        except Exception:
            logger.exception("listening to a client failed")
            self.end(CloseReason.INTERNAL_ERROR)

    def _restart_at(self, wanted: StreamRange) -> None:
        self._lifecycle.item_received(self.id)
        self._hello = wanted
        self._subscription.wake()

    async def _serve(self) -> CloseReason:
        await self._begin(self._first)
        while self._ending is None:
            try:
                if self._hello is not None:
                    await self._restart(self._hello)
                elif self._heartbeat_due:
                    cursor = self._hub.cursor_id(self._subscription)
                    now = datetime.now(UTC).isoformat(timespec="milliseconds")
                    await self._say(control.heartbeat(cursor, now))
                else:
                    await self._step()
            except LogUnavailableError as error:
                self.end(CloseReason.LOG_FAILURE, error.detail)
        reason, detail = self._ending
        if reason not in CLIENT_GONE:
            await self._say_goodbye(reason, detail)
        return reason

    def _totals(self) -> ConnectionTotals:
        subscription = self._subscription
        return ConnectionTotals(
            self._sent_before + subscription.sent,
            self._dropped_before + subscription.dropped,
            self._size_bytes,
        )

    async def _step(self) -> None:
        if self._outlet.direct and not self.writer.has_room and self._subscription.queued:
            # What the client is sent is decided once there is room for it. Until then the session
            # keeps no batch alive.
            await self.writer.wait_for_room()
            return
        step = await self._subscription.next()
        match step:
            case Batch():
                await self._send(step)
            case Missed():
                self._lifecycle.items_dropped(self.id, step.reason, step.message_count)
                await self._say(control.missed(step, self._hub.cursor_id(self._subscription)))
            case Overrun():
                self.end(CloseReason.SLOW_CONSUMER, step.detail)
            case Finished():
                await self._finish()
            case None:
                pass

    async def _begin(self, start: Start) -> None:
        """Start a stream on the connection: record it, and send its first record."""
        self._subscription = start.subscription
        self._stream_count += 1
        self._request_id = f"{self.id}-{self._stream_count}"
        self._started = self._progress_shown = time.monotonic()
        record = control.opening(
            start,
            self._hub.cursor_id(start.subscription),
            start.subscription.topic,
            control.jittered_ms(self._retry_s),
        )
        self._lifecycle.stream_started(self.id, self._request_id, record.get("total"))
        if start.reconnection is not None:
            self._lifecycle.reconnected(self.id, start.reconnection)
        if start.missed_count:
            self._lifecycle.items_dropped(self.id, DropReason.EXPIRED, start.missed_count)
        await self._say(record)

    async def _restart(self, wanted: StreamRange) -> None:
        self._hello = None
        start = await self._hub.subscribe(self._subscription.topic, self._outlet.encoding, wanted)
        self._hub.unsubscribe(self._subscription)
        self._sent_before += self._subscription.sent
        self._dropped_before += self._subscription.dropped
        self._lifecycle.stream_cancelled(self.id, self._request_id)
        await self._begin(start)

    async def _finish(self) -> None:
        await self._report_progress()
        summary = {"sent": self._subscription.sent, "dropped": self._subscription.dropped}
        self._lifecycle.stream_completed(self.id, self._request_id, summary)
        self.end(CloseReason.COMPLETED)

    def take(self, batch: Batch, now_ns: int) -> bool:
        """Write a live batch at once, if the client's write buffer has room (see ``Taker``)."""
        connection = self.connection
        if not connection.writable.is_open or connection.is_gone():
            return False
        try:
            connection.write(batch.wire)
        except Exception:
            logger.exception("writing to a client failed")
            self.end(CloseReason.INTERNAL_ERROR)
            return False
        self.writer.last_write_ns = now_ns
        self._size_bytes += batch.size_bytes
        return True

    async def _send(self, batch: Batch) -> None:
        """Write a batch. Only what was handed to the transport counts as sent."""
        if self._outlet.direct:
            await self._send_whole(batch)
        else:
            await self._send_frames(batch)
        if (
            self._subscription.until is not None
            and time.monotonic() - self._progress_shown >= PROGRESS_INTERVAL_S
        ):
            await self._report_progress()

    async def _send_whole(self, batch: Batch) -> None:
        if not await self._hand_over(self.writer.write_directly(batch.wire)):
            return
        subscription = self._subscription
        if subscription.taker is not None and subscription.source() is Source.LIVE:
            subscription.wrote(batch, self.writer.last_write_ns)
            self._size_bytes += batch.size_bytes
        else:
            self._count(batch, 0, batch.count, batch.size_bytes)
        if subscription.until is None:
            # The first batch is recorded (time to first message), so the fan-out may write directly
            # from now on.
            subscription.taker = self

    async def _send_frames(self, batch: Batch) -> None:
        per_frame = batch.count // len(batch.frames)
        handed = counted = size = 0
        try:
            for position, frame in enumerate(batch.frames, 1):
                if not self.writer.has_room and handed > counted:
                    # The next write may wait long, so the frames before it are counted now.
                    self._count(batch, counted, handed, size)
                    counted, size = handed, 0
                if not await self._hand_over(self.writer.write(frame)):
                    break
                handed += per_frame
                size += len(frame)
                if not position % FRAMES_PER_TURN:
                    await asyncio.sleep(0)
        finally:
            # Whatever ends the loop, the frames that were handed over count.
            if handed > counted:
                self._count(batch, counted, handed, size)

    def _count(self, batch: Batch, start: int, end: int, size: int) -> None:
        """Count the messages of a batch from one position to another as sent."""
        source, count = self._subscription.source(), end - start
        sent: MessageBatch = batch
        if count != batch.count:
            sent = MessageBatch(count, size, batch.accepted_ns[start:end])
        self._subscription.advance(batch, start, end)
        self._size_bytes += size
        self._lifecycle.items_sent(self.id, sent, source)

    async def _report_progress(self) -> None:
        self._progress_shown = time.monotonic()
        completed, total = (
            self._subscription.sent,
            self._subscription.sent + self._subscription.queued,
        )
        elapsed = self._progress_shown - self._started
        self._lifecycle.progress_update(
            self.id, self._request_id, completed, total, completed / elapsed if elapsed else 0.0
        )
        cursor = self._hub.cursor_id(self._subscription)
        await self._say(control.progress(cursor, completed, total))

    async def _say(self, record: Control) -> bool:
        return await self._hand_over(
            self.writer.write(self._outlet.encoding.encode_control(record))
        )

    async def _say_goodbye(self, reason: CloseReason, detail: str) -> None:
        cursor = self._hub.cursor_id(self._subscription)
        retry_ms = control.jittered_ms(self._retry_s)
        if await self._say(control.ending(reason, cursor, detail, retry_ms)):
            await self._outlet.close(reason, detail)

    async def _hand_over(self, write: Awaitable[bool]) -> bool:
        """Await a write. If the client has gone, wait until its end is known and return False."""
        if await write:
            self._heartbeat_due = False
            return True
        # The socket is closing, and the listener is about to say why. A client that has closed but
        # does not take its data delays this, so it counts as blocked, as in a write.
        self.writer.blocked_since_ns = self.writer.blocked_since_ns or time.monotonic_ns()
        if self._listener is not None:
            await asyncio.wait([self._listener])
        return False
