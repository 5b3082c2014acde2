"""One case of a test of alerts: the series that Prometheus has, and the alerts that fire then.

There is a sample every minute. In values, ``0+6x20`` starts at 0 and adds 6 for each of 20 steps,
``5x20`` stays at 5, and ``_`` is no sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from riptide_telemetry.catalog import MetricDefinition

JOB: Final = "riptide"
INSTANCE: Final = "riptide-1:8080"
PROCESS: Final = {"job": JOB, "instance": INSTANCE}

Series = Mapping[str, str]
"""The values of each series, by its name and labels."""


@dataclass(frozen=True, slots=True)
class Firing:
    """One alert as it is sent: its description, and its labels besides those of the rule."""

    description: str
    labels: Mapping[str, str] = field(default_factory=lambda: PROCESS)


@dataclass(frozen=True, slots=True)
class Case:
    """A sentence about one alert, and the series that make it true.

    ``meanwhile`` names alerts whose firing keeps this one from firing.
    """

    alert: str
    sentence: str
    series: Series
    at: str
    firing: tuple[Firing, ...] = ()
    meanwhile: tuple[str, ...] = ()


def series(metric: MetricDefinition, values: str, suffix: str = "", **labels: str) -> Series:
    """Return one series of a metric of the catalog, of one process."""
    return named(metric.prometheus_name + suffix, values, **labels)


def named(name: str, values: str, **labels: str) -> Series:
    """Return one series of one process, by its name in Prometheus."""
    pairs = ", ".join(f'{key}="{value}"' for key, value in (PROCESS | labels).items())
    return {f"{name}{{{pairs}}}": values}
