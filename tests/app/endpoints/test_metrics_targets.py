"""The workers that Prometheus is told of."""

from __future__ import annotations

from riptide.endpoints.metrics_targets import MetricsTargets


def test_workers_are_targets_in_the_order_of_their_slots() -> None:
    targets = MetricsTargets(lambda: {10: 9010, 2: 9002})
    assert targets.discover("riptide.example") == [
        {"targets": ["riptide.example:9002"], "labels": {"worker": "2"}},
        {"targets": ["riptide.example:9010"], "labels": {"worker": "10"}},
    ]


def test_the_targets_are_those_of_the_moment() -> None:
    ports = {0: 9000}
    targets = MetricsTargets(lambda: ports)
    ports[0] = 9001
    assert [group["targets"] for group in targets.discover("h")] == [["h:9001"]]
    ports.clear()
    assert targets.discover("h") == []


def test_an_ipv6_host_is_put_in_brackets() -> None:
    targets = MetricsTargets(lambda: {0: 9000})
    assert targets.discover("::1")[0]["targets"] == ["[::1]:9000"]
