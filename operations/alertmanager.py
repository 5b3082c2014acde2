"""Who hears of an alert, how soon and how often: the configuration of Alertmanager.

Secrets stand in files, which Alertmanager 0.25 reads for PagerDuty and Slack; for webhooks it
reads a bearer token from one, while the URL stands here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from operations.pace import REAL, Pace
from operations.rules import Severity, to_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

ALERTMANAGER: Final = "alert-rules/alertmanager.yml"
PAGE: Final = "page"
TICKET: Final = "ticket"
LOG: Final = "log"
DEAD_MANS_SWITCH: Final = "dead-mans-switch"

_SECRETS: Final = "/etc/alertmanager/secrets"  # a directory
_TITLE: Final = "{{ .Status | toUpper }}: {{ .GroupLabels.alertname }} in {{ .CommonLabels.job }}"
_TEXT: Final = (
    "{{ range .Alerts }}{{ .Annotations.description }}\n"
    "<{{ .Annotations.runbook_url }}|Runbook> · <{{ .Annotations.dashboard_url }}|Dashboard>\n"
    "{{ end }}"
)
_MINUTE: Final = 60
_HOUR: Final = 3600
_HEADING: Final = """Written by python -m operations from operations/alertmanager.py.
Critical alerts page, warnings become tickets, information is logged, and the watchdog goes to a
dead man's switch, which calls when it no longer hears from it."""

# Each severity silences the lesser ones about the same concern of the same process or job. All
# three labels have to be equal: without, one alert would silence all others.
_SAME: Final = ["job", "instance", "concern"]


def alertmanager_file() -> Mapping[str, str]:
    """Return the file that Alertmanager loads."""
    return {ALERTMANAGER: to_yaml(configuration(), _HEADING)}


def configuration(
    receivers: Mapping[str, Mapping[str, Any]] | None = None, pace: Pace = REAL
) -> dict[str, Any]:
    """Return the configuration, with these receivers by name in place of the operator's."""
    receivers = receivers or _receivers()
    return {
        "global": {"resolve_timeout": pace.text(5 * _MINUTE)},
        "route": {
            "receiver": TICKET,
            "group_by": ["alertname", "job"],
            "group_wait": pace.text(30),
            "group_interval": pace.text(5 * _MINUTE),
            "repeat_interval": pace.text(12 * _HOUR),
            "routes": [
                {
                    "receiver": DEAD_MANS_SWITCH,
                    "matchers": ['alertname="RiptideWatchdog"'],
                    "group_wait": "0s",
                    "group_interval": pace.text(_MINUTE),
                    "repeat_interval": pace.text(_MINUTE),
                },
                _route(PAGE, Severity.CRITICAL, pace, wait_s=10, repeat_s=4 * _HOUR),
                _route(TICKET, Severity.WARNING, pace, wait_s=60, repeat_s=24 * _HOUR),
                _route(LOG, Severity.INFO, pace, wait_s=300, repeat_s=7 * 24 * _HOUR),
            ],
        },
        "inhibit_rules": [
            _inhibition(Severity.CRITICAL, "warning|info"),
            _inhibition(Severity.WARNING, "info"),
        ],
        "receivers": [{"name": name, **receiver} for name, receiver in receivers.items()],
    }


def _route(
    receiver: str, severity: Severity, pace: Pace, *, wait_s: float, repeat_s: float
) -> dict[str, Any]:
    return {
        "receiver": receiver,
        "matchers": [f'severity="{severity}"'],
        "group_wait": pace.text(wait_s),
        "repeat_interval": pace.text(repeat_s),
    }


def _inhibition(source: Severity, targets: str) -> dict[str, Any]:
    return {
        "source_matchers": [f'severity="{source}"'],
        "target_matchers": [f'severity=~"{targets}"'],
        "equal": _SAME,
    }


def _receivers() -> dict[str, dict[str, Any]]:
    return {
        PAGE: {
            "pagerduty_configs": [
                {
                    "routing_key_file": f"{_SECRETS}/pagerduty-routing-key",
                    "severity": "critical",
                    "description": _TITLE,
                    "links": [
                        {
                            "href": "{{ (index .Alerts 0).Annotations.runbook_url }}",
                            "text": "Runbook",
                        }
                    ],
                }
            ],
            "slack_configs": [_slack("#riptide-pages")],
        },
        TICKET: {"slack_configs": [_slack("#riptide-tickets")]},
        LOG: {"webhook_configs": [_webhook("https://alerts.example.com/log", "webhook-token")]},
        DEAD_MANS_SWITCH: {
            "webhook_configs": [
                _webhook("https://deadmansswitch.example.com/riptide", "dead-mans-switch-token")
                # That it is resolved, a switch must not hear: silence is what it waits for.
                | {"send_resolved": False}
            ]
        },
    }


def _slack(channel: str) -> dict[str, Any]:
    return {
        "api_url_file": f"{_SECRETS}/slack-webhook-url",
        "channel": channel,
        "send_resolved": True,
        "title": _TITLE,
        "text": _TEXT,
    }


def _webhook(url: str, token_file: str) -> dict[str, Any]:
    return {
        "url": url,
        "http_config": {"authorization": {"credentials_file": f"{_SECRETS}/{token_file}"}},
    }
