"""What a consumer asks for: from where, and whether to an end."""

from __future__ import annotations

from typing import NamedTuple

from riptide.errors import InvalidPositionError
from riptide.message import Edge, Position, parse_position


class StreamRequest(NamedTuple):
    """A position to begin after; a finite stream ends at what is the head when it begins."""

    position: Position
    finite: bool


def parse_request(after: str | None, until: str | None) -> StreamRequest:
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
        return StreamRequest(Edge.EARLIEST if finite else Edge.LATEST, finite)
    return StreamRequest(parse_position(after), finite)
