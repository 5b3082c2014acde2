from __future__ import annotations

from riptide.message import NANOSECONDS
from riptide.streaming.lag_survey import LagSurvey
from riptide_telemetry import LagBound


def test_a_survey_counts_how_many_consumers_are_behind_by_each_bound_or_more() -> None:
    survey = LagSurvey()
    for lag_ns in (90 * NANOSECONDS, NANOSECONDS - 1, 5 * NANOSECONDS, 29 * NANOSECONDS):
        survey.note(lag_ns)
    survey.close()
    assert survey.at_least == {
        "second": 3,
        "five_seconds": 3,
        "half_minute": 1,
        "minute": 1,
        "five_minutes": 0,
        "hour": 0,
    }
    assert survey.largest_s == 90


def test_nobody_is_behind_where_there_is_nobody() -> None:
    survey = LagSurvey()
    survey.close()
    assert survey.at_least == dict.fromkeys(LagBound, 0)
    assert survey.largest_s == 0
