"""How fast an error budget may burn, and over which windows, before an alert fires.

These are the four pairs of windows of the SRE workbook for a budget of 30 days. The long window
shows that the loss matters, the short one that it still goes on.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from operations.rules import Severity


class BurnRate(NamedTuple):
    """A pair of windows, and the burn rate that is too fast in both; 1 lasts for 30 days."""

    long: str
    short: str
    factor: float
    hold_s: float
    severity: Severity


BURN_RATES: Final = (
    BurnRate("1h", "5m", 14.4, 120, Severity.CRITICAL),
    BurnRate("6h", "30m", 6, 900, Severity.CRITICAL),
    BurnRate("1d", "2h", 3, 3600, Severity.WARNING),
    BurnRate("3d", "6h", 1, 3600, Severity.WARNING),
)
WINDOWS: Final = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
"""All windows of the pairs, shortest first."""
