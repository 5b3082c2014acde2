"""Every error that Riptide raises on purpose.

RiptideError
├── StartError                     the service cannot start; one line, exit code 1
│   ├── InvalidSettingsError
│   ├── DataDirectoryError
│   ├── LogCorruptError
│   └── AddressError
└── ProblemError                   an answer of HTTP: RFC 9457 problem details
    ├── InvalidTopicError          400
    ├── InvalidPositionError       400
    ├── InvalidMessageError        400
    ├── NotFoundError              404
    ├── MethodNotAllowedError      405
    ├── NotAcceptableError         406
    ├── TooLargeError              413
    ├── UnsupportedMediaTypeError  415
    ├── MisdirectedError           421
    ├── InternalError              500
    ├── ConnectionLimitError       503, Retry-After
    ├── DrainingError              503, Retry-After
    └── LogUnavailableError        503, Retry-After
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, ClassVar


class RiptideError(Exception):
    """The root of the tree; its text is a sentence that says what to do."""


class StartError(RiptideError):
    """The service cannot start."""


class InvalidSettingsError(StartError):
    """A RIPTIDE_* or OTEL_* variable has a value that is not allowed."""


class DataDirectoryError(StartError):
    """The data directory cannot be created, written to, or is in use by another process."""


class LogCorruptError(StartError):
    """The log's file is damaged or is not one of ours; it is left as it is."""


class AddressError(StartError):
    """The address cannot be listened on."""


class ProblemError(RiptideError):
    """An answer that a client gets as ``application/problem+json`` (RFC 9457)."""

    status: ClassVar[HTTPStatus]
    slug: ClassVar[str]
    title: ClassVar[str]

    def __init__(self, detail: str, *, retry_after: int | None = None, **extensions: Any) -> None:
        """Say what to do in ``detail``; ``retry_after`` is in seconds."""
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
    """The topic's name is not one."""

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


class TooLargeError(ProblemError):
    """A body, or one message of it, is over its limit."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    slug = "too-large"
    title = "Too large"


class UnsupportedMediaTypeError(ProblemError):
    """A published body is of a type that is neither JSON nor NDJSON."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    slug = "unsupported-media-type"
    title = "Unsupported media type"


class MisdirectedError(ProblemError):
    """This process cannot speak for the whole service."""

    status = HTTPStatus.MISDIRECTED_REQUEST
    slug = "misdirected"
    title = "Ask each worker"


class InternalError(ProblemError):
    """A fault of ours; what went wrong stands in the log, not in the answer."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR
    slug = "internal-error"
    title = "Internal error"


class ConnectionLimitError(ProblemError):
    """All places for streams are taken."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    slug = "connection-limit"
    title = "Too many connections"


class DrainingError(ProblemError):
    """The server is shutting down."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    slug = "draining"
    title = "Shutting down"


class LogUnavailableError(ProblemError):
    """The log cannot be read or written just now."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    slug = "log-unavailable"
    title = "Message log unavailable"
