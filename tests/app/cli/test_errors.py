from __future__ import annotations

import pytest

from riptide.cli.errors import (
    BadLineError,
    BrokenStreamError,
    CommandError,
    Interrupted,
    OutcomeUnknownError,
    OutputClosed,
    TemporaryError,
)


def test_a_bad_line_is_named_by_its_number_in_its_text() -> None:
    error = BadLineError(7, "is not valid JSON: repair it")
    assert str(error) == "line 7 is not valid JSON: repair it"
    assert error.number == 7


def test_a_temporary_error_asks_for_no_wait_of_its_own_unless_told() -> None:
    assert TemporaryError("full").retry_after is None
    assert TemporaryError("full", retry_after=2.5).retry_after == 2.5


@pytest.mark.parametrize("kind", [OutcomeUnknownError, BrokenStreamError, BadLineError])
def test_only_what_is_safe_to_repeat_is_temporary(kind: type[CommandError]) -> None:
    assert issubclass(TemporaryError, CommandError)
    assert issubclass(kind, CommandError)
    assert not issubclass(kind, TemporaryError)


@pytest.mark.parametrize("kind", [Interrupted, OutputClosed])
def test_an_end_that_is_no_failure_passes_by_those_who_handle_errors(
    kind: type[BaseException],
) -> None:
    assert not issubclass(kind, Exception)
