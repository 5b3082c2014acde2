"""What a consumer asks for of a topic: where to begin, and whether there is an end."""

from __future__ import annotations

from typing import NamedTuple

from riptide.errors import InvalidPositionError
from riptide.message import Edge, Position, parse_position


class StreamRange(NamedTuple):
    """The position to begin after. A finite stream ends at what is the head when it begins."""

    position: Position
    finite: bool = False


def parse_range(after: str | None, until: str | None) -> StreamRange:
    """Read ``after`` (default: latest, of a finite stream earliest) and ``until``.

    Raises:
        InvalidPositionError: one of them is not a position.

    """
    if until is not None and until != "latest":
        raise InvalidPositionError(
            f"until={until[:64]!r} is not known: give until=latest, or nothing"
        )
    finite = until is not None
    if after is None:
        return StreamRange(Edge.EARLIEST if finite else Edge.LATEST, finite)
    return StreamRange(parse_position(after), finite)
