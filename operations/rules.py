"""Recording rules and alerts as data, and as the YAML that Prometheus loads."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

    from operations.pace import Pace

RUNBOOKS: Final = "https://riptide.example.com/alert-rules/runbooks"
"""Where the operator serves, or browses, the files of alert-rules/runbooks/."""
DASHBOARD: Final = "https://grafana.example.com/d/riptide-streaming"
"""The dashboard that alerts link to, in the operator's Grafana."""


class Severity(StrEnum):
    """How soon somebody has to act: now, this week, never. A watchdog has no severity."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"
    NONE = "none"


class Concern(StrEnum):
    """What an alert is about. The most severe alert about a concern silences the others."""

    ERRORS = "errors"
    MEMORY = "memory"
    PUBLISHES = "publishes"
    STALL = "stall"
    CHECKPOINTS = "checkpoints"
    LOG_CONNECTION = "log_connection"
    FEED = "feed"
    CONFLICTS = "conflicts"
    CLOCK_OFFSET = "clock_offset"
    CLOCK_UNCERTAINTY = "clock_uncertainty"
    RESETS = "resets"
    DROPS = "drops"
    DAMAGE = "damage"
    LOSS = "loss"
    LATENCY = "latency"
    SUCCESS = "success"
    DURATION = "duration"
    CONNECTIONS = "connections"
    THROUGHPUT = "throughput"
    AVAILABILITY = "availability"
    SLOW_CONSUMERS = "slow_consumers"
    LAG = "lag"
    RECONNECTIONS = "reconnections"
    REJECTIONS = "rejections"
    TOKENS = "tokens"
    KEYS = "keys"
    CERTIFICATE = "certificate"
    RENEWAL = "renewal"
    EVENT_LOOP = "event_loop"
    ACCOUNTING = "accounting"
    FAULTS = "faults"
    EXPORTS = "exports"
    RESTARTS = "restarts"
    INDICATORS = "indicators"
    ALERTING = "alerting"


@dataclass(frozen=True, slots=True)
class RecordingRule:
    """A query whose result Prometheus stores; the name is ``level:metric:operations``."""

    name: str
    expression: str


@dataclass(frozen=True, slots=True)
class Alert:
    """A condition, for how many (nominal) seconds it has to hold, and the texts of the alert.

    ``description`` says what is wrong, with the value in a readable unit. The alert goes on for
    ``keep_s`` (nominal) seconds after the condition has last held.
    """

    name: str
    severity: Severity
    concern: Concern
    hold_s: float
    expression: str
    summary: str
    description: str
    labels: Mapping[str, str] = field(default_factory=dict)
    keep_s: float = 0


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that are evaluated one after another, at the same instant."""

    name: str
    rules: tuple[RecordingRule | Alert, ...]


def render(groups: tuple[Group, ...], pace: Pace, heading: str) -> str:
    """Return the file that Prometheus loads, with ``heading`` as a comment at its top."""
    content = {
        "groups": [
            {"name": group.name, "rules": [_as_loaded(rule, pace) for rule in group.rules]}
            for group in groups
        ]
    }
    return to_yaml(content, heading)


def to_yaml(content: Any, heading: str) -> str:
    """Return readable YAML: keys in the order given, texts of several lines as blocks."""
    body = yaml.dump(
        content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000, indent=2
    )
    return textwrap.indent(heading, "# ").rstrip() + "\n" + body


def _as_loaded(rule: RecordingRule | Alert, pace: Pace) -> dict[str, Any]:
    if isinstance(rule, RecordingRule):
        return {"record": rule.name, "expr": rule.expression}
    held = {"for": pace.text(rule.hold_s)} if rule.hold_s else {}
    if rule.keep_s:
        held["keep_firing_for"] = pace.text(rule.keep_s)
    return {
        "alert": rule.name,
        "expr": rule.expression,
        **held,
        "labels": labels_of(rule),
        "annotations": {
            "summary": rule.summary,
            "description": rule.description,
            "runbook_url": runbook_url(rule.name),
            "dashboard_url": f"{DASHBOARD}?var-job={{{{ $labels.job | urlquery }}}}",
        },
    }


def labels_of(alert: Alert) -> dict[str, str]:
    """Return the labels that an alert adds to those of its series."""
    return {"severity": str(alert.severity), "concern": str(alert.concern), **alert.labels}


def runbook_url(alert_name: str) -> str:
    """Return the address of an alert's runbook."""
    return f"{RUNBOOKS}/{quote(alert_name)}.md"


class _Dumper(yaml.SafeDumper):
    """Indents lists, and repeats equal values instead of referring to the first."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002  # PyYAML's own signature
        super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  # PyYAML's own signature
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)
