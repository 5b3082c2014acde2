"""The records of a stream: parsed, formatted for output, and described to people."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import orjson

from riptide.cli.errors import CommandError

_DATA = b',"data":'


def parse(record: bytes) -> dict[str, Any]:
    """Read a record.

    Raises:
        CommandError: the bytes are not a record.

    """
    try:
        members = orjson.loads(record)
    except orjson.JSONDecodeError as error:
        raise CommandError(f"the service sent a record that is not JSON: {error}") from None
    if not isinstance(members, dict) or not ("event" in members or "data" in members):
        raise CommandError("the service sent JSON that is not a record: check --url")
    return members


def as_data(record: bytes, members: dict[str, Any]) -> bytes:
    """Return a message's JSON value, as it was published (digits, escapes and order of keys)."""
    start = record.find(_DATA)
    *before, last = members
    # Quotes inside a JSON string are escaped, so the match is a member, not text. It is the
    # record's own member if only strings stand before it.
    if start < 0 or last != "data" or not all(isinstance(members[name], str) for name in before):
        return orjson.dumps(members["data"])
    return record[start + len(_DATA) : -1]


def as_text(record: bytes, members: dict[str, Any]) -> bytes:
    """Return a string's text, and any other JSON value as it was published."""
    data = members["data"]
    return data.encode() if isinstance(data, str) else as_data(record, members)


def as_record(record: bytes, members: dict[str, Any]) -> bytes:
    """Return the whole record."""
    del members
    return record


FORMATS = {"auto": as_text, "data": as_data, "record": as_record}

# Losses are always reported; recurring records only with --verbose.
WARNINGS = frozenset({"gap", "reset", "dropped"})
ROUTINE = frozenset({"heartbeat", "progress"})


_SENTENCES = {
    "opened": "opened, after {id}",
    "resumed": "resumed after {id}",
    "gap": "gap: {missed} messages missed, the log no longer has them; going on after {id}",
    "dropped": "dropped: {missed} messages missed, this consumer was too slow; going on after {id}",
    "reset": "reset: the log is a new one; beginning again after {id}",
    "progress": "progress: {completed} of {total} messages",
    "end": "ended: {detail}",
}


_DAMAGED = (
    "gap: {missed} messages missed, they are damaged in the log; going on after {id}, "
    "tell the operator"
)


def describe(control: dict[str, Any]) -> str:
    """Return a control record as a short line for people."""
    event = control["event"]
    is_damage = event == "gap" and control.get("reason") == "damaged"
    sentence = _DAMAGED if is_damage else _SENTENCES.get(event, "{event}")
    known = {"id": "the beginning", "missed": "some", "detail": control.get("reason")} | control
    return sentence.format_map(defaultdict(lambda: "?", known))
