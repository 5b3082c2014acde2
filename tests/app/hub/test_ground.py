from __future__ import annotations

import math

import pytest

from riptide.hub.ground import WINDOW_S, Ground
from riptide.message import NANOSECONDS

LIMIT_S = 10
LIMIT_NS = LIMIT_S * NANOSECONDS


@pytest.mark.parametrize(
    ("queued", "lag_s", "gained"),
    [
        (99, 59, True),
        (99, 61, True),
        (101, 59, True),
        (100, 60, False),
        (101, 61, False),
    ],
)
def test_a_consumer_gains_ground_if_its_lag_is_shorter_in_messages_or_in_seconds(
    queued: int, lag_s: int, *, gained: bool
) -> None:
    ground = Ground(0, 100, 60 * NANOSECONDS)
    ground.look(LIMIT_NS, queued, lag_s * NANOSECONDS, LIMIT_S)
    assert ground.gained is gained


def test_nobody_is_judged_before_the_first_window_is_over() -> None:
    ground = Ground(0, 100, 0)
    ground.look(LIMIT_NS - 1, 1000, LIMIT_NS, LIMIT_S)
    assert ground.gained


def test_each_window_is_compared_with_its_own_beginning() -> None:
    ground = Ground(0, 100, 0)
    for window, (queued, gained) in enumerate(((200, False), (150, True), (160, False)), 1):
        ground.look(window * LIMIT_NS, queued, window * NANOSECONDS, LIMIT_S)
        assert ground.gained is gained


def test_the_time_in_which_a_consumer_waited_for_the_service_makes_its_window_longer() -> None:
    ground = Ground(0, 100, 0)
    ground.excuse(5 * NANOSECONDS)
    ground.look(LIMIT_NS + 5 * NANOSECONDS - 1, 200, 1, LIMIT_S)
    assert ground.gained
    ground.look(LIMIT_NS + 5 * NANOSECONDS, 200, 1, LIMIT_S)
    assert not ground.gained


@pytest.mark.parametrize("limit_s", [math.inf, 10 * WINDOW_S])
def test_a_window_ends_however_far_behind_a_consumer_may_be(limit_s: float) -> None:
    ground = Ground(0, 100, 0)
    ground.look(int(WINDOW_S * NANOSECONDS), 200, 1, limit_s)
    assert not ground.gained
