"""An application that knows nothing of Riptide, on a real port, and the metrics recorded of it."""

from __future__ import annotations

import socket
import struct
import time
from typing import TYPE_CHECKING

import httpx2

if TYPE_CHECKING:
    from riptide_telemetry.providers import Telemetry

SENT = "riptide_streaming_messages_sent_total"


class RecordedServer:
    """An application on a real port, recorded by the middleware."""

    def __init__(self, port: int, telemetry: Telemetry) -> None:
        self.port = port
        self.telemetry = telemetry

    def get(self, path: str) -> httpx2.Response:
        return httpx2.get(f"http://127.0.0.1:{self.port}{path}")

    def metric(self, name: str, **labels: str) -> float:
        """Scrape, and return the sum of the samples that have these labels."""
        total = 0.0
        for line in self.telemetry.exposition.render().body.decode().splitlines():
            series, _, value = line.rpartition(" ")
            wanted = all(f'{key}="{label}"' in series for key, label in labels.items())
            if series.partition("{")[0] == name and wanted:
                total += float(value)
        return total

    def wait_for(self, value: float, name: str, **labels: str) -> None:
        deadline = time.monotonic() + 20
        while (last := self.metric(name, **labels)) != value:
            assert time.monotonic() < deadline, f"{name}{labels} is {last}, not {value}"
            time.sleep(0.01)

    def sent_when_stuck(self) -> float:
        """Wait until all buffers on the way are full; return the messages sent by then."""
        sent = -1.0
        while sent != (sent := self.metric(SENT)) or sent == 0:
            time.sleep(0.2)
        return sent

    def request_by_hand(self, path: str, *headers: str) -> socket.socket:
        """Connect with a small receive buffer and send a request; the test reads the response."""
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", self.port))
        lines = [f"GET {path} HTTP/1.1", "Host: x", *headers, "", ""]
        client.sendall("\r\n".join(lines).encode())
        return client


def vanish(client: socket.socket) -> None:
    """Reset the connection."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
