"""What happens to consumers that are too slow, topic by topic."""

from __future__ import annotations

import re
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_PATTERN = re.compile(r"[A-Za-z0-9._~:*-]{1,128}")


class SlowConsumerPolicy(StrEnum):
    """What happens to a live consumer whose next message has left the ring, or is too old."""

    DISCONNECT = "disconnect"
    DROP_OLDEST = "drop_oldest"
    LATEST = "latest"


class SlowConsumerRule(NamedTuple):
    """A policy for the topics of a pattern, in which ``*`` stands for any characters or none."""

    pattern: str
    policy: SlowConsumerPolicy


def parse_rules(text: str) -> tuple[SlowConsumerRule, ...]:
    """Read ``prices.*=latest,*=disconnect``; a policy alone is that of all topics.

    Raises:
        ValueError: it is neither; says which part of it.

    """
    return tuple(_parse_rule(part.strip()) for part in text.split(","))


def policy_for(topic: str, rules: Sequence[SlowConsumerRule]) -> SlowConsumerPolicy:
    """Return the policy of the first rule that fits; where none does, nobody loses anything."""
    for rule in rules:
        if fnmatchcase(topic, rule.pattern):
            return rule.policy
    return SlowConsumerPolicy.DISCONNECT


def _parse_rule(text: str) -> SlowConsumerRule:
    pattern, equals, policy = text.rpartition("=")
    if not equals:
        pattern = "*"
    if _PATTERN.fullmatch(pattern) is None:
        raise ValueError(f"{pattern!r} is not a pattern of topic names")
    if policy not in set(SlowConsumerPolicy):
        raise ValueError(f"{policy!r} is not a policy")
    return SlowConsumerRule(pattern, SlowConsumerPolicy(policy))
