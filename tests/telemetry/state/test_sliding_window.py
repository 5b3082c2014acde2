from __future__ import annotations

import threading
from collections import Counter

import pytest

from riptide_telemetry.state.sliding_window import STEP_S, WINDOW_S, SlidingWindow, Totals
from riptide_telemetry.testing import ManualClock
from tests.waiting import wait_until


class Source:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.totals = Totals()
        self.window = SlidingWindow(lambda: self.totals, self.clock.seconds)

    def send(self, count: int) -> None:
        self.totals = self.totals._replace(sent=self.totals.sent + count)


@pytest.fixture
def source() -> Source:
    return Source()


def test_what_has_just_happened_counts_at_once(source: Source) -> None:
    source.send(3)
    assert source.window.counts().sent == 3


def test_what_happened_before_the_window_does_not_count(source: Source) -> None:
    source.send(3)
    source.clock.advance(STEP_S)
    source.window.advance()
    source.clock.advance(WINDOW_S / 2)
    source.window.advance()
    source.send(4)
    source.clock.advance(WINDOW_S / 2 + STEP_S)
    assert source.window.counts().sent == 4


def test_what_happened_within_the_window_counts_at_every_step(source: Source) -> None:
    for step in range(int(WINDOW_S / STEP_S)):
        source.send(1)
        source.window.advance()
        assert source.window.counts().sent == step + 1
        source.clock.advance(STEP_S)


def test_the_window_slides_as_long_as_it_is_advanced(source: Source) -> None:
    for _ in range(1000):
        source.clock.advance(STEP_S)
        source.window.advance()
        source.send(1)
    steps = WINDOW_S / STEP_S
    assert steps <= source.window.counts().sent <= steps + 1


def test_an_old_window_that_nobody_advanced_is_empty_by_the_second_look(source: Source) -> None:
    source.send(5)
    source.clock.advance(10 * WINDOW_S)
    # No snapshot shows when the messages were sent: they count until they are certain to be old.
    source.window.counts()
    source.clock.advance(WINDOW_S)
    assert source.window.counts().sent == 0


def test_it_keeps_no_more_snapshots_than_there_are_steps(source: Source) -> None:
    for _ in range(10_000):
        source.clock.advance(STEP_S / 10)
        source.window.advance()
    assert len(source.window._snapshots) <= WINDOW_S / STEP_S + 2


def test_a_scrape_on_another_thread_never_meets_a_window_without_snapshots(
    source: Source,
) -> None:
    failures: list[BaseException] = []
    scrapes = Counter[int]()
    stop = threading.Event()

    def scrape(number: int) -> None:
        while not stop.is_set():
            try:
                counts = source.window.counts()
            except BaseException as failure:  # noqa: BLE001  # the test asserts that there was none
                failures.append(failure)
                return
            if min(counts) < 0:
                failures.append(AssertionError(counts))
                return
            scrapes[number] += 1

    def advance_often() -> bool:
        """Return whether every thread has scraped often enough beside it, or met a failure."""
        for _ in range(3_000):
            source.clock.advance(WINDOW_S / 3)
            source.send(1)
            source.window.advance()
        return bool(failures) or min(scrapes[number] for number in range(4)) >= 100

    threads = [threading.Thread(target=scrape, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        wait_until(advance_often, pause_s=0)
    finally:
        stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
