"""The header fields of requests that the service reads, and what it means to send one twice.

Every field is read with this module (RFC 9110, section 5): without the white space around its
value, which is spaces and tabs, and with all of its lines. Which fields web pages of other origins
may send follows from the same list.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from riptide.errors import MalformedRequestError

if TYPE_CHECKING:
    from starlette.types import Scope

OPTIONAL_WHITE_SPACE = b" \t"


class Repeated(Enum):
    """What several lines of a field with different values are."""

    LIST = ", "
    COOKIES = "; "
    # A request that could be read in two ways is refused.
    AMBIGUOUS = None
    # Tracing must not fail a request, so it goes without (W3C Trace Context, section 3.2.2).
    IGNORED = ""


class RequestField(Enum):
    """A field that the service reads; ``from_pages`` if scripts of web pages may set it.

    Browsers set the others by themselves (Fetch standard, "forbidden request-header").
    """

    ACCEPT = "Accept", Repeated.LIST, True
    ACCEPT_ENCODING = "Accept-Encoding", Repeated.LIST, False
    AUTHORIZATION = "Authorization", Repeated.AMBIGUOUS, True
    CONTENT_ENCODING = "Content-Encoding", Repeated.LIST, True
    CONTENT_LENGTH = "Content-Length", Repeated.AMBIGUOUS, False
    CONTENT_TYPE = "Content-Type", Repeated.AMBIGUOUS, True
    COOKIE = "Cookie", Repeated.COOKIES, False
    HOST = "Host", Repeated.AMBIGUOUS, False
    LAST_EVENT_ID = "Last-Event-ID", Repeated.AMBIGUOUS, True
    ORIGIN = "Origin", Repeated.AMBIGUOUS, False
    SEC_WEBSOCKET_KEY = "Sec-WebSocket-Key", Repeated.AMBIGUOUS, False
    TRACEPARENT = "traceparent", Repeated.IGNORED, True

    def __init__(self, title: str, repeated: Repeated, from_pages: bool) -> None:  # noqa: FBT001  # the members above name it
        self.title = title
        self.key = title.lower().encode()
        self.repeated = repeated
        self.from_pages = from_pages


_AMBIGUOUS = {field.key: field for field in RequestField if field.repeated is Repeated.AMBIGUOUS}


def read(scope: Scope, field: RequestField) -> str | None:
    """Return a field's value, with all of its lines; None if the request has no such field.

    Raises:
        MalformedRequestError: several lines have different values, of which one is right.

    """
    key = field.key
    lines: list[bytes] = [
        value.strip(OPTIONAL_WHITE_SPACE) for name, value in scope["headers"] if name == key
    ]
    if not lines:
        return None
    if len(lines) == 1 or (
        field.repeated in {Repeated.AMBIGUOUS, Repeated.IGNORED} and len(set(lines)) == 1
    ):
        return lines[0].decode("latin-1")
    match field.repeated:
        case Repeated.AMBIGUOUS:
            raise _ambiguous(field)
        case Repeated.IGNORED:
            return None
        case joined:
            return str(joined.value).join(line.decode("latin-1") for line in lines)


def refuse_ambiguous(scope: Scope) -> None:
    """Refuse a request that has different values for a field of which there is one.

    Raises:
        MalformedRequestError: as the summary says; the text names the field.

    """
    seen: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in _AMBIGUOUS:
            given = value.strip(OPTIONAL_WHITE_SPACE)
            if seen.setdefault(name, given) != given:
                raise _ambiguous(_AMBIGUOUS[name])


def _ambiguous(field: RequestField) -> MalformedRequestError:
    return MalformedRequestError(
        f"the request has two values for {field.title}: send the field once"
    )
