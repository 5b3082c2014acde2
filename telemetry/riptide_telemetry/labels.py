"""The closed sets of label values, so that clients cannot add series.

Only two labels have other values: ``topic`` (the operator's allow-list) and ``version``.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self


class ClosedSet(str, Enum):
    """A string enum like ``enum.StrEnum``, which Python 3.10 lacks."""

    __str__ = str.__str__
    # ``Enum.__hash__`` is a Python function: it would be half of the cost of counting by a label.
    __hash__ = str.__hash__


class StreamProtocol(ClosedSet):
    """How a consumer reads its stream."""

    NDJSON = "ndjson"
    SSE = "sse"
    WEBSOCKET = "websocket"


class Source(ClosedSet):
    """Whether a message was published after its consumer joined (live) or before (replay)."""

    LIVE = "live"
    REPLAY = "replay"


class ReconnectionOutcome(ClosedSet):
    """What a consumer that gave a position to resume from was told first."""

    RESUMED = "resumed"
    GAP = "gap"
    RESET = "reset"


class PublishOutcome(ClosedSet):
    """What became of a message that a publisher offered."""

    ACCEPTED = "accepted"
    INVALID = "invalid"
    TOO_LARGE = "too_large"
    RATE_LIMITED = "rate_limited"
    TOPIC_LIMIT = "topic_limit"
    BODY_LIMIT = "body_limit"
    LOG_FAILURE = "log_failure"
    UNCERTAIN = "uncertain"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    INTERNAL_ERROR = "internal_error"


PUBLISH_FAILURES = (
    PublishOutcome.LOG_FAILURE,
    PublishOutcome.UNCERTAIN,
    PublishOutcome.INTERNAL_ERROR,
)
"""The outcomes for which the service is to blame, and not the publisher or a limit."""


class DropReason(ClosedSet):
    """Why a message that a consumer was owed will never reach it."""

    SLOW_CONSUMER = "slow_consumer"
    CONFLATED = "conflated"
    EXPIRED = "expired"
    DAMAGED = "damaged"


class RejectReason(ClosedSet):
    """Why a stream was refused before it began."""

    CONNECTION_LIMIT = "connection_limit"
    ADDRESS_LIMIT = "address_limit"
    IDENTITY_LIMIT = "identity_limit"
    ADDRESS_RATE = "address_rate"
    ACCEPT_RATE = "accept_rate"
    DRAINING = "draining"
    INVALID_REQUEST = "invalid_request"
    LOG_FAILURE = "log_failure"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    ORIGIN = "origin"


class ServicePart(ClosedSet):
    """A part of the service that runs for as long as the service does, and that a fault may end."""

    HEARTBEAT = "heartbeat"
    WRITE_TIMEOUT = "write_timeout"
    EVENT_LOOP_MONITOR = "event_loop_monitor"
    KEY_REFRESH = "key_refresh"
    CERTIFICATE_RENEWAL = "certificate_renewal"
    DESCRIPTOR_WATCH = "descriptor_watch"
    MEMORY_TRIM = "memory_trim"
    METRICS_SERVER = "metrics_server"
    LOG_WRITER = "log_writer"
    LOG_CHECKPOINTS = "log_checkpoints"
    LOG_WATCH = "log_watch"
    LOG_LOSS = "log_loss"
    LOG_SERVER = "log_server"
    APPEND_TIMEOUT = "append_timeout"
    FAN_OUT = "fan_out"
    DRAIN = "drain"
    CALLBACK = "callback"


class TokenOutcome(ClosedSet):
    """What the check of a token found: that it is accepted, or the first thing that is wrong."""

    ACCEPTED = "accepted"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    BAD_SIGNATURE = "bad_signature"
    UNKNOWN_KEY = "unknown_key"
    UNKNOWN_ALGORITHM = "unknown_algorithm"
    WRONG_AUDIENCE = "wrong_audience"
    WRONG_ISSUER = "wrong_issuer"
    BAD_CLAIM = "bad_claim"
    MALFORMED = "malformed"
    KEYS_UNAVAILABLE = "keys_unavailable"


class ReadingOutcome(ClosedSet):
    """Whether a source of keys could be read."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"


class LagBound(ClosedSet):
    """How long the next message of a consumer has waited at least, in ``seconds``."""

    seconds: float

    SECOND = ("second", 1)
    FIVE_SECONDS = ("five_seconds", 5)
    HALF_MINUTE = ("half_minute", 30)
    MINUTE = ("minute", 60)
    FIVE_MINUTES = ("five_minutes", 300)
    HOUR = ("hour", 3600)

    def __new__(cls, value: str, seconds: float) -> Self:
        """Make a member whose value is the label."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.seconds = seconds
        return member


class Signal(ClosedSet):
    """A kind of telemetry that can be exported over OTLP."""

    METRICS = "metrics"
    TRACES = "traces"
    LOGS = "logs"


class RecordOutcome(ClosedSet):
    """What became of a record that an instance had the servers of its log store, or of a try."""

    STORED = "stored"
    """The servers said so."""
    RECOVERED = "recovered"
    """It was stored, as was found out, though no answer had come."""
    CONFLICT = "conflict"
    """Another instance was quicker: it is written anew behind that one's record."""
    RETRIED = "retried"
    """A try that repeats one which failed, or which had no answer."""
    UNCERTAIN = "uncertain"
    """It was given up, and may be stored."""
    FAILED = "failed"
    """It was given up, and is not stored."""


