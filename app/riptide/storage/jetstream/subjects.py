"""The NATS subjects of a stream's topics."""

from __future__ import annotations

from typing import NamedTuple

# A topic is one token of a subject. A dot would begin another one, and topics such as "a..b" would
# have none between; no topic has this character.
_DOT = "="
# No topic has this name. Empty records are written here, to learn how far a server is.
BARRIER = "."


class Subjects(NamedTuple):
    """The subjects of a stream: its name is their first token, so that clusters can be shared."""

    stream: str

    @property
    def all_stored(self) -> str:
        """What the stream stores."""
        return f"{self.stream}.t.>"

    @property
    def all_live(self) -> str:
        """What the stream tells at once of what it has stored."""
        return f"{self.stream}.live.>"

    def stored(self, topic: str) -> str:
        """Return the subject to which a topic is published."""
        return f"{self.stream}.t.{topic.replace('.', _DOT)}"

    def live(self, topic: str) -> str:
        """Return the subject on which a topic's followers hear of it."""
        return f"{self.stream}.live.{topic.replace('.', _DOT)}"

    def topic(self, subject: str) -> str:
        """Return the topic of one of the stream's subjects."""
        return subject.rpartition(".")[2].replace(_DOT, ".")
