"""Alertmanager's own tool accepts the configuration, and alerts go where they should."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from operations.alertmanager import ALERTMANAGER, configuration
from operations.alerts import alerts
from operations.pace import Pace
from operations.ports import free_port
from operations.rules import Alert, labels_of
from tests.programs import require
from tests.repository.sources import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

FILE = ROOT / ALERTMANAGER
ALL_ALERTS = [rule for group in alerts() for rule in group.rules if isinstance(rule, Alert)]
RECEIVERS = {"critical": "page", "warning": "ticket", "info": "log", "none": "dead-mans-switch"}


def _amtool(*arguments: str) -> str:
    done = subprocess.run(
        [require("amtool"), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _route(*labels: str) -> str:
    return _amtool("config", "routes", "test", f"--config.file={FILE}", *labels).strip()


def test_amtool_accepts_the_configuration() -> None:
    assert "SUCCESS" in _amtool("check-config", str(FILE))


@pytest.mark.parametrize("name", sorted({alert.name for alert in ALL_ALERTS}))
def test_every_alert_goes_where_its_severity_sends_it(name: str) -> None:
    for alert in ALL_ALERTS:
        if alert.name == name:
            labels = {"alertname": name, "job": "any"} | labels_of(alert)
            routed = _route(*(f"{key}={value}" for key, value in labels.items()))
            assert routed == RECEIVERS[labels["severity"]]


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (["alertname=Other", "severity=critical"], "page"),
        (["alertname=Other", "severity=unheard-of"], "ticket"),
        (["alertname=Other"], "ticket"),
    ],
)
def test_what_nobody_thought_of_becomes_a_ticket_and_is_not_lost(
    labels: list[str], receiver: str
) -> None:
    assert _route(*labels) == receiver


def _loaded() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return content


def test_an_alert_silences_only_lesser_ones_about_the_same() -> None:
    rules = _loaded()["inhibit_rules"]
    assert [(rule["source_matchers"], rule["target_matchers"]) for rule in rules] == [
        (['severity="critical"'], ['severity=~"warning|info"']),
        (['severity="warning"'], ['severity=~"info"']),
    ]
    assert all(rule["equal"] == ["job", "instance", "concern"] for rule in rules)


def test_the_less_urgent_an_alert_the_rarer_it_is_repeated() -> None:
    hours = {
        route["receiver"]: route["repeat_interval"]
        for route in _loaded()["route"]["routes"]
        if route["receiver"] != "dead-mans-switch"
    }
    assert hours == {"page": "4h", "ticket": "1d", "log": "5d"}


def test_alertmanager_starts_with_the_configuration_and_warns_of_nothing(tmp_path: Path) -> None:
    command = [
        require("prometheus-alertmanager"),
        f"--config.file={FILE}",
        f"--storage.path={tmp_path}",
        f"--web.listen-address=127.0.0.1:{free_port()}",
        "--cluster.listen-address=",
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as alertmanager:
        assert alertmanager.stderr is not None
        # The last thing that it says once it has looked at its configuration.
        said = list(_until("TLS is disabled", alertmanager.stderr))
        alertmanager.kill()
    assert "Completed loading of configuration file" in "".join(said)
    assert [line for line in said if "level=warn" in line or "level=error" in line] == []


def _until(last: str, lines: Iterable[str]) -> Iterator[str]:
    """Return the lines up to the one with this text."""
    for line in lines:
        yield line
        if last in line:
            return


def test_no_secret_stands_in_the_file() -> None:
    secrets = {"routing_key", "service_key", "api_url", "credentials", "bearer_token", "password"}

    def keys(node: Any) -> set[str]:
        if isinstance(node, dict):
            return set(node) | set().union(*map(keys, node.values()))
        return set().union(*map(keys, node)) if isinstance(node, list) else set()

    found = keys(_loaded())
    assert not found & secrets
    assert {"routing_key_file", "api_url_file", "credentials_file"} <= found


def test_a_faster_pace_divides_the_waits() -> None:
    fast = configuration(pace=Pace(60))["route"]
    assert (fast["group_wait"], fast["group_interval"]) == ("500ms", "5s")
