from __future__ import annotations

import pytest

from riptide.cli import retrying
from riptide.cli.errors import CommandError, TemporaryError


def _try(errors: list[Exception], retry_for: float) -> list[str]:
    """Fail with one error after the other, and return what is heard of them."""
    heard: list[str] = []
    for attempt in retrying.attempts(retry_for, lambda error: heard.append(str(error))):
        with attempt:
            if errors:
                raise errors.pop(0)
    return heard


def test_temporary_errors_are_tried_again_and_told_once_of_each_kind() -> None:
    errors: list[Exception] = [TemporaryError(text) for text in ("a", "a", "b", "a")]
    assert _try(errors, float("inf")) == ["a", "b"]
    assert errors == []


def test_other_errors_are_not_tried_again() -> None:
    errors: list[Exception] = [TemporaryError("a"), CommandError("b"), TemporaryError("c")]
    with pytest.raises(CommandError, match="b"):
        _try(errors, 30)
    assert len(errors) == 1


def test_no_time_means_one_attempt() -> None:
    errors: list[Exception] = [TemporaryError("a"), TemporaryError("b")]
    with pytest.raises(TemporaryError, match="a"):
        _try(errors, 0)


def test_a_wait_that_is_asked_for_is_not_begun_if_it_would_end_too_late() -> None:
    with pytest.raises(TemporaryError, match="a"):
        _try([TemporaryError("a", retry_after=31)], 30)


def test_jitter_is_a_part_of_the_wait() -> None:
    assert all(0 <= retrying.jitter(2) <= 2 for _ in range(100))
