"""Generates the configuration of Alertmanager: who is notified, how soon and how often.

Secrets stand in files of their own. Alertmanager 0.25 reads the secrets of PagerDuty and Slack
from files; of a webhook it reads the bearer token from a file, but not the URL.
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

RETENTION_S: Final = 5 * 24 * 3600
"""For how long Alertmanager remembers a notification, unless --data.retention says otherwise.

What it has forgotten it sends again, so nothing can be repeated more rarely.
"""

_SECRETS_DIRECTORY: Final = "/etc/alertmanager/secrets"
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
dead man's switch, which calls somebody when the watchdog falls silent."""

# An alert silences less severe ones with the same values of these labels: those about the same
# concern of the same process or job. With fewer labels it would silence unrelated alerts.
_EQUAL_LABELS: Final = ["job", "instance", "concern"]


def alertmanager_file() -> Mapping[str, str]:
    """Return the file that Alertmanager loads."""
    return {ALERTMANAGER: to_yaml(configuration(), _HEADING)}


def configuration(
    receivers: Mapping[str, Mapping[str, Any]] | None = None, pace: Pace = REAL
) -> dict[str, Any]:
    """Return the configuration; ``receivers``, by name, replace the operator's."""
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
                _route(LOG, Severity.INFO, pace, wait_s=300, repeat_s=RETENTION_S),
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
        "equal": _EQUAL_LABELS,
    }


def _receivers() -> dict[str, dict[str, Any]]:
    return {
        PAGE: {
            "pagerduty_configs": [
                {
                    "routing_key_file": f"{_SECRETS_DIRECTORY}/pagerduty-routing-key",
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
                # A resolved watchdog must be silent, because the switch waits for silence.
                | {"send_resolved": False}
            ]
        },
    }


def _slack(channel: str) -> dict[str, Any]:
    return {
        "api_url_file": f"{_SECRETS_DIRECTORY}/slack-webhook-url",
        "channel": channel,
        "send_resolved": True,
        "title": _TITLE,
        "text": _TEXT,
    }


def _webhook(url: str, token_file: str) -> dict[str, Any]:
    return {
        "url": url,
        "http_config": {
            "authorization": {"credentials_file": f"{_SECRETS_DIRECTORY}/{token_file}"}
        },
    }