class MessageOrigin(ClosedSet):
    """Whether this instance accepted a message, or another one that shares the log."""

    HERE = "here"
    ELSEWHERE = "elsewhere"


class GapSign(ClosedSet):
    """What showed that the log has messages of which a process was not told."""

    NUMBER = "number"
    """The next message was not the next by its number."""
    RECONNECT = "reconnect"
    """The log was reached again, and was further."""
    SWEEP = "sweep"
    """The newest messages are looked at again and again."""


class StreamOutcome(ClosedSet):
    """How a stream ended: complete, by an error, or because one side gave it up."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ErrorType(ClosedSet):
    """What went wrong on a stream."""

    PROTOCOL = "protocol"
    SLOW_CONSUMER = "slow_consumer"
    LOG_FAILURE = "log_failure"
    INTERNAL = "internal"


class CloseReason(ClosedSet):
    """Every way in which a connection can end.

    Each member has a ``websocket_code`` (RFC 6455, section 7.4, and IANA's registry; the code that
    we send, or the one that stands for what the client did), the ``outcome`` of the streams that
    were open, an ``error_type`` (None if the end is no error), ``reconnect`` (whether the client
    should come back) and a ``meaning``, which clients and operators see.
    """

    websocket_code: int
    outcome: StreamOutcome
    error_type: ErrorType | None
    reconnect: bool
    meaning: str

    COMPLETED = (
        "completed",
        1000,
        StreamOutcome.COMPLETED,
        None,
        False,
        "a finite stream delivered everything it had promised",
    )
    CLIENT_CLOSED = (
        "client_closed",
        1000,
        StreamOutcome.CANCELLED,
        None,
        False,
        "the client closed its side in an orderly way",
    )
    CLIENT_VANISHED = (
        "client_vanished",
        1006,
        StreamOutcome.CANCELLED,
        None,
        False,
        "the connection broke: a reset, a lost network, pings unanswered",
    )
    CLIENT_STALLED = (
        "client_stalled",
        1008,
        StreamOutcome.FAILED,
        ErrorType.SLOW_CONSUMER,
        True,
        "the client took nothing for longer than the write timeout",
    )
    SLOW_CONSUMER = (
        "slow_consumer",
        1013,
        StreamOutcome.FAILED,
        ErrorType.SLOW_CONSUMER,
        True,
        "the client fell off the ring, and the policy is to let it resume from the log",
    )
    DRAINING = (
        "draining",
        1012,
        StreamOutcome.CANCELLED,
        None,
        True,
        "the server is shutting down",
    )
    TOKEN_EXPIRED = (
        "token_expired",
        3000,
        StreamOutcome.CANCELLED,
        None,
        True,
        "the token with which the stream was opened has expired; a new one is needed",
    )
    UNSUPPORTED_FRAME = (
        "unsupported_frame",
        1003,
        StreamOutcome.FAILED,
        ErrorType.PROTOCOL,
        False,
        "a WebSocket client sent a binary frame",
    )
    INVALID_FRAME = (
        "invalid_frame",
        1007,
        StreamOutcome.FAILED,
        ErrorType.PROTOCOL,
        False,
        "a WebSocket client sent text that is not a valid hello",
    )
    FRAME_TOO_LARGE = (
        "frame_too_large",
        1009,
        StreamOutcome.FAILED,
        ErrorType.PROTOCOL,
        False,
        "a WebSocket client sent a frame over the size limit",
    )
    TOO_MANY_FRAMES = (
        "too_many_frames",
        1008,
        StreamOutcome.FAILED,
        ErrorType.PROTOCOL,
        False,
        "a WebSocket client sent more frames in a second than it may",
    )
    LOG_FAILURE = (
        "log_failure",
        1011,
        StreamOutcome.FAILED,
        ErrorType.LOG_FAILURE,
        True,
        "the message log could not be read",
    )
    INTERNAL_ERROR = (
        "internal_error",
        1011,
        StreamOutcome.FAILED,
        ErrorType.INTERNAL,
        True,
        "an unexpected error on the server",
    )

    def __new__(  # noqa: PLR0913, PLR0917  # the columns of the table above
        cls,
        value: str,
        websocket_code: int,
        outcome: StreamOutcome,
        error_type: ErrorType | None,
        reconnect: bool,  # noqa: FBT001  # a column of the table, never passed by a caller
        meaning: str,
    ) -> Self:
        """Make a member whose value is the label and whose columns are attributes."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.websocket_code = websocket_code
        member.outcome = outcome
        member.error_type = error_type
        member.reconnect = reconnect
        member.meaning = meaning
        return member

    @classmethod
    def named(cls, value: str) -> CloseReason:
        """Return the member of this value, or ``INTERNAL_ERROR`` if there is none."""
        return next((reason for reason in cls if reason == value), cls.INTERNAL_ERROR)
