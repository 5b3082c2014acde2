"""Generates the two files of rules that Prometheus loads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from operations.alerts import alerts
from operations.pace import REAL, Pace
from operations.recording_rules import recording_rules
from operations.rules import render

if TYPE_CHECKING:
    from collections.abc import Mapping

RECORDING_RULES: Final = "alert-rules/recording-rules.yaml"
ALERTS: Final = "alert-rules/alerts.yaml"
_HEADING: Final = "Written by python -m operations from operations/{source}: change it there."


def rule_files(pace: Pace = REAL) -> Mapping[str, str]:
    """Return both files, by their path."""
    return {
        RECORDING_RULES: render(
            recording_rules(pace), pace, _HEADING.format(source="recording_rules.py")
        ),
        ALERTS: render(alerts(pace), pace, _HEADING.format(source="alerts.py")),
    }
