"""The ports of a cluster on this machine."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, NamedTuple, Self

from operations.cluster.nats import HOST
from operations.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator


class Ports(NamedTuple):
    """Where each part of the cluster listens; ``routes`` are between the servers of NATS."""

    balancer: int
    instances: tuple[int, int, int]
    servers: tuple[int, int, int]
    routes: tuple[int, int, int]
    prometheus: int

    @classmethod
    def usual(cls) -> Self:
        """Return the ports that documents name."""
        return cls(8080, (8081, 8082, 8083), (4222, 4223, 4224), (6222, 6223, 6224), 9090)

    @classmethod
    def free(cls) -> Self:
        """Return ports that nobody listens on."""
        a, b, c, d, e, f, g, h, i, balancer, prometheus = free_ports(11)
        return cls(balancer, (a, b, c), (d, e, f), (g, h, i), prometheus)

    def taken(self) -> Iterator[str]:
        """Yield a text for each port that somebody else listens on."""
        parts = {
            "the load balancer": (self.balancer,),
            "an instance": self.instances,
            "a server of NATS": (*self.servers, *self.routes),
            "Prometheus": (self.prometheus,),
        }
        for name, ports in parts.items():
            for port in ports:
                try:
                    socket.create_server((HOST, port)).close()
                except OSError as error:
                    yield f"port {port} of {HOST}, for {name}: {error.strerror}"
