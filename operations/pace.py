"""How fast time passes for the rules: as written, or faster, so that a drill is short."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_UNITS: Final = ((86400_000, "d"), (3600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms"))


@dataclass(frozen=True, slots=True)
class Pace:
    """Divides every duration of the rules (windows, ``for``, waits), but no rate per second."""

    factor: int = 1

    def seconds(self, nominal_s: float) -> float:
        """Return how long a nominal duration really takes."""
        return nominal_s / self.factor

    def text(self, nominal_s: float, at_least_s: float = 0) -> str:
        """Return the duration as Prometheus writes it, in the largest unit that divides it.

        ``at_least_s`` is a minimum in real time, for what takes as long at any pace.
        """
        milliseconds = round(max(at_least_s, self.seconds(nominal_s)) * 1000)
        size, unit = next(each for each in _UNITS if milliseconds % each[0] == 0)
        return f"{milliseconds // size}{unit}"

    def window(self, nominal: str) -> str:
        """Return the duration of a window, given its nominal one, such as ``5m``."""
        return self.text(nominal_seconds(nominal))


REAL: Final = Pace()


def nominal_seconds(duration: str) -> float:
    """Return the seconds of a duration of one unit, such as ``6h``."""
    number, unit = duration[:-1], duration[-1]
    return float(number) * {"d": 86400, "h": 3600, "m": 60, "s": 1}[unit]
