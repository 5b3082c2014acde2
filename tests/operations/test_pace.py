"""Time passes as fast as it is told to, and is written as Prometheus reads it."""

from __future__ import annotations

import promql_parser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operations.pace import REAL, Pace, nominal_seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(300, "5m"), (3600, "1h"), (86400, "1d"), (90, "90s"), (5400, "90m"), (0.5, "500ms")],
)
def test_a_duration_is_written_in_its_largest_unit(seconds: float, text: str) -> None:
    assert REAL.text(seconds) == text


def test_a_minute_becomes_a_second_at_sixty() -> None:
    assert Pace(60).window("5m") == "5s"
    assert Pace(60).window("3d") == "72m"


def test_what_no_pace_makes_faster_keeps_its_time() -> None:
    assert Pace(60).text(900, at_least_s=60) == "1m"
    assert REAL.text(900, at_least_s=60) == "15m"


@given(st.integers(1, 10**6), st.sampled_from((1, 10, 30, 60)))
def test_prometheus_reads_what_is_meant(seconds: int, factor: int) -> None:
    read = promql_parser.parse_duration(Pace(factor).text(seconds)).total_seconds()
    assert read == pytest.approx(seconds / factor, abs=0.001)


@pytest.mark.parametrize(("text", "seconds"), [("5m", 300), ("6h", 21600), ("3d", 259200)])
def test_the_names_of_windows_are_durations(text: str, seconds: float) -> None:
    assert nominal_seconds(text) == seconds
