from __future__ import annotations

import pytest

from riptide.errors import InvalidPositionError
from riptide.hub.stream_range import parse_range
from riptide.message import Edge, MessageId


@pytest.mark.parametrize(
    ("after", "until", "position", "finite"),
    [
        (None, None, Edge.LATEST, False),
        (None, "latest", Edge.EARLIEST, True),
        ("earliest", None, Edge.EARLIEST, False),
        ("latest", "latest", Edge.LATEST, True),
        ("0a1b2c3d-7", None, MessageId("0a1b2c3d", 7), False),
        ("0a1b2c3d-7", "latest", MessageId("0a1b2c3d", 7), True),
    ],
)
def test_a_range_has_a_position_and_perhaps_an_end(
    after: str | None, until: str | None, position: object, *, finite: bool
) -> None:
    assert parse_range(after, until) == (position, finite)


@pytest.mark.parametrize("until", ["", "earliest", "0a1b2c3d-7", "x" * 10_000])
def test_the_only_end_is_latest(until: str) -> None:
    with pytest.raises(InvalidPositionError, match="give until=latest") as caught:
        parse_range(None, until)
    assert len(caught.value.detail) < 200


def test_an_empty_position_is_not_a_position() -> None:
    with pytest.raises(InvalidPositionError):
        parse_range("", None)
