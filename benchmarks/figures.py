"""What a benchmark hands back: figures with their spread, and the bars they are held to."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


# The unit of a number that has none.
RATIO = ""
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
    # Where it stands in a table of many that have much in common; the name says both.
    row: str = ""
    column: str = ""

    @property
    def median(self) -> float:
        """The sample in the middle, which one disturbed repetition does not move."""
        return statistics.median(self.samples)

    @property
    def verdict(self) -> str:
        """What is to be said of the bar: "met", "missed" or "uncertain"; empty without one.

        Uncertain is a median that a tenth of the samples or more contradict.
        """
        if self.bar is None:
            return ""
        met = self.bar.met_by(self.median)
        against = sum(self.bar.met_by(sample) != met for sample in self.samples)
        if against / len(self.samples) >= DISSENT:
            return "uncertain"
        return "met" if met else "missed"

    def record(self) -> dict[str, object]:
        """Return the figure as JSON."""
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
    """The figures of one benchmark, the sizes they were taken at, and what there are none of."""

    figures: Sequence[Figure]
    parameters: Mapping[str, object] = field(default_factory=dict)
    # The name of what could not be measured, and why.
    left_out: Mapping[str, str] = field(default_factory=dict)


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Divide repetition by repetition: what disturbed both sides cancels out."""
    return [above / below for above, below in zip(numerators, denominators, strict=True)]
