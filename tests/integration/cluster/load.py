"""The load of ``python -m benchmarks.endurance cluster`` on instances that tests have started."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.endurance.cluster import load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.service import Service

ACTIVE, UNACCOUNTED = load.ACTIVE, load.UNACCOUNTED


def place_of(instance: Service) -> int:
    """Return where an instance is."""
    return int(instance.settings["PORT"])


class Load(load.Load):
    """Publishers, one at each instance, and consumers of all transports at each."""

    def __init__(self, instances: Sequence[Service], name: str) -> None:
        """``name`` is the load's own, for its topics."""
        super().__init__([place_of(instance) for instance in instances], name)
