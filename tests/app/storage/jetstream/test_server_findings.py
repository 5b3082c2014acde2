"""Each thing that can be wrong with the servers is said, with what to do."""

from __future__ import annotations

import pytest

from riptide.storage.jetstream.facts import Clock, SeenServer
from riptide.storage.jetstream.monitoring import ServerState
from riptide.storage.jetstream.server_findings import about_servers, is_synced
from tests.app.storage.jetstream.some_facts import MEBIBYTE, good_facts, worst


def _server(name: str, *version: int) -> SeenServer:
    return SeenServer(f"{name}:4222", name, (version[0], version[1]), MEBIBYTE)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"servers": [_server("n1", 2, 11)]}, "wrong version: server n1 is of version 2.11"),
        ({"servers": [_server("n1", 2, 12)]}, "risk version: server n1 is of version 2.12"),
        ({"servers": [_server("n1", 2, 14)]}, "risk version: the versions of n2, n3 cannot"),
        ({"unreachable": {"n3:4222": "refused"}}, "risk servers: n3:4222 of RIPTIDE_JETSTREAM_U"),
        (
            {"servers": [_server("n1", 2, 15)], "stream": None, "states": []},
            "wrong servers: 1 server is known: n1; 3 replicas need as many servers",
        ),
        (
            {"servers": [_server(f"n{n}", 2, 15) for n in range(1, 5)]},
            "risk servers: 4 servers are known: n1, n2, n3, n4; the loss of no more",
        ),
        (
            {"account": None, "stream": None, "trouble": "no responders"},
            "wrong jetstream: JetStream does not answer (no responders)",
        ),
        (
            {"account": {"storage": 100, "limits": {"max_storage": 100}}},
            "wrong room: the account has room for 0 MiB",
        ),
        (
            {"account": {"tiers": {"R3": {"storage": 95, "limits": {"max_storage": 100}}}}},
            "risk room: the account has room",
        ),
        (
            {"states": [ServerState(n, True, 1, 100, 99) for n in ("n1", "n2", "n3")]},
            "risk room: server n1 has room",
        ),
        ({"clock": Clock(-2, 0.5)}, "risk clock: this machine's clock is 2,000.0 ms behind"),
        ({"clock": Clock(61, 0.5)}, "wrong clock: this machine's clock is 61,000.0 ms ahead"),
        (
            {"states": [ServerState(n, n != "n2", 120, 100, 0) for n in ("n1", "n2", "n3")]},
            "risk sync: server n2 writes to its disk every 120 s: a loss of power of several",
        ),
        (
            {"states": [ServerState("n1", True, 1, 100, 0)]},
            "risk sync: sync_interval of n2, n3 cannot be seen from here",
        ),
        ({"silent_monitors": {"n1:8222": "no answer"}}, "risk sync: the monitoring of n1:8222"),
    ],
)
def test_each_thing_is_said(changes: dict[str, object], expected: str) -> None:
    found = worst(about_servers(good_facts(**changes), 3))
    assert [line for line in found if line.startswith(expected)] != [], found


def test_a_clock_is_off_only_if_it_is_certainly() -> None:
    assert worst(about_servers(good_facts(clock=Clock(2, 1.5)), 3)) == []


def test_settings_that_name_one_of_several_servers_are_a_risk() -> None:
    facts = good_facts()
    facts.addresses_given = 1
    (line,) = worst(about_servers(facts, 3))
    assert line.startswith("risk servers: RIPTIDE_JETSTREAM_URLS has one address")


def test_with_one_server_and_one_replica_power_is_the_risk() -> None:
    alone = good_facts(servers=[_server("n1", 2, 15)], stream=None, states=[])
    (line,) = worst(about_servers(alone, 1))
    assert line.startswith("risk sync: sync_interval of n1 cannot be seen")
    assert "a loss of power loses messages" in line


def test_all_servers_have_to_be_seen_to_sync() -> None:
    assert is_synced(good_facts()) is True
    assert is_synced(good_facts(states=[])) is None
    assert is_synced(good_facts(states=good_facts().states[:2])) is None
    assert is_synced(good_facts(states=[ServerState("n1", False, 1, 1, 0)])) is False
