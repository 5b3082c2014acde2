"""The identity of a client, from its token."""

from __future__ import annotations

import math
from typing import NamedTuple

from riptide.access.grants import EVERYTHING, Grants


class Identity(NamedTuple):
    """The bearer of a token, whose streams end at ``expires_at`` (Unix time in seconds)."""

    subject: str
    grants: Grants
    expires_at: float


ANYONE = Identity("", EVERYTHING, math.inf)
"""The identity of every client where there is no access control."""
