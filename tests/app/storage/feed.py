"""A feed that keeps what it is pushed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from riptide.message import Message


class ListFeed:
    """Follows a topic, and remembers every push."""

    def __init__(self) -> None:
        self.pushes: list[Sequence[Message]] = []
        self.losses = 0

    @property
    def sequences(self) -> list[int]:
        """The numbers of all messages, in the order in which they came."""
        return [message.sequence for push in self.pushes for message in push]

    def push(self, messages: Sequence[Message]) -> None:
        """Remember the messages."""
        self.pushes.append(messages)

    def lost(self) -> None:
        """Count the loss."""
        self.losses += 1
