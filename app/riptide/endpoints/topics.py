"""GET /topics: the topics that have messages, a page at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
from starlette.responses import Response

from riptide.access.grants import Action
from riptide.errors import InvalidLimitError
from riptide.message import check_topic

if TYPE_CHECKING:
    from starlette.requests import Request

    from riptide.access.gate import Gate
    from riptide.hub.hub import Hub, TopicState

MAX_LIMIT = 1000


class Topics:
    """The list of topics."""

    def __init__(self, gate: Gate, hub: Hub) -> None:
        self._gate = gate
        self._hub = hub

    async def topics(self, request: Request) -> Response:
        """Answer with the topics that the client may read, and the name to continue after."""
        identity = await self._gate.admit_lister(request.scope)
        after = request.query_params.get("after", "")
        limit = _parse_limit(request.query_params.get("limit"))
        found, more = await self._hub.list_topics(
            check_topic(after) if after else after,
            limit,
            lambda name: identity.grants.allow(Action.SUBSCRIBE, name),
        )
        return Response(
            orjson.dumps(
                {"topics": list(map(_describe, found)), "next": found[-1].name if more else None}
            ),
            headers={"Cache-Control": "no-store"},
            media_type="application/json",
        )


def _describe(state: TopicState) -> dict[str, str | int]:
    return {
        "topic": state.name,
        "newest": str(state.newest),
        "messages": state.message_count,
        "consumers": state.consumer_count,
    }


def _parse_limit(text: str | None) -> int:
    """Read how many topics are wanted.

    Raises:
        InvalidLimitError: the text is not a whole number from 1 to ``MAX_LIMIT``.

    """
    if text is None:
        return MAX_LIMIT
    # ``int`` alone would also take signs, underscores, digits of other scripts, and any length.
    if len(text) <= len(str(MAX_LIMIT)) and text.isascii() and text.isdecimal():
        limit = int(text)
        if 1 <= limit <= MAX_LIMIT:
            return limit
    raise InvalidLimitError(f"limit={text[:64]!r} is not a whole number from 1 to {MAX_LIMIT}")
