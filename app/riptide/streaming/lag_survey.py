"""How far behind all consumers are, as one round over the streams finds it."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from riptide.message import NANOSECONDS
from riptide_telemetry import LagBound

if TYPE_CHECKING:
    from collections.abc import Mapping


class LagSurvey:
    """The lags of consumers that are behind, each as the age of the next message it is owed."""

    def __init__(self) -> None:
        self._lags_ns: list[int] = []

    def note(self, lag_ns: int) -> None:
        """Count one consumer that is behind."""
        self._lags_ns.append(lag_ns)

    def close(self) -> None:
        """End the round. Only now may other threads read the numbers."""
        self._lags_ns.sort()

    @property
    def largest_s(self) -> float:
        """The lag of the consumer furthest behind, 0 if none is behind."""
        return self._lags_ns[-1] / NANOSECONDS if self._lags_ns else 0.0

    @property
    def at_least(self) -> Mapping[str, int]:
        """How many consumers are behind by each bound or more."""
        lags = self._lags_ns
        return {
            bound: len(lags) - bisect_left(lags, bound.seconds * NANOSECONDS) for bound in LagBound
        }
