"""The open streams of this process: who is let in, who is there."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from riptide.admission.admission import Admission, Limits
from riptide.admission.client import UNKNOWN, Client
from riptide.errors import (
    AcceptRateError,
    AddressLimitError,
    AddressRateError,
    ConnectionLimitError,
    DrainingError,
    ForbiddenError,
    IdentityLimitError,
    InvalidPositionError,
    InvalidTopicError,
    KeysUnavailableError,
    LogUnavailableError,
    OriginError,
    ProblemError,
    UnauthenticatedError,
    UnknownHostError,
    UpgradeRequiredError,
)
from riptide.hub.stream_range import parse_range
from riptide.message import check_topic
from riptide.streaming.session import StreamSession
from riptide_telemetry import RejectReason

if TYPE_CHECKING:
    from riptide.hub.hub import Hub
    from riptide.streaming.outlet import Outlet
    from riptide_telemetry import Lifecycle, Protocol

# What an open stream adds to the resident set when idle, its write buffer aside: measured over
# 2,000 streams as 17.6 kB with HTTP and 20.0 kB with WebSocket, the server's own objects included.
SESSION_BYTES = 18_000
RETRY_AFTER_S = 5
REJECTIONS: dict[type[ProblemError], RejectReason] = {
    AcceptRateError: RejectReason.ACCEPT_RATE,
    AddressLimitError: RejectReason.ADDRESS_LIMIT,
    AddressRateError: RejectReason.ADDRESS_RATE,
    ConnectionLimitError: RejectReason.CONNECTION_LIMIT,
    DrainingError: RejectReason.DRAINING,
    ForbiddenError: RejectReason.FORBIDDEN,
    IdentityLimitError: RejectReason.IDENTITY_LIMIT,
    InvalidPositionError: RejectReason.INVALID_REQUEST,
    InvalidTopicError: RejectReason.INVALID_REQUEST,
    KeysUnavailableError: RejectReason.UNAUTHENTICATED,
    LogUnavailableError: RejectReason.LOG_FAILURE,
    OriginError: RejectReason.ORIGIN,
    UnauthenticatedError: RejectReason.UNAUTHENTICATED,
    UnknownHostError: RejectReason.ORIGIN,
    UpgradeRequiredError: RejectReason.INVALID_REQUEST,
}


class Streams:
    """Serves streams while there is room, and knows all that are open."""

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
        # What waits in write buffers, as last added up (see Heartbeat).
        self.buffered_bytes = 0
        self.limit = max_connections
        self._hub = hub
        self._lifecycle = lifecycle
        self._retry_s = retry_s
        self._admission = admission or Admission(Limits())
        self._places_taken = 0
        self._empty = asyncio.Event()
        self._empty.set()

    async def serve(  # noqa: PLR0913  # what a client asks for, and what is known of it
        self,
        outlet: Outlet,
        topic: str,
        after: str | None,
        until: str | None,
        traceparent: str = "",
        *,
        client: Client = UNKNOWN,
        expires_at: float = math.inf,
    ) -> None:
        """Open a stream for the client and serve it to its end, or until it expires (Unix time).

        The client may have a trace of its own.

        Raises:
            ProblemError: it was refused, and nothing has been sent.

        """
        self._places_taken += 1
        entered = False
        try:
            try:
                self._check_room()
                self._admission.enter(client)
                entered = True
                wanted = parse_range(after, until)
                start = await self._hub.subscribe(check_topic(topic), outlet.encoding, wanted)
                if self.draining:
                    self._hub.unsubscribe(start.subscription)
                    self._check_room()
            except ProblemError as problem:
                self.count_refusal(outlet.encoding.protocol, problem)
                raise
            session = StreamSession(outlet, self._hub, self._lifecycle, self._retry_s)
            session.expires_at = expires_at
            self.sessions.add(session)
            self._empty.clear()
            try:
                await session.run(start, traceparent)
            finally:
                self.sessions.discard(session)
                if not self.sessions:
                    self._empty.set()
        finally:
            self._places_taken -= 1
            if entered:
                self._admission.leave(client)

    def count_refusal(self, protocol: Protocol, problem: ProblemError) -> None:
        """Record that a stream was refused, and why."""
        self._lifecycle.connection_rejected(protocol, REJECTIONS[type(problem)])

    async def wait_until_empty(self) -> None:
        """Return when no session is open."""
        await self._empty.wait()

    def memory_bytes(self) -> int:
        """Return the bytes of all sessions and their write buffers; from any thread."""
        # Called by a scrape, which is not to go round 10,000 sockets.
        return self.buffered_bytes + SESSION_BYTES * len(self.sessions)

    def _check_room(self) -> None:
        if self.draining:
            raise DrainingError(
                "the server is shutting down: connect again, to another one if there is one",
                retry_after=RETRY_AFTER_S,
            )
        if self._places_taken > self.limit:
            raise ConnectionLimitError(
                f"all {self.limit} places for streams are taken: try again later, "
                "or raise RIPTIDE_MAX_CONNECTIONS (or the limit of open files, if that is lower)",
                retry_after=RETRY_AFTER_S,
            )
