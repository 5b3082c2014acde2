"""What the bearer of a token may do, by patterns of topic names."""

from __future__ import annotations

import re
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

CLAIM = "riptide"
"""The claim of a token that holds its grants."""
_PATTERN = re.compile(r"[A-Za-z0-9._~:*?-]{1,128}")


class Action(StrEnum):
    """What can be done with a topic. The values are the keys of the claim."""

    PUBLISH = "publish"
    SUBSCRIBE = "subscribe"


class Grants(NamedTuple):
    """Patterns of topics for each action: ``*`` matches any characters, ``?`` any one."""

    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()

    def allow(self, action: Action, topic: str) -> bool:
        """Return whether one of the action's patterns matches the topic."""
        patterns = self.publish if action is Action.PUBLISH else self.subscribe
        return any(fnmatchcase(topic, pattern) for pattern in patterns)


EVERYTHING = Grants(("*",), ("*",))


def check_pattern(pattern: str) -> str:
    """Return the pattern if it can match the name of a topic.

    Raises:
        ValueError: the pattern can match none.

    """
    if _PATTERN.fullmatch(pattern) is None:
        raise ValueError(
            f"{pattern[:160]!r} fits no topic: use the characters of topic names "
            "(A-Z a-z 0-9 . _ ~ : -), * for any characters and ? for any one"
        )
    return pattern


def parse_grants(claim: Any) -> Grants:
    """Read ``{"publish": [pattern, …], "subscribe": [pattern, …]}``; both may be left out.

    Raises:
        ValueError: the claim has another form.

    """
    if claim is None:
        return Grants()
    if not isinstance(claim, dict) or not claim.keys() <= set(Action):
        raise ValueError(f"its claim {CLAIM!r} is not an object of publish and subscribe")
    for action, patterns in claim.items():
        if not isinstance(patterns, list) or not all(isinstance(each, str) for each in patterns):
            raise ValueError(f"{action!r} of its claim {CLAIM!r} is not a list of patterns")
    return Grants(
        tuple(claim.get(Action.PUBLISH, ())),
        tuple(claim.get(Action.SUBSCRIBE, ())),
    )
