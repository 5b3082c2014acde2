"""Who asks, once that is known."""

from __future__ import annotations

import math
from typing import NamedTuple

from riptide.access.grants import EVERYTHING, Grants


class Identity(NamedTuple):
    """The bearer of a token; ``expires_at`` is Unix time, and no stream of theirs outlives it."""

    subject: str
    grants: Grants
    expires_at: float


ANYONE = Identity("", EVERYTHING, math.inf)
"""Everybody, where there is no access control."""
