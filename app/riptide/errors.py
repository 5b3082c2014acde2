"""Every error that Riptide raises on purpose.

RiptideError
├── StartError                     the service cannot start; one line, exit code 1
│   ├── InvalidSettingsError
│   ├── DataDirectoryError
│   ├── LogCorruptError
│   ├── AddressError
│   ├── ExposedError
│   ├── KeyFileError
│   └── ThreadLimitError
├── FaultError                     the service ended because of a bug; one line, exit code 1
├── BackupError                    a backup cannot be made or restored; one line, exit code 1
├── MigrationError                 a log cannot be moved into a stream; one line, exit code 1
├── DamagedMessagesError           messages of the log fail their check; consumers get a gap
└── ProblemError                   an HTTP response: RFC 9457 problem details
    ├── InvalidTopicError          400
    ├── InvalidPositionError       400
    ├── InvalidMessageError        400
    ├── InvalidLimitError          400
    ├── MalformedRequestError      400
    ├── UnauthenticatedError       401, WWW-Authenticate
    ├── ForbiddenError             403, WWW-Authenticate
    ├── OriginError                403
    ├── NotFoundError              404
    ├── MethodNotAllowedError      405
    ├── NotAcceptableError         406
    ├── RequestTimeoutError        408
    ├── TooLargeError              413
    ├── UnsupportedMediaTypeError  415
    ├── UnknownHostError           421
    ├── UpgradeRequiredError       426, Upgrade
    ├── AddressLimitError          429, Retry-After
    ├── IdentityLimitError         429, Retry-After
    ├── AddressRateError           429, Retry-After
    ├── PublishRateError           429, Retry-After
    ├── HeadTooLargeError          431
    ├── InternalError              500
    ├── TransferCodingError        501
    ├── ConnectionLimitError       503, Retry-After
    ├── AcceptRateError            503, Retry-After
    ├── TopicLimitError            503, Retry-After
    ├── BodyLimitError             503, Retry-After
    ├── DrainingError              503, Retry-After
    ├── KeysUnavailableError       503, Retry-After
    └── LogUnavailableError        503, Retry-After
        └── UncertainAppendError   503, Retry-After
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, ClassVar

from riptide_telemetry import PublishOutcome, RejectReason, TokenOutcome


class RiptideError(Exception):
    """The root of the tree; its text is a sentence that says what to do."""


class StartError(RiptideError):
    """The service cannot start."""


class InvalidSettingsError(StartError):
    """A RIPTIDE_* or OTEL_* variable has a value that is not allowed."""


class DataDirectoryError(StartError):
    """The data directory cannot be created or written to, or another process uses it."""


class LogCorruptError(StartError):
    """The log's file is damaged or was not made by Riptide. The file is left as it is."""


class AddressError(StartError):
    """The address cannot be listened on."""


class ExposedError(StartError):
    """The network could reach the service, and there is no access control."""


class KeyFileError(StartError):
    """A file of keys, of a token or of a certificate cannot be used."""


class ThreadLimitError(StartError):
    """The system does not allow the threads that the service needs."""


class FaultError(RiptideError):
    """The service drained and ended because of a fault of its own."""


class BackupError(RiptideError):
    """A backup cannot be made or restored; the log is as it was."""


class MigrationError(RiptideError):
    """A log cannot be moved into a stream; it is as it was."""


class DamagedMessagesError(RiptideError):
    """Messages ``first`` to ``last`` of a topic are damaged, and are never delivered."""

    def __init__(self, topic: str, first: int, last: int) -> None:
        super().__init__(f"messages {first} to {last} of topic {topic} are damaged")
        self.topic = topic
        self.first = first
        self.last = last


class ProblemError(RiptideError):
    """An error that a client gets as ``application/problem+json`` (RFC 9457).

    A stream that is refused with this error is counted under the label ``reject_reason``, and the
    messages of a refused publish under ``publish_outcome``. A class that sets neither counts as an
    invalid request.
    """

    status: ClassVar[HTTPStatus]
    slug: ClassVar[str]
    title: ClassVar[str]
    reject_reason: ClassVar[RejectReason] = RejectReason.INVALID_REQUEST
    publish_outcome: ClassVar[PublishOutcome] = PublishOutcome.INVALID

    def __init__(self, detail: str, *, retry_after: int | None = None, **extensions: Any) -> None:
        """Say what to do in ``detail``. ``retry_after`` is in seconds."""
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after
        self.extensions = extensions

    def body(self) -> dict[str, Any]:
        """Return the members of the problem details object (RFC 9457, section 3.1)."""
        return {
            "type": f"urn:riptide:problem:{self.slug}",
            "title": self.title,
            "status": int(self.status),
            "detail": self.detail,
            **self.extensions,
        }

    def headers(self) -> dict[str, str]:
        """Return the response headers that belong to this problem."""
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}


