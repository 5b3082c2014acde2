"""What a consumer on a bare socket sends and reads, on each transport."""

from __future__ import annotations

import base64
import os
import secrets
from typing import NamedTuple, Protocol
from urllib.parse import quote

from benchmarks.service import HOST

TRANSPORTS = ("ndjson", "sse", "websocket")
TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
GOODBYE = (1000).to_bytes(2)


class Records(Protocol):
    """Finds the records in the data that follows the head of an answer."""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the records that are complete now, each as its JSON."""


class LineRecords:
    """NDJSON and SSE: records are lines with a prefix; others are SSE's fields or HTTP's chunks."""

    def __init__(self, prefix: bytes) -> None:
        self._prefix = prefix
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the records in lines with the prefix, whose last character begins the record."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        prefix = self._prefix
        start = len(prefix) - 1
        return [line[start:] for line in lines if line.startswith(prefix)]


class FrameRecords:
    """WebSocket: unmasked text frames without fragments; payloads of pings are kept."""

    def __init__(self) -> None:
        self.pings: list[bytes] = []
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the payloads of the text frames."""
        data = self._rest + data
        records = []
        position = 0
        while (frame := _frame(data, position)) is not None:
            opcode, payload, position = frame
            if opcode == TEXT:
                records.append(payload)
            elif opcode == PING:
                self.pings.append(payload)
        self._rest = data[position:]
        return records


def _frame(data: bytes, start: int) -> tuple[int, bytes, int] | None:
    """Return the opcode and payload of the frame at ``start``, and where the next one begins."""
    begin = start + 2
    if len(data) < begin:
        return None
    size = data[start + 1] & 0x7F
    extra = {126: 2, 127: 8}.get(size, 0)
    if extra:
        size = int.from_bytes(data[begin : begin + extra])
        begin += extra
    if len(data) < begin or len(data) < begin + size:
        return None
    return data[start] & 0x0F, data[begin : begin + size], begin + size


def client_frame(opcode: int, payload: bytes) -> bytes:
    """Return a short frame as clients send it: masked."""
    mask = secrets.token_bytes(4)
    masked = bytes(byte ^ mask[position % 4] for position, byte in enumerate(payload))
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + mask + masked


def records_of(transport: str) -> Records:
    """Return a reader of the transport's records."""
    if transport == "websocket":
        return FrameRecords()
    return LineRecords(b"{" if transport == "ndjson" else b"data: {")


class Asked(NamedTuple):
    """A stream to ask for: after a position ("": latest), for a forwarded address ("": none)."""

    transport: str
    topic: str
    position: str = ""
    address: str = ""


def request(asked: Asked) -> bytes:
    """Return the request for a stream."""
    transport, topic, position, address = asked
    path = f"/topics/{quote(topic)}"
    headers = [f"Host: {HOST}"]
    if address:
        headers.append(f"X-Forwarded-For: {address}")
    if position and transport == "sse":
        headers.append(f"Last-Event-ID: {position}")
    elif position:
        path += f"?after={position}"
    if transport == "websocket":
        key = base64.b64encode(os.urandom(16)).decode()
        headers += ["Connection: Upgrade", "Upgrade: websocket"]
        headers += ["Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}"]
    else:
        kind = "application/x-ndjson" if transport == "ndjson" else "text/event-stream"
        headers.append(f"Accept: {kind}")
    return "\r\n".join([f"GET {path} HTTP/1.1", *headers, "", ""]).encode()
