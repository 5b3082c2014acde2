"""The control records of a stream: one function for each kind."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from riptide_telemetry import DropReason

if TYPE_CHECKING:
    from riptide.encoding.envelope import Control
    from riptide.hub.hub import Start
    from riptide.hub.subscription import Missed
    from riptide.message import MessageId
    from riptide_telemetry import CloseReason, RejectReason


# The log does not have the messages any more. For all other reasons the consumer was too slow.
_NOT_IN_LOG = {DropReason.EXPIRED, DropReason.DAMAGED}


def opening(start: Start, cursor: MessageId, topic: str, retry_ms: int) -> Control:
    """Return the first record: ``opened``, or what became of the position that the client gave."""
    record: Control = {
        "event": "opened" if start.reconnection is None else str(start.reconnection),
        "id": str(cursor),
        "topic": topic,
        "retry": retry_ms,
    }
    if start.missed_count:
        record["missed"] = start.missed_count
    if start.subscription.until is not None:
        record["total"] = start.subscription.offered - start.subscription.dropped
    return record


def heartbeat(cursor: MessageId, time: str) -> Control:
    """Return the record that is sent when a stream has been idle for a heartbeat interval."""
    return {"event": "heartbeat", "id": str(cursor), "time": time}


def missed(gap: Missed, cursor: MessageId) -> Control:
    """Return the record that tells a consumer how many messages it will not get, and why."""
    event = "gap" if gap.reason in _NOT_IN_LOG else "dropped"
    return {
        "event": event,
        "id": str(cursor),
        "missed": gap.message_count,
        "reason": str(gap.reason),
    }


def progress(cursor: MessageId, completed: int, total: int) -> Control:
    """Return the record of a finite stream's progress, in messages."""
    return {"event": "progress", "id": str(cursor), "completed": completed, "total": total}


def ending(reason: CloseReason, cursor: MessageId, detail: str, retry_ms: int) -> Control:
    """Return the last record. ``retry`` is the delay before reconnecting, in milliseconds."""
    record = _end(str(reason), str(cursor), detail or reason.meaning)
    record["reconnect"] = reason.reconnect
    if reason.reconnect:
        record["retry"] = retry_ms
    return record


def refusal(reason: RejectReason, last_id: str, detail: str, retry_ms: int) -> Control:
    """Return the only record of a refused stream, which asks the client to reconnect later."""
    return _end(str(reason), last_id, detail) | {"reconnect": True, "retry": retry_ms}


def jittered_ms(seconds: float) -> int:
    """Return a random time between 0.5 and 1.5 times ``seconds``, in milliseconds.

    Clients that were disconnected together then do not reconnect together.
    """
    return int(seconds * 1000 * random.uniform(0.5, 1.5))  # noqa: S311  # spreads load, guards nothing


def _end(reason: str, cursor: str, detail: str) -> Control:
    return {"event": "end", "id": cursor, "reason": reason, "detail": detail}
