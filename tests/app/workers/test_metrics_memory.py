from __future__ import annotations

import functools
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from opentelemetry.trace import SpanContext, TraceFlags

from riptide.workers.metrics_memory import (
    CAPACITY,
    PLACE_BYTES,
    MetricsMemory,
    Place,
    WorkerMetrics,
    make_metrics_memory,
)
from riptide_telemetry import Snapshot, TopicLabels, catalog, merged, start_telemetry
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

SENT, ACTIVE = catalog.MESSAGES_SENT.name, catalog.ACTIVE_CONNECTIONS.name
# Writes two texts in turn, as quickly as it can, until it is killed.
WRITER = """
import mmap, sys
from riptide.workers.metrics_memory import Place
place = Place(memoryview(mmap.mmap(int(sys.argv[1]), 0)))
while True:
    for letter, size in ((b"a", 100_000), (b"b", 50_000)):
        place.write(letter * size)
"""


@pytest.fixture
def memory() -> Iterator[MetricsMemory]:
    memory = make_metrics_memory(3)
    yield memory
    os.close(memory.descriptor)


def _snapshot(sent: int, active: int = 1) -> bytes:
    return Snapshot({SENT: {"": sent}, ACTIVE: {"": active}}).encode()


def _is_at_least(place: Place, version: int) -> bool:
    return place.version >= version


def _sums(memory: MetricsMemory) -> tuple[int, int]:
    counts = merged(memory.all()).counts
    return counts.get(SENT, {"": 0})[""], counts.get(ACTIVE, {"": 0})[""]


def test_every_process_reads_what_each_has_shown_last(memory: MetricsMemory) -> None:
    assert memory.all() == [Snapshot()]
    workers = [WorkerMetrics(MetricsMemory(memory.descriptor), slot) for slot in range(3)]
    for number, worker in enumerate(workers, 1):
        worker.show(_snapshot(0))
        worker.show(_snapshot(number))
    for each in (memory.all(), *(worker.all() for worker in workers)):
        assert merged(each) == merged(map(Snapshot.decode, map(_snapshot, (1, 2, 3))))


def test_counts_of_a_worker_that_has_ended_stay_and_its_connections_go(
    memory: MetricsMemory,
) -> None:
    first, other = WorkerMetrics(memory, 1), WorkerMetrics(memory, 2)
    assert not first.is_successor
    first.show(_snapshot(10))
    other.show(_snapshot(5))
    assert _sums(memory) == (15, 2)
    memory.end(1)
    assert _sums(memory) == (15, 1)
    successor = WorkerMetrics(memory, 1)
    assert successor.is_successor
    successor.show(_snapshot(0))
    assert _sums(memory) == (15, 2)
    successor.show(_snapshot(7))
    assert _sums(memory) == (22, 2)
    memory.end(1)
    memory.end(2)
    assert _sums(memory) == (22, 0)


def test_an_end_is_counted_once_however_often_it_is_reported(memory: MetricsMemory) -> None:
    WorkerMetrics(memory, 0).show(_snapshot(10))
    for _ in range(3):
        memory.end(0)
        assert _sums(memory) == (10, 0)
    # The next one ends before it has shown anything.
    assert WorkerMetrics(memory, 0).is_successor
    memory.end(0)
    assert _sums(memory) == (10, 0)


