"""The policies for slow consumers, and the rules that choose one for each topic."""

from __future__ import annotations

import re
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_PATTERN = re.compile(r"[A-Za-z0-9._~:*-]{1,128}")


class SlowConsumerPolicy(StrEnum):
    """The treatment of a consumer that is too slow (``docs/slow-consumers.md`` says which are)."""

    DISCONNECT = "disconnect"
    DROP_OLDEST = "drop_oldest"
    LATEST = "latest"


class SlowConsumerRule(NamedTuple):
    """A policy for the topics of a pattern, in which ``*`` stands for any characters or none."""

    pattern: str
    policy: SlowConsumerPolicy


def parse_rules(text: str) -> tuple[SlowConsumerRule, ...]:
    """Read rules like ``prices.*=latest,*=disconnect``. A policy alone applies to all topics.

    Raises:
        ValueError: a pattern or a policy is not valid; the text names it.

    """
    return tuple(_parse_rule(part.strip()) for part in text.split(","))


def policy_for(topic: str, rules: Sequence[SlowConsumerRule]) -> SlowConsumerPolicy:
    """Return the policy of the first rule that fits, or ``disconnect``, which loses nothing."""
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