class InvalidTopicError(ProblemError):
    """The name is not valid for a topic."""

    status = HTTPStatus.BAD_REQUEST
    slug = "invalid-topic"
    title = "Invalid topic name"


class InvalidPositionError(ProblemError):
    """``after``, ``until`` or ``Last-Event-ID`` does not name a position."""

    status = HTTPStatus.BAD_REQUEST
    slug = "invalid-position"
    title = "Invalid position in the stream"


class InvalidMessageError(ProblemError):
    """A published body is not JSON, or a line of a batch is not."""

    status = HTTPStatus.BAD_REQUEST
    slug = "invalid-message"
    title = "Invalid message"


class InvalidLimitError(ProblemError):
    """``limit`` is not a number of topics that may be listed at once."""

    status = HTTPStatus.BAD_REQUEST
    slug = "invalid-limit"
    title = "Invalid limit"


class MalformedRequestError(ProblemError):
    """The request is not valid HTTP/1.1, or not a valid WebSocket handshake."""

    status = HTTPStatus.BAD_REQUEST
    slug = "malformed-request"
    title = "Malformed request"


class UnauthenticatedError(ProblemError):
    """The token is missing or not valid (RFC 6750, section 3)."""

    status = HTTPStatus.UNAUTHORIZED
    slug = "unauthenticated"
    title = "Not authenticated"
    reject_reason = RejectReason.UNAUTHENTICATED
    publish_outcome = PublishOutcome.UNAUTHENTICATED

    def __init__(
        self,
        detail: str,
        *,
        error: str | None = None,
        token_outcome: TokenOutcome | None = None,
    ) -> None:
        """Take one of the RFC's error codes (section 3.1), or None if there was no token at all.

        ``token_outcome`` is what the check of the token found, None if none was checked.
        """
        super().__init__(detail)
        self.error = error
        self.token_outcome = token_outcome

    def headers(self) -> dict[str, str]:
        """Return the challenge."""
        code = "" if self.error is None else f', error="{self.error}"'
        return {"WWW-Authenticate": f'Bearer realm="riptide"{code}'}


class ForbiddenError(ProblemError):
    """The token is valid, but does not allow this."""

    status = HTTPStatus.FORBIDDEN
    slug = "forbidden"
    title = "Not allowed"
    reject_reason = RejectReason.FORBIDDEN
    publish_outcome = PublishOutcome.FORBIDDEN

    def headers(self) -> dict[str, str]:
        """Return the challenge."""
        return {"WWW-Authenticate": 'Bearer realm="riptide", error="insufficient_scope"'}


class OriginError(ProblemError):
    """The request comes from a web page whose origin is not allowed."""

    status = HTTPStatus.FORBIDDEN
    slug = "origin"
    title = "Origin not allowed"
    reject_reason = RejectReason.ORIGIN
    publish_outcome = PublishOutcome.FORBIDDEN


class NotFoundError(ProblemError):
    """There is nothing at that path."""

    status = HTTPStatus.NOT_FOUND
    slug = "not-found"
    title = "Not found"


class MethodNotAllowedError(ProblemError):
    """The path is right, the method is not."""

    status = HTTPStatus.METHOD_NOT_ALLOWED
    slug = "method-not-allowed"
    title = "Method not allowed"


class NotAcceptableError(ProblemError):
    """The client accepts none of the formats that a stream has."""

    status = HTTPStatus.NOT_ACCEPTABLE
    slug = "not-acceptable"
    title = "No acceptable format"


class RequestTimeoutError(ProblemError):
    """The request was not received in full in time."""

    status = HTTPStatus.REQUEST_TIMEOUT
    slug = "request-timeout"
    title = "Request too slow"


class TooLargeError(ProblemError):
    """A body, one of its messages, or their number is over the limit."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    slug = "too-large"
    title = "Too large"
    publish_outcome = PublishOutcome.TOO_LARGE


class UnsupportedMediaTypeError(ProblemError):
    """A published body is neither JSON nor NDJSON, or is compressed."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    slug = "unsupported-media-type"
    title = "Unsupported media type"


