"""Where metrics can be scraped, when several workers share the service's port.

Each worker has metrics of its own on a port of its own, and knows the ports of all. So whichever
worker answers, Prometheus learns of all (HTTP service discovery).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class MetricsTargets:
    """The workers that serve: ``ports`` returns the port of each one's metrics, by its slot."""

    def __init__(self, ports: Callable[[], Mapping[int, int]]) -> None:
        self._ports = ports

    def discover(self, host: str) -> list[dict[str, Any]]:
        """Return the targets as Prometheus takes them, on the host name that it has asked for."""
        address = f"[{host}]" if ":" in host else host
        return [
            {"targets": [f"{address}:{port}"], "labels": {"worker": str(slot)}}
            for slot, port in sorted(self._ports().items())
        ]
