"""What an operator is told of servers of NATS: what is fine, risky or wrong, and what to do."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from riptide.storage.jetstream.options import JetStreamOptions
    from riptide.storage.message_log import Retention


class Level(Enum):
    """How grave a finding is."""

    OK = "ok"
    RISK = "risk"
    """It works, and something may be lost or refused that need not be."""
    WRONG = "wrong"
    """Instances do not start, or cannot do what their settings say."""


class Finding(NamedTuple):
    """What was found; ``about`` is its name for programs."""

    level: Level
    about: str
    text: str


class Wishes(NamedTuple):
    """What instances are to do, by their settings."""

    options: JetStreamOptions
    retention: Retention
    max_message_bytes: int


def ok(about: str, text: str) -> Finding:
    """Return a finding of this level."""
    return Finding(Level.OK, about, text)


def risk(about: str, text: str) -> Finding:
    """Return a finding of this level."""
    return Finding(Level.RISK, about, text)


def wrong(about: str, text: str) -> Finding:
    """Return a finding of this level."""
    return Finding(Level.WRONG, about, text)
