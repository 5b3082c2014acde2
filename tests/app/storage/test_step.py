from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from riptide.storage import step
from riptide.storage.step import Step

if TYPE_CHECKING:
    from riptide.storage.step import Step as _Step


@pytest.mark.parametrize(
    ("lasted_s", "appends_wait", "over"),
    [
        (0.0, False, False),
        (0.0, True, False),
        (step.HURRIED_STEP_S, False, False),
        (step.HURRIED_STEP_S, True, True),
        (step.STEP_S, False, True),
        (step.STEP_S, True, True),
    ],
)
def test_a_step_ends_after_its_time_and_sooner_when_appends_wait(
    monkeypatch: pytest.MonkeyPatch,
    lasted_s: float,
    appends_wait: bool,  # noqa: FBT001  # a parameter of the table above
    over: bool,  # noqa: FBT001  # as above
) -> None:
    now_s = 0.0
    monkeypatch.setattr("riptide.storage.step.time.monotonic", lambda: now_s)
    begun: _Step = Step(lambda: appends_wait)
    now_s = lasted_s
    assert begun.is_over() is over
