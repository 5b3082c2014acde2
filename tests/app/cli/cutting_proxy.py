"""A proxy that cuts each connection after so many bytes of the service's answer."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


class CuttingProxy:
    """Connections are cut after the given numbers of bytes, one after the other, then never."""

    def __init__(self, target: int, cuts: Iterable[int]) -> None:
        self.cuts = deque(cuts)
        self.connections = 0
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        self._start(self._accept)
        try:
            yield
        finally:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            for thread in self._threads:
                thread.join()
            for connection in self._sockets:
                connection.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the listener is closed
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                budget = self.cuts.popleft() if self.cuts else None
                service = socket.create_connection(("127.0.0.1", self._target))
                self._sockets += [client, service]
                self._start(partial(_forward, client, service, None))
                self._start(partial(_forward, service, client, budget))

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work)
        self._threads.append(thread)
        thread.start()


def _forward(source: socket.socket, sink: socket.socket, budget: int | None) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            if budget is not None and len(data) >= budget:
                sink.sendall(data[:budget])
                break
            sink.sendall(data)
            budget = None if budget is None else budget - len(data)
    for side in (source, sink):
        with contextlib.suppress(OSError):
            side.shutdown(socket.SHUT_RDWR)
