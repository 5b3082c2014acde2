"""The workers that Prometheus is told of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from riptide.endpoints.metrics_targets import MetricsTargets

if TYPE_CHECKING:
    from pathlib import Path


def test_workers_are_targets_in_the_order_of_their_slots(tmp_path: Path) -> None:
    targets = MetricsTargets(tmp_path)
    targets.add(10, 9010)
    targets.add(2, 9002)
    assert targets.discover("riptide.example") == [
        {"targets": ["riptide.example:9002"], "labels": {"worker": "2"}},
        {"targets": ["riptide.example:9010"], "labels": {"worker": "10"}},
    ]


def test_what_one_process_notes_another_one_finds(tmp_path: Path) -> None:
    MetricsTargets(tmp_path).add(0, 9000)
    assert len(MetricsTargets(tmp_path).discover("localhost")) == 1


def test_a_slot_s_new_worker_replaces_its_last_one(tmp_path: Path) -> None:
    targets = MetricsTargets(tmp_path)
    targets.add(0, 9000)
    targets.add(0, 9001)
    assert [group["targets"] for group in targets.discover("h")] == [["h:9001"]]


def test_a_removed_worker_is_no_target_and_may_be_removed_again(tmp_path: Path) -> None:
    targets = MetricsTargets(tmp_path)
    targets.add(0, 9000)
    targets.remove(0)
    targets.remove(0)
    assert targets.discover("h") == []


def test_an_ipv6_host_is_put_in_brackets(tmp_path: Path) -> None:
    targets = MetricsTargets(tmp_path)
    targets.add(0, 9000)
    assert targets.discover("::1")[0]["targets"] == ["[::1]:9000"]
