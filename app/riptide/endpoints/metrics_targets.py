"""Where metrics can be scraped, when several workers share the service's port.

Each worker has metrics of its own on a port of its own, and writes the port to a directory that
all workers read. So whichever worker answers, Prometheus learns of all (HTTP service discovery).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


class MetricsTargets:
    """The workers that are alive, one file each in a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def add(self, slot: int, port: int) -> None:
        """Write the port of a worker's metrics, in place of that of the slot's last worker."""
        file = self._file(slot)
        unfinished = file.with_suffix(".new")
        unfinished.write_text(json.dumps({"slot": slot, "port": port}))
        unfinished.replace(file)

    def remove(self, slot: int) -> None:
        """Remove the port of a worker, if there is one."""
        self._file(slot).unlink(missing_ok=True)

    def discover(self, host: str) -> list[dict[str, Any]]:
        """Return the targets as Prometheus takes them, on the host name that it has asked for."""
        address = f"[{host}]" if ":" in host else host
        workers = [json.loads(file.read_text()) for file in self._directory.glob("*.json")]
        return [
            {
                "targets": [f"{address}:{worker['port']}"],
                "labels": {"worker": str(worker["slot"])},
            }
            for worker in sorted(workers, key=lambda worker: worker["slot"])
        ]

    def _file(self, slot: int) -> Path:
        return self._directory / f"{slot}.json"
