"""The open streams of this process, and the limits on opening more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NoReturn

from riptide.admission.admission import Admission, Limits
from riptide.errors import ConnectionLimitError, DrainingError, ProblemError
from riptide.hub.stream_range import parse_range
from riptide.message import check_topic
from riptide.streaming.lag_survey import LagSurvey
from riptide.streaming.session import SessionContext, StreamSession

if TYPE_CHECKING:
    from riptide.hub.hub import Hub, Start
    from riptide.streaming.outlet import Outlet
    from riptide.streaming.stream_request import StreamRequest
    from riptide_telemetry import Lifecycle

# Bytes that an idle open stream adds to the resident set, without its write buffer but with the
# server's own objects: measured over 2,000 streams as 17.6 kB with HTTP and 20.0 kB with WebSocket.
SESSION_BYTES = 18_000
RETRY_AFTER_S = 5


class Streams:
    """Serves streams while there is room, and knows all that are open in this process.

    With several workers, the limit is that of all together. ``limit`` is what this process may
    have: the same, or fewer if it may open fewer files.
    """

    def __init__(
        self,
        hub: Hub,
        lifecycle: Lifecycle,
        *,
        max_connections: int,
        retry_s: float,
        admission: Admission | None = None,
    ) -> None:
        self.sessions: set[StreamSession] = set()
        self.draining = False
        # Bytes in all write buffers, as the last round of ``Heartbeat`` added them up.
        self.buffered_bytes = 0
        # How far behind the consumers were in that round.
        self.lags = LagSurvey()
        self.limit = max_connections
        self._max_connections = max_connections
        self._hub = hub
        self._lifecycle = lifecycle
        self._context = SessionContext(hub, lifecycle, retry_s)
        self._admission = admission or Admission(Limits())
        self._share = self._admission.share
        self._places_taken = 0
        self._empty = asyncio.Event()
        self._empty.set()

    async def serve(self, outlet: Outlet, request: StreamRequest) -> None:
        """Open a stream for a client and serve it to its end.

        Raises:
            ProblemError: the stream was refused, and nothing has been sent. The refusal has been
                counted.

        """
        self._count(1)
        entered = False
        try:
            try:
                self._check_room()
                self._admission.enter(request.client)
                entered = True
                start = await self._subscribe(outlet, request)
            except ProblemError as problem:
                self._lifecycle.connection_rejected(outlet.encoding.protocol, problem.reject_reason)
                raise
            session = StreamSession(outlet, self._context, start, request)
            self.sessions.add(session)
            self._empty.clear()
            try:
                await session.run()
            finally:
                self.sessions.discard(session)
                if not self.sessions:
                    self._empty.set()
        finally:
            self._count(-1)
            if entered:
                self._admission.leave(request.client)

    async def wait_until_empty(self) -> None:
        """Return when no session is open."""
        await self._empty.wait()

    def own_limit(self) -> int:
        """Return how many streams this process is to have: with workers, its part of the limit."""
        if self._share is None:
            return self.limit
        return min(self.limit, self._share.part_of(self._max_connections))

    def describe(self) -> str:
        """Return how many streams are open, of how many; with workers, in all of them."""
        if self._share is None:
            return f"{len(self.sessions)} of {self.limit}"
        return f"{self._share.streams()} of {self._max_connections} in all workers"

    def memory_bytes(self) -> int:
        """Return the bytes of all sessions and their write buffers. Any thread may call this."""
        # Scrapes call this, and reading the buffers of 10,000 sockets would take them too long.
        return self.buffered_bytes + SESSION_BYTES * len(self.sessions)

    async def _subscribe(self, outlet: Outlet, request: StreamRequest) -> Start:
        wanted = parse_range(request.after, request.until)
        start = await self._hub.subscribe(check_topic(request.topic), outlet.encoding, wanted)
        if self.draining:
            self._hub.unsubscribe(start.subscription)
            self._check_room()
        return start

    def _check_room(self) -> None:
        if self.draining:
            raise DrainingError(
                "the server is shutting down: connect again, to another one if there is one",
                retry_after=RETRY_AFTER_S,
            )
        if self._places_taken > self.limit:
            self._refuse(self.limit)
        if self._share is not None and self._share.streams() > self._max_connections:
            self._refuse(self._max_connections)

    def _count(self, change: int) -> None:
        self._places_taken += change
        if self._share is not None:
            self._share.show_streams(self._places_taken)

    def _refuse(self, places: int) -> NoReturn:
        raise ConnectionLimitError(
            f"all {places} places for streams are taken: try again later, "
            "or raise RIPTIDE_MAX_CONNECTIONS (or the limit of open files, if that is lower)",
            retry_after=RETRY_AFTER_S,
        )
