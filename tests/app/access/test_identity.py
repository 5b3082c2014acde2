from __future__ import annotations

import time

from riptide.access.grants import Action
from riptide.access.identity import ANYONE


def test_anyone_may_do_everything_for_ever() -> None:
    assert all(ANYONE.grants.allow(action, "topic") for action in Action)
    assert ANYONE.expires_at > time.time() + 1e12
