from __future__ import annotations

from riptide_telemetry.merging.snapshot import Buckets, Snapshot, read, written
from riptide_telemetry.state.sliding_window import Totals


def test_a_snapshot_travels_exactly_however_large_its_counts_are() -> None:
    snapshot = Snapshot(
        {"m": {"protocol=sse,reason=a": 2**60 + 1, "": 3}},
        {"g": {"": 0.1}},
        {"h": {"": Buckets([1, 2**62], 2**90 + 1, {"1": (0.25, 10**18, 2**128 - 1, 2**64 - 1)})}},
        Totals(opened=3, failed=1),
        {"1300": Totals(closed=2)},
    )
    other = Snapshot.decode(snapshot.encode())
    assert other.counts == snapshot.counts
    assert other.gauges == snapshot.gauges
    assert other.window == snapshot.window
    assert other.ended_windows == snapshot.ended_windows
    (buckets,) = other.histograms["h"].values()
    assert (buckets.counts, buckets.sum_ns) == ([1, 2**62], 2**90 + 1)
    assert [tuple(each) for each in buckets.exemplars.values()] == [
        (0.25, 10**18, 2**128 - 1, 2**64 - 1)
    ]


def test_labels_are_read_as_they_were_written() -> None:
    for labels in ({}, {"protocol": "sse"}, {"protocol": "sse", "topic": "orders.eu:1~x"}):
        assert read(written(labels)) == labels
