"""The results of a benchmark: figures with their spread, and the bars they are held to."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


# The unit of ratios, which have none.
RATIO = ""
# The share of contradicting samples from which on a verdict is uncertain.
DISSENT = 0.1


@dataclass(frozen=True, slots=True)
class Bar:
    """A limit that a median is held to."""

    limit: float
    at_least: bool = False

    def met_by(self, value: float) -> bool:
        """Return whether the value keeps to the limit."""
        return value >= self.limit if self.at_least else value <= self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number: a sample for each repetition."""

    name: str
    unit: str
    samples: Sequence[float]
    bar: Bar | None = None
    # The figure's place in a table of medians; its name says both.
    row: str = ""
    column: str = ""

    @property
    def median(self) -> float:
        """The sample in the middle, which one disturbed repetition hardly changes."""
        return statistics.median(self.samples)

    @property
    def verdict(self) -> str:
        """Whether the bar is "met", "missed" or "uncertain"; empty without a bar.

        The verdict is uncertain if a tenth of the samples or more contradict the median.
        """
        if self.bar is None:
            return ""
        met = self.bar.met_by(self.median)
        against = sum(self.bar.met_by(sample) != met for sample in self.samples)
        if against / len(self.samples) >= DISSENT:
            return "uncertain"
        return "met" if met else "missed"

    def record(self) -> dict[str, object]:
        """Return the figure as an object for JSON."""
        record: dict[str, object] = {
            "name": self.name,
            "unit": self.unit,
            "median": self.median,
            "low": min(self.samples),
            "high": max(self.samples),
            "samples": list(self.samples),
        }
        if self.bar is not None:
            record["bar"] = {
                "at_least" if self.bar.at_least else "at_most": self.bar.limit,
                "verdict": self.verdict,
            }
        return record


@dataclass(frozen=True, slots=True)
class Result:
    """The figures of one benchmark, its parameters, and what could not be measured."""

    figures: Sequence[Figure]
    parameters: Mapping[str, object] = field(default_factory=dict)
    # By the name of what could not be measured: the reason.
    left_out: Mapping[str, str] = field(default_factory=dict)


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Divide repetition by repetition, so that what disturbed both sides cancels out."""
    return [above / below for above, below in zip(numerators, denominators, strict=True)]
