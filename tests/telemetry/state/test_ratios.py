from __future__ import annotations

from riptide_telemetry.state.ratios import Ratios
from riptide_telemetry.state.sliding_window import Totals


def test_every_ratio_is_defined_when_nothing_has_happened() -> None:
    nothing = Ratios(Totals(), 0)
    assert nothing.error_rate() == nothing.reconnection_rate() == 0
    assert nothing.health_ratio() == nothing.delivery_ratio() == 1
    assert nothing.items_per_connection() == 0


def test_connections_are_those_that_closed_in_the_window_and_those_that_are_open() -> None:
    ratios = Ratios(Totals(closed=6, errored=1, sent=40), 4)
    assert ratios.error_rate() == 0.1
    assert ratios.items_per_connection() == 4


def test_health_is_the_worse_of_connections_and_publishes() -> None:
    assert Ratios(Totals(closed=10, errored=1, accepted=3, failed=1), 0).health_ratio() == 0.75
    assert Ratios(Totals(closed=10, errored=5, accepted=3, failed=1), 0).health_ratio() == 0.5


def test_no_share_exceeds_one_however_often_a_connection_resumes_or_fails() -> None:
    ratios = Ratios(Totals(opened=1, closed=1, reconnections=5, errored=3), 0)
    assert ratios.reconnection_rate() == ratios.error_rate() == 1
    assert Ratios(Totals(sent=3, dropped=1), 0).delivery_ratio() == 0.75
