"""An application that knows nothing of Riptide, on a real port, and the metrics recorded of it."""

from __future__ import annotations

import socket
import struct
import time
from typing import TYPE_CHECKING

from tests import plain
from tests.waiting import wait_until

if TYPE_CHECKING:
    import httpx2

    from riptide_telemetry.providers import Telemetry
    from tests.telemetry.foreign_app import Served

SENT = "riptide_streaming_messages_sent_total"


class RecordedServer:
    """An application on a real port, recorded by the middleware."""

    def __init__(self, served: Served, telemetry: Telemetry) -> None:
        self.port = served.port
        self.telemetry = telemetry
        self._server = served.server

    def get(self, path: str) -> httpx2.Response:
        return plain.get(f"http://127.0.0.1:{self.port}{path}")

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
        wait_until(
            lambda: self.metric(name, **labels) == value,
            lambda: f"{name}{labels} is {self.metric(name, **labels)}, not {value}",
        )

    def sent_when_stuck(self) -> float:
        """Wait until all buffers on the way are full; return the messages sent by then."""
        looks = [0.0]
        while looks[-1] == 0 or len(set(looks[-3:])) > 1:
            # The server has done all that it could, and the kernel has had time for its part.
            self._server.take_turns()
            time.sleep(0.1)
            looks.append(self.metric(SENT))
        return looks[-1]

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
