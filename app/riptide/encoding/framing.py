"""The framing that a transport puts around encoded messages, the same for all consumers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# FIN and the opcode of text (RFC 6455, section 5.2); a server's frames are not masked.
_FINAL_TEXT = 0x81
_LONGEST_PLAIN = 125
_LONGEST_16_BIT = 0xFFFF
_LENGTH_IN_16_BIT, _LENGTH_IN_64_BIT = 126, 127


def http_chunk(pieces: Sequence[bytes]) -> bytes:
    """Return the pieces as one chunk of a chunked body (RFC 9112, section 7.1).

    Some piece must not be empty, because an empty chunk ends the body.
    """
    size = sum(map(len, pieces))
    return b"".join((b"%x\r\n" % size, *pieces, b"\r\n"))


def websocket_text(pieces: Sequence[bytes]) -> bytes:
    """Return each piece, UTF-8, as an unfragmented text frame (RFC 6455, section 5)."""
    return b"".join(part for piece in pieces for part in (_text_header(len(piece)), piece))


def _text_header(length: int) -> bytes:
    if length <= _LONGEST_PLAIN:
        return bytes((_FINAL_TEXT, length))
    if length <= _LONGEST_16_BIT:
        return bytes((_FINAL_TEXT, _LENGTH_IN_16_BIT)) + length.to_bytes(2, "big")
    return bytes((_FINAL_TEXT, _LENGTH_IN_64_BIT)) + length.to_bytes(8, "big")
