from __future__ import annotations

import random

from riptide_telemetry import catalog
from riptide_telemetry.merging.rules import (
    PROCESS_RULES,
    START_TIME,
    active_connections,
    merged,
    recent,
    remaining,
)
from riptide_telemetry.merging.snapshot import Buckets, Snapshot
from riptide_telemetry.prometheus.process_metrics import CPU, ProcessMetrics
from riptide_telemetry.state.sliding_window import WINDOW_S, Totals

ACTIVE = catalog.ACTIVE_CONNECTIONS.name
SENT = catalog.MESSAGES_SENT.name
LAG = catalog.EVENT_LOOP_LAG.name
EXPIRY = catalog.CERTIFICATE_EXPIRY.name
LATENCY = catalog.DELIVERY_LATENCY.name


def test_each_number_is_merged_by_the_rule_of_its_metric_and_by_its_labels() -> None:
    one = Snapshot(
        {ACTIVE: {"protocol=sse": 3, "protocol=ndjson": 1}, SENT: {"protocol=sse": 10}},
        {LAG: {"": 0.5}, EXPIRY: {"": 200}},
    )
    other = Snapshot(
        {ACTIVE: {"protocol=sse": 4}, SENT: {"protocol=sse": 5}},
        {LAG: {"": 0.1}, EXPIRY: {"": 100}},
    )
    for order in ([one, other], [other, one]):
        whole = merged(order)
        assert whole.counts == {
            ACTIVE: {"protocol=sse": 7, "protocol=ndjson": 1},
            SENT: {"protocol=sse": 15},
        }
        assert whole.gauges == {LAG: {"": 0.5}, EXPIRY: {"": 100}}
    assert one.counts[ACTIVE]["protocol=sse"] == 3, "the parts stay as they were"


def test_histograms_are_added_bucket_by_bucket_with_the_newest_exemplars() -> None:
    one = Buckets([1, 0, 2], 7, {"0": (0.1, 100, 1, 1), "2": (9.0, 300, 3, 3)})
    other = Buckets([4, 1, 0], 10, {"0": (0.2, 200, 2, 2), "2": (8.0, 200, 4, 4)})
    for order in ([one, other], [other, one]):
        whole = merged(Snapshot(histograms={LATENCY: {"": each}}) for each in order)
        assert whole.histograms[LATENCY][""] == Buckets(
            [5, 1, 2], 17, {"0": (0.2, 200, 2, 2), "2": (9.0, 300, 3, 3)}
        )


def test_a_metric_or_buckets_of_another_version_are_left_out() -> None:
    ours = Snapshot({SENT: {"": 1}}, histograms={LATENCY: {"": Buckets([1, 1], 2, {})}})
    new = {"riptide.of_tomorrow": {"": 1}}
    theirs = Snapshot(new, {"riptide.of_then": {"": 0.5}}, {LATENCY: {"": Buckets([9], 9, {})}})
    whole = merged([ours, theirs])
    assert (whole.counts, whole.gauges) == (ours.counts, {})
    assert whole.histograms == ours.histograms


def test_what_remains_of_a_process_that_has_ended_are_the_numbers_that_never_fall() -> None:
    counts = {each.name: {"": 1} for each in catalog.CATALOG}
    counts |= {name: {"": 1} for name in PROCESS_RULES}
    gauges = {LAG: {"": 1.0}, START_TIME: {"": 1234.5}}
    last = Snapshot(counts, gauges, {LATENCY: {"": Buckets([1], 1, {})}})
    left = remaining(last, 0.0)
    assert left.histograms == last.histograms
    kept = {each.name for each in catalog.CATALOG if each.merge is catalog.Merge.TOTAL}
    assert left.counts.keys() == kept | {CPU}
    assert left.gauges == {START_TIME: {"": 1234.5}}
    assert not {ACTIVE, LAG, EXPIRY} & kept


def test_no_sum_falls_when_a_process_ends_however_the_parts_are_grouped() -> None:
    # As floats, the sums in seconds of these would differ in the last digit.
    chance = random.Random(1)
    for _ in range(200):
        parts = [
            Snapshot(histograms={LATENCY: {"": Buckets([1], chance.getrandbits(60), {})}})
            for _ in range(4)
        ]
        before = merged([Snapshot(), *parts])
        gone = parts.pop(chance.randrange(4))
        after = merged([merged([remaining(Snapshot(), 0), remaining(gone, 0)]), *parts])
        assert after.histograms == before.histograms


def test_the_window_of_a_process_that_has_ended_counts_for_five_minutes_more() -> None:
    counts = {ACTIVE: {"protocol=sse": 3, "protocol=ndjson": 1}}
    last = Snapshot(counts, window=Totals(opened=6, closed=2, errored=1, sent=40))
    left = remaining(last, 1000.0)
    assert active_connections(left) == 0
    # Its open connections have closed.
    assert recent(left, 1000.0) == Totals(opened=6, closed=6, errored=1, sent=40)
    assert recent(left, 1000.0 + WINDOW_S - 1) == recent(left, 1000.0)
    assert recent(left, 1000.0 + WINDOW_S + 5) == Totals()
    live = Snapshot(window=Totals(opened=1))
    assert recent(merged([left, live]), 1000.0).opened == 7


def test_the_windows_of_many_that_have_ended_take_little_and_are_forgotten() -> None:
    ended = Snapshot()
    for second in range(1000):
        last = Snapshot(window=Totals(opened=1))
        ended = merged([remaining(ended, second), remaining(last, second)])
        assert len(ended.ended_windows) <= WINDOW_S / 5 + 2
    assert WINDOW_S <= recent(ended, 999).opened <= WINDOW_S + 6


def test_every_number_of_the_process_has_a_rule() -> None:
    assert {*ProcessMetrics().gauges(), CPU} == PROCESS_RULES.keys()
