from __future__ import annotations

import random

import pytest

from riptide.server.turns import AHEAD, PATIENCE_S, Turns


class Workers:
    """Some workers' turns, on a clock that a test sets."""

    def __init__(self, *connections: int) -> None:
        self.now = 1000.0
        numbers = memoryview(bytearray(16 * len(connections))).cast("Q")
        shown, accepted = numbers[: len(connections)], numbers[len(connections) :]
        self.turns = [Turns(slot, shown, accepted, self.time) for slot in range(len(connections))]
        self.connections = list(connections)
        for slot, number in enumerate(connections):
            self.turns[slot].show(number)

    def time(self) -> float:
        return self.now

    def accept(self, slot: int) -> None:
        self.turns[slot].note_accepted()
        self.connections[slot] += 1
        self.turns[slot].show(self.connections[slot])

    def over(self) -> list[bool]:
        return [turns.is_over() for turns in self.turns]


def test_only_those_wait_that_are_ahead_of_the_emptiest_by_more_than_a_few() -> None:
    assert Workers(0, AHEAD, AHEAD + 1).over() == [False, False, True]
    assert Workers(1000, 1060, 1100).over() == [False, False, True]


def test_who_is_alone_never_waits() -> None:
    workers = Workers(5000, 0, 0)
    assert workers.over() == [True, False, False]
    for slot in (1, 2):
        workers.turns[slot].leave()
    assert not workers.turns[0].is_over()


def test_a_worker_that_does_not_take_what_is_left_to_it_is_waited_for_once() -> None:
    workers = Workers(100, 0)
    ahead = workers.turns[0]
    assert ahead.is_over()
    workers.now += PATIENCE_S / 2
    assert ahead.is_over()
    workers.now += PATIENCE_S
    for _ in range(3):
        assert not ahead.is_over()
        ahead.nobody_waits()
        workers.now += 60
    # It has come back.
    workers.accept(1)
    assert ahead.is_over()


def test_a_worker_that_takes_what_is_left_to_it_is_waited_for_as_long_as_it_does() -> None:
    workers = Workers(100, 0)
    for _ in range(50):
        assert workers.turns[0].is_over()
        workers.now += PATIENCE_S * 0.9
        workers.accept(1)


def test_no_patience_is_lost_while_no_connection_waits() -> None:
    workers = Workers(100, 0, 0)
    for _ in range(5):
        assert workers.turns[0].is_over()
        # Another one was quicker than the emptiest.
        workers.accept(2)
        workers.turns[0].nobody_waits()
        workers.now += 60


def test_a_worker_that_drains_gets_connections_only_where_nobody_else_takes_them() -> None:
    workers = Workers(0, 50)
    workers.turns[0].show(0, last=True)
    assert workers.over() == [True, False]
    workers.now += 2 * PATIENCE_S
    assert workers.over() == [False, False]
    workers.turns[1].show(50, last=True)
    assert workers.over() == [False, False]


@pytest.mark.parametrize("seed", range(5))
def test_a_thousand_connections_are_spread_whoever_is_quickest(seed: int) -> None:
    chance = random.Random(seed)
    workers = Workers(0, 0, 0)
    for _ in range(1000):
        # The first worker asks far more often than the last.
        while workers.turns[slot := chance.choices(range(3), (100, 10, 1))[0]].is_over():
            workers.now += 0.0001
        workers.accept(slot)
    mean = 1000 / 3
    assert all(abs(number / mean - 1) <= 0.15 for number in workers.connections)


def test_a_worker_in_place_of_another_one_gets_the_connections_until_all_are_even() -> None:
    workers = Workers(500, 500, 0)
    for _ in range(1000):
        free = [slot for slot, over in enumerate(workers.over()) if not over]
        workers.accept(free[0])
    assert all(abs(number / (2000 / 3) - 1) <= 0.15 for number in workers.connections)
