"""Where a service is: a port of this machine, or an address and a port."""

from __future__ import annotations

from benchmarks.service import HOST

Place = int | tuple[str, int]


def address(place: Place) -> tuple[str, int]:
    """Return the host and the port."""
    return (HOST, place) if isinstance(place, int) else place
