"""The parts of the drill tell a failure from a success."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from operations.alerts import alerts
from operations.drill import table
from operations.drill.nats import Network
from operations.drill.processes import DrillError
from operations.drill.receiver import AlertKey, WebhookReceiver
from operations.drill.scenario import Outcome, require_alerts
from operations.drill.scenarios import scenarios
from operations.drill.watch import AlertWatch
from operations.rules import Alert
from tests import plain
from tests.programs import require
from tests.repository.sources import ROOT
from tests.waiting import in_time

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = AlertKey("RiptideX", "job")
PASSED = Outcome(KEY, "a cause", 7.4, 3.1, firing_delivered=True, resolution_delivered=True)


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    server = WebhookReceiver()
    yield server
    server.close()


def _notify(receiver: WebhookReceiver, status: str) -> None:
    labels = {"alertname": "RiptideX", "job": "job"}
    content = {"receiver": "page", "alerts": [{"labels": labels, "status": status}]}
    assert plain.post(f"{receiver.url}/page", json=content).status_code == 200


def test_every_alert_but_the_watchdog_has_a_cause() -> None:
    names = {rule.name for group in alerts() for rule in group.rules if isinstance(rule, Alert)}
    require_alerts(scenarios(), sorted(names - {"RiptideWatchdog"}))
    with pytest.raises(DrillError, match="RiptideOther"):
        require_alerts(scenarios(), [*names, "RiptideOther"])


def test_every_pair_of_windows_has_to_fire() -> None:
    provoked = {
        key
        for scenario in scenarios()
        for step in scenario.steps
        for key in (*step.alerts, *step.afterwards)
    }
    assert {
        (rule.name, rule.labels.get("window", ""))
        for group in alerts()
        for rule in group.rules
        if isinstance(rule, Alert) and rule.name != "RiptideWatchdog"
    } == provoked


def test_the_receiver_tells_firing_from_resolved_and_what_came_before(
    receiver: WebhookReceiver,
) -> None:
    _notify(receiver, "firing")
    between = time.monotonic()
    _notify(receiver, "resolved")
    firing = receiver.first(KEY, "firing", 0)
    assert firing is not None
    assert firing.receiver == "page"
    assert receiver.first(KEY, "firing", between) is None
    assert receiver.first(KEY, "resolved", between) is not None
    assert receiver.first(AlertKey("RiptideY"), "firing", 0) is None


def test_the_watch_notes_each_time_that_an_alert_fires() -> None:
    watch = AlertWatch("http://nobody")
    assert watch.silent(KEY)
    watch._note({KEY})
    assert not watch.silent(KEY)
    first = watch.fired(KEY, 0)
    watch._note(set())
    assert watch.silent(KEY)
    between = time.monotonic()
    assert watch.fired(KEY, between) is None
    watch._note({KEY})
    assert watch.fired(KEY, between) is not None
    assert watch.fired(KEY, 0) != first
    assert len(watch.episodes[KEY]) == 2


@pytest.mark.parametrize(
    "missing",
    [
        {"fired_after": None},
        {"resolved_after": None},
        {"firing_delivered": False},
        {"resolution_delivered": False},
        {"note": "the cause could not be undone"},
        {"note": "the cause broke off"},
    ],
)
def test_an_alert_of_which_anything_is_missing_has_failed(missing: dict[str, Any]) -> None:
    assert PASSED.passed
    assert not PASSED._replace(**missing).passed


def test_the_table_says_what_was_never_seen_or_delivered() -> None:
    text = table.render([PASSED, Outcome(KEY._replace(name="RiptideY", window="1h"), "another")])
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()[2:]]
    assert rows == [
        ["`RiptideX`", "a cause", "7 s", "3 s", "firing, resolved"],
        ["`RiptideY` (1h)", "another", "**never**", "**never**", "**nothing**"],
    ]


async def test_a_network_passes_everything_on_in_order_and_late_once_it_is_long(
    tmp_path: Path,
) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(1000):
            writer.write(piece)
        writer.close()

    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        network = Network(server.sockets[0].getsockname()[1])
        await network.start(tmp_path)
        reader, writer = await asyncio.open_connection("127.0.0.1", network.port)
        for delay_s in (0.0, 0.2):
            network.delay_s = delay_s
            begun = time.monotonic()
            writer.writelines([b"first ", b"second"])
            assert await in_time(reader.readexactly(12)) == b"first second"
            assert time.monotonic() - begun >= 2 * delay_s
        await network.stop()
        assert await in_time(reader.read()) == b""
        writer.close()


def test_a_real_drill_of_one_cause_ends_well() -> None:
    for program in ("prometheus", "prometheus-alertmanager"):
        require(program)
    done = subprocess.run(
        [sys.executable, "-m", "operations.drill", "--only", "unaccounted"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| `RiptideMessagesUnaccounted` |" in done.stdout
    assert "All 1 fired for their cause, resolved, and were delivered." in done.stdout