def test_an_end_between_the_looks_at_two_places_makes_nobody_look_at_half_of_it(
    memory: MetricsMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    WorkerMetrics(memory, 0).show(_snapshot(10))
    WorkerMetrics(memory, 1).show(_snapshot(1))
    reader = MetricsMemory(memory.descriptor)
    read = Place.read

    def read_and_replace(place: Place) -> bytes:
        if place is reader._slots[0]:
            monkeypatch.undo()
            # After the place of the ended, and before the worker's own, which its successor takes.
            memory.end(0)
            WorkerMetrics(memory, 0).show(_snapshot(0))
        return read(place)

    monkeypatch.setattr(Place, "read", read_and_replace)
    assert _sums(reader) == (11, 2)


def test_a_reader_never_sees_a_torn_text_nor_waits_for_a_writer_that_was_killed(
    memory: MetricsMemory,
) -> None:
    place = memory._ended
    command = [sys.executable, "-c", WRITER, str(memory.descriptor)]
    for _ in range(3):
        seen: set[tuple[bytes, int]] = set()
        written = place.version + 1
        with subprocess.Popen(command, pass_fds=[memory.descriptor]) as writer:
            wait_until(functools.partial(_is_at_least, place, written))
            while len(seen) < 2:
                text = place.read()
                seen.add((text[:1], len(text)))
                assert text == text[:1] * len(text)
            assert seen == {(b"a", 100_000), (b"b", 50_000)}
            # In the middle of whatever it does.
            writer.kill()
        assert place.read() in {b"a" * 100_000, b"b" * 50_000}


def test_a_writer_that_was_stopped_half_way_is_not_seen() -> None:
    memory = memoryview(bytearray(PLACE_BYTES))
    place = Place(memory)
    assert place.read() == b""
    place.write(b"the text before")
    # The other buffer, half written; the version is the last that is written.
    memory[Place(memory)._start(2) :][:100] = b"\xff" * 100
    assert place.read() == b"the text before"
    place.write(b"the text after")
    assert place.read() == b"the text after"


def test_damaged_memory_is_an_error_and_no_wrong_number(memory: MetricsMemory) -> None:
    WorkerMetrics(memory, 0).show(_snapshot(10))
    place = memory._slots[0]
    place._memory[place._start(1) + 30] ^= 1
    with pytest.raises(OSError, match="cannot be read"):
        memory.all()


def test_what_is_too_large_is_refused_and_leaves_what_is_there(memory: MetricsMemory) -> None:
    place = memory._ended
    place.write(b"x" * CAPACITY)
    with pytest.raises(ValueError, match="more than"):
        place.write(b"y" * (CAPACITY + 1))
    assert place.read() == b"x" * CAPACITY


def test_the_largest_snapshot_takes_less_than_half_of_its_place() -> None:
    prefixes = [f"{number:0128}" for number in range(TopicLabels.MAX_PREFIXES)]
    telemetry = start_telemetry("1.2.3", topic_prefixes=prefixes)
    trace = SpanContext(2**128 - 1, 2**64 - 1, is_remote=False, trace_flags=TraceFlags(1))
    histograms = [telemetry.metrics.log_append_duration]
    for metrics in telemetry.metrics.by_protocol.values():
        histograms += [metrics.connection_duration, metrics.stream_duration, metrics.write_wait]
        histograms += [metrics.time_to_first_message, *metrics.latency.values()]
    for histogram in histograms:
        for edge in histogram._edges[1:]:
            histogram.observe_ns(edge)
            histogram.keep_exemplar(edge, trace)
        histogram.counts = [2**60] * len(histogram.counts)
        histogram.sum_ns = 2**90
    snapshot = Snapshot.decode(telemetry.snapshots.take())
    for series in snapshot.gauges.values():
        for labels in series:
            series[labels] = -1.2345678901234567e-300
    windows = {str(until): snapshot.window for until in range(60)}
    snapshot.ended_windows.update(windows)
    assert len(snapshot.encode()) + 1024 * 8 < CAPACITY / 2


def test_readers_and_ends_at_the_same_time_never_see_a_sum_fall(memory: MetricsMemory) -> None:
    over = threading.Event()

    def live_and_die() -> None:
        for _ in range(60):
            worker = WorkerMetrics(memory, 1)
            for sent in range(5):
                worker.show(_snapshot(sent))
            memory.end(1)
        over.set()

    lives = threading.Thread(target=live_and_die)
    lives.start()
    reader, seen = MetricsMemory(memory.descriptor), 0
    while not over.is_set():
        now = _sums(reader)[0]
        assert now >= seen
        seen = now
    lives.join()
    assert _sums(reader) == (240, 0)