class UnknownHostError(ProblemError):
    """The request is for a host name that is not the service's (RFC 9110, section 15.5.20)."""

    status = HTTPStatus.MISDIRECTED_REQUEST
    slug = "unknown-host"
    title = "Unknown host"
    reject_reason = RejectReason.ORIGIN
    publish_outcome = PublishOutcome.FORBIDDEN


class UpgradeRequiredError(ProblemError):
    """A WebSocket handshake is without its ``Upgrade`` header (RFC 9110, section 15.5.22)."""

    status = HTTPStatus.UPGRADE_REQUIRED
    slug = "upgrade-required"
    title = "Upgrade required"

    def headers(self) -> dict[str, str]:
        """Return the protocol to upgrade to."""
        return {"Upgrade": "websocket", "Connection": "Upgrade"}


class AddressLimitError(ProblemError):
    """One address has as many streams open as it may."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    slug = "address-limit"
    title = "Too many connections from this address"
    reject_reason = RejectReason.ADDRESS_LIMIT


class IdentityLimitError(ProblemError):
    """One identity has as many streams open as it may."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    slug = "identity-limit"
    title = "Too many connections of this identity"
    reject_reason = RejectReason.IDENTITY_LIMIT


class AddressRateError(ProblemError):
    """One address opens streams too fast."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    slug = "address-rate"
    title = "Too many new connections from this address"
    reject_reason = RejectReason.ADDRESS_RATE


class PublishRateError(ProblemError):
    """One client publishes too fast."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    slug = "publish-rate"
    title = "Too many messages"
    publish_outcome = PublishOutcome.RATE_LIMITED


class HeadTooLargeError(ProblemError):
    """The target and headers of a request are over their limit."""

    status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    slug = "head-too-large"
    title = "Request head too large"


class InternalError(ProblemError):
    """A fault of the service. The server's log has the details, the answer has none."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR
    slug = "internal-error"
    title = "Internal error"
    publish_outcome = PublishOutcome.INTERNAL_ERROR


class TransferCodingError(ProblemError):
    """A body has a transfer coding other than chunked (RFC 9112, section 6.1)."""

    status = HTTPStatus.NOT_IMPLEMENTED
    slug = "transfer-coding"
    title = "Transfer coding not supported"


class ConnectionLimitError(ProblemError):
    """All places for streams are taken."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    slug = "connection-limit"
    title = "Too many connections"
    reject_reason = RejectReason.CONNECTION_LIMIT

    def headers(self) -> dict[str, str]:
        """Return when to try again, and close the connection, which frees a file descriptor."""
        return {**super().headers(), "Connection": "close"}


class AcceptRateError(ProblemError):
    """Clients open streams faster than the service accepts them."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    slug = "accept-rate"
    title = "Too many new connections"
    reject_reason = RejectReason.ACCEPT_RATE


class TopicLimitError(ProblemError):
    """The log has messages of as many topics as it may."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    slug = "topic-limit"
    title = "Too many topics"
    publish_outcome = PublishOutcome.TOPIC_LIMIT


class BodyLimitError(ProblemError):
    """The bodies that are being read hold as many bytes as they may."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    slug = "body-limit"
    title = "Too many bodies at once"
    publish_outcome = PublishOutcome.BODY_LIMIT


class DrainingError(ProblemError):
    """The server is shutting down."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    slug = "draining"
    title = "Shutting down"
    reject_reason = RejectReason.DRAINING


class KeysUnavailableError(ProblemError):
    """There are no keys yet to verify tokens with."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    slug = "keys-unavailable"
    title = "Keys unavailable"
    token_outcome = TokenOutcome.KEYS_UNAVAILABLE
    reject_reason = RejectReason.UNAUTHENTICATED
    publish_outcome = PublishOutcome.UNAUTHENTICATED


class LogUnavailableError(ProblemError):
    """The log cannot be read or written just now."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    slug = "log-unavailable"
    title = "Message log unavailable"
    reject_reason = RejectReason.LOG_FAILURE
    publish_outcome = PublishOutcome.LOG_FAILURE


class UncertainAppendError(LogUnavailableError):
    """The log may have kept the messages of a publish, or not."""

    slug = "append-uncertain"
    title = "Outcome unknown"
    publish_outcome = PublishOutcome.UNCERTAIN
