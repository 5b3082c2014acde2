from __future__ import annotations

import pytest

from riptide.errors import BodyLimitError
from riptide.publishing.bodies import SMALL_BODY_BYTES, Bodies

LARGE = SMALL_BODY_BYTES + 1


def test_what_is_taken_is_held_until_it_is_given_back() -> None:
    bodies = Bodies(2 * LARGE)
    bodies.take(10, 10)
    bodies.take(LARGE - 10, LARGE)
    assert bodies.held_bytes == LARGE
    bodies.give_back(LARGE)
    assert bodies.held_bytes == 0


def test_a_large_body_gets_no_more_than_there_is_and_is_told_when_to_come_back() -> None:
    bodies = Bodies(2 * LARGE)
    bodies.take(LARGE, LARGE)
    bodies.take(LARGE, LARGE)
    with pytest.raises(BodyLimitError, match=f"hold {2 * LARGE} bytes") as caught:
        bodies.take(1, LARGE)
    assert caught.value.retry_after
    assert bodies.held_bytes == 2 * LARGE
    bodies.give_back(LARGE)
    bodies.take(LARGE, LARGE)


def test_a_small_body_is_taken_whatever_others_hold() -> None:
    bodies = Bodies(LARGE)
    bodies.take(LARGE, LARGE)
    bodies.take(SMALL_BODY_BYTES, SMALL_BODY_BYTES)
    assert bodies.held_bytes == LARGE + SMALL_BODY_BYTES
