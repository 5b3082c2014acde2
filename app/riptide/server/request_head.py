"""The header fields of requests that the server itself reads, where uvicorn reads less of them.

The application gets values without the white space around them, as under other ASGI servers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from riptide.errors import MalformedRequestError, TransferCodingError
from riptide.syntax.request_fields import OPTIONAL_WHITE_SPACE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Headers = list[tuple[bytes, bytes]]

WEBSOCKET = b"websocket"
_CHECKED = {b"host", b"transfer-encoding", b"expect"}


def elements(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> Iterator[bytes]:
    """Yield the elements of a list in lower case, from all of its lines (RFC 9110, 5.6.1)."""
    for key, value in headers:
        if key == name:
            for element in value.lower().split(b","):
                if stripped := element.strip(OPTIONAL_WHITE_SPACE):
                    yield stripped


def check_head(headers: Headers) -> bool:
    """Check what the parser leaves to the server; return whether the client waits for a 100.

    Raises:
        MalformedRequestError: the request names several hosts, which proxies and the service may
            tell apart in different ways.
        TransferCodingError: the body is in a coding that would reach the application as it is.

    """
    checked = [name for name, _ in headers if name in _CHECKED]
    if checked == [b"host"]:
        # Nearly every request is like this.
        return False
    if checked.count(b"host") > 1:
        raise MalformedRequestError("the request has several Host fields: send one")
    for coding in elements(headers, b"transfer-encoding"):
        if coding != b"chunked":
            raise TransferCodingError(
                f"bodies are not taken in the transfer coding {coding[:64].decode('latin-1')!r}: "
                "send it as it is, or chunked"
            )
    return b"100-continue" in elements(headers, b"expect")


def offers_websocket(headers: Headers) -> bool:
    """Return whether the client offers to continue with WebSocket, maybe among other protocols."""
    return b"upgrade" in elements(headers, b"connection") and any(
        # A version may follow (RFC 9110, section 7.8).
        protocol.partition(b"/")[0] == WEBSOCKET
        for protocol in elements(headers, b"upgrade")
    )


def as_handshake(headers: Headers) -> Headers:
    """Return the headers of a handshake that offers WebSocket alone.

    The parser of WebSocket accepts no list there, and no field twice, not even with one value.
    """
    others = (header for header in headers if header[0] not in {b"connection", b"upgrade"})
    return [*dict.fromkeys(others), (b"connection", b"Upgrade"), (b"upgrade", WEBSOCKET)]
