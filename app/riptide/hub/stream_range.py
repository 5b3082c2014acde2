"""The range of a topic that a consumer asks for: where to begin, and whether to end."""

from __future__ import annotations

from typing import NamedTuple

from riptide.errors import InvalidPositionError
from riptide.message import Edge, Position, parse_position


class StreamRange(NamedTuple):
    """The position to begin after. A finite stream ends at what is then the newest message."""

    position: Position
    finite: bool = False


def parse_range(after: str | None, until: str | None) -> StreamRange:
    """Read ``after`` (default: ``latest``, or ``earliest`` for a finite stream) and ``until``.

    Raises:
        InvalidPositionError: ``after`` is not a position, or ``until`` is not ``latest``.

    """
    if until is not None and until != "latest":
        raise InvalidPositionError(
            f"until={until[:64]!r} is not known: give until=latest, or nothing"
        )
    finite = until is not None
    if after is None:
        return StreamRange(Edge.EARLIEST if finite else Edge.LATEST, finite)
    return StreamRange(parse_position(after), finite)
