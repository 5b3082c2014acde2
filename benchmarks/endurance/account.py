"""What a consumer has received, and whether anything is missing, repeated or wrong."""

from __future__ import annotations

import math
from typing import Any


class Ledger:
    """The number in each message of a topic, as the first consumer received it.

    At most ``room`` messages are remembered, the newest ones.
    """

    def __init__(self, room: float = math.inf) -> None:
        self.numbers: dict[int, int] = {}
        self.contradictions = 0
        self._room = room

    def compare(self, sequence: int, number: int) -> None:
        """Remember a message, or compare it with what is remembered."""
        if self.numbers.setdefault(sequence, number) != number:
            self.contradictions += 1
        if len(self.numbers) > self._room:
            del self.numbers[next(iter(self.numbers))]


class Account:
    """The messages of one consumer.

    The consumer must get every message after its first position, once and in order, or be told
    that it missed some.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.position = ""
        self.cursor = self.start = 0
        self.received = 0
        # Reported by the service.
        self.missed = self.gaps = self.resets = self.resumed = 0
        # Not reported by the service: faults.
        self.lost = self.doubled = 0
        self.ends: dict[str, int] = {}
        # How long the service asks the consumer to wait before it reconnects.
        self.retry_ms = 0
        self._ledger = ledger

    def take(self, record: dict[str, Any]) -> None:
        """Account for a record."""
        if "id" in record:
            self.position = record["id"]
        sequence = int(self.position.rpartition("-")[2])
        event = record.get("event")
        if event is None:
            # A message is the publisher's name, its number, and padding.
            self._take_message(sequence, record["data"][1])
            return
        if event == "opened":
            self.start = self.cursor = sequence
        elif event in {"resumed", "heartbeat"}:
            self.resumed += event == "resumed"
            self.lost += abs(sequence - self.cursor)
        elif event in {"gap", "dropped", "reset"}:
            self.missed += record.get("missed", 0)
            self.gaps += event == "gap"
            self.resets += event == "reset"
            self.cursor = sequence
        elif event == "end":
            self.ends[record["reason"]] = self.ends.get(record["reason"], 0) + 1
            self.retry_ms = record.get("retry", 0)

    def _take_message(self, sequence: int, number: int) -> None:
        self.received += 1
        ahead = sequence - self.cursor
        if ahead < 1:
            self.doubled += 1
        else:
            self.lost += ahead - 1
        self.cursor = sequence
        self._ledger.compare(sequence, number)
